//! The statements about domains, whatever the registry's tables and columns are called.
//!
//! Those that change something first lock the tenant's row, and then say in their WHERE what they
//! rely on, so that two changes at once come one after the other or the second one changes nothing.

use super::change::must_change;
use super::domain::Domain;
use super::registry::Registry;
use crate::name::{Hostname, SchemaName};
use crate::pg::{identifier, literal};

/// Writes statements about the domains of one registry. In all of them `t` is a tenant, `d` the
/// domain in question, and `o` any domain of that tenant.
pub(super) struct Sql<'a>(pub(super) &'a Registry);

impl Sql<'_> {
    pub(super) fn list(&self, condition: &str) -> String {
        let (domains, tenants) = (self.0.domains_table(), self.0.tenants_table());
        let (schema, domain) = (self.schema(), self.domain("d"));
        format!(
            "select {domain}, {schema}, {primary} from {domains} as d \
             join {tenants} as t on {joined} where {condition} \
             order by {schema} <> {shared}, {schema} collate \"C\", not {primary}, {domain} collate \"C\"",
            primary = self.is_primary("d"),
            joined = self.joined("d"),
            shared = literal(self.0.names().shared_schema.as_str()),
        )
    }

    pub(super) fn find(&self, host: &Hostname) -> String {
        let (domains, tenants) = (self.0.domains_table(), self.0.tenants_table());
        let (domain, primary) = (self.domain("d"), self.is_primary("d"));
        let is_other = format!("{} <> {domain}", self.domain("o"));
        format!(
            "select {domain}, {schema}, {primary}, {primaries}, {others} from {domains} as d \
             join {tenants} as t on {joined} where {is_host} \
             order by {domain} <> {host} limit 1",
            schema = self.schema(),
            primaries = self.hosts_where(&self.is_primary("o")),
            others = self.hosts_where(&is_other),
            joined = self.joined("d"),
            is_host = self.is_host("d", host.as_str()),
            host = literal(host.as_str()),
        )
    }

    pub(super) fn find_tenant(&self, schema: &SchemaName) -> String {
        format!(
            "select {} from {} as t where {}",
            self.hosts_where(&self.is_primary("o")),
            self.0.tenants_table(),
            self.is_schema(schema),
        )
    }

    pub(super) fn create(&self, new: &Domain, primaries: &[String]) -> Vec<String> {
        let names = self.0.names();
        let (before, now) = match new.is_primary {
            true => (primaries, "not exists"),
            false => (&[][..], "exists"),
        };
        let insert = format!(
            "insert into {domains} ({tenant_id}, {domain}, {is_primary}) \
             select t.{id}, {host}, {new_is_primary} from {tenants} as t \
             where {is_schema} and {now} (select from {domains} as o where {joined} and {primary}) \
               and not exists (select from {domains} as d where {is_host})",
            domains = self.0.domains_table(),
            tenants = self.0.tenants_table(),
            tenant_id = identifier(&names.tenant_id),
            domain = identifier(&names.domain),
            is_primary = identifier(&names.is_primary),
            id = identifier(&names.id),
            host = literal(&new.host),
            new_is_primary = new.is_primary,
            is_schema = self.is_schema(&new.schema),
            joined = self.joined("o"),
            primary = self.is_primary("o"),
            is_host = self.is_host("d", &new.host),
        );
        let mut statements = vec![self.lock(&new.schema)];
        statements.extend(self.unset(&new.schema, before));
        statements.push(must_change(&insert));
        statements
    }

    pub(super) fn set_primary(&self, domain: &Domain, before: &[String]) -> Vec<String> {
        let set = format!(
            "update {domains} as d set {is_primary} = true from {tenants} as t \
             where {joined} and {is_schema} and {stored} = {host} \
               and not exists (select from {domains} as o where {others_joined} and {primary})",
            domains = self.0.domains_table(),
            tenants = self.0.tenants_table(),
            is_primary = identifier(&self.0.names().is_primary),
            joined = self.joined("d"),
            is_schema = self.is_schema(&domain.schema),
            stored = self.domain("d"),
            host = literal(&domain.host),
            others_joined = self.joined("o"),
            primary = self.is_primary("o"),
        );
        let mut statements = vec![self.lock(&domain.schema)];
        statements.extend(self.unset(&domain.schema, before));
        statements.push(must_change(&set));
        statements
    }

    pub(super) fn delete(&self, domain: &Domain, is_last: bool) -> Vec<String> {
        let delete = format!(
            "delete from {domains} as d using {tenants} as t \
             where {joined} and {is_schema} and {stored} = {host} and {primary} = {was_primary} \
               and {is_last} = not exists (select from {domains} as o \
                 where {others_joined} and {other} <> {stored})",
            domains = self.0.domains_table(),
            tenants = self.0.tenants_table(),
            joined = self.joined("d"),
            is_schema = self.is_schema(&domain.schema),
            stored = self.domain("d"),
            host = literal(&domain.host),
            primary = self.is_primary("d"),
            was_primary = domain.is_primary,
            others_joined = self.joined("o"),
            other = self.domain("o"),
        );
        vec![self.lock(&domain.schema), must_change(&delete)]
    }

    /// Deletes every domain of a tenant, be it none.
    pub(super) fn delete_all(&self, schema: &SchemaName) -> String {
        format!(
            "delete from {} as d using {} as t where {} and {}",
            self.0.domains_table(),
            self.0.tenants_table(),
            self.joined("d"),
            self.is_schema(schema),
        )
    }

    /// Lets one change of a tenant's domains come after the other: what follows it in the
    /// transaction sees what the other has committed.
    fn lock(&self, schema: &SchemaName) -> String {
        let (tenants, is_schema) = (self.0.tenants_table(), self.is_schema(schema));
        format!("select from {tenants} as t where {is_schema} for no key update")
    }

    /// Before another becomes primary: the index that allows one a tenant is looked at row by row.
    fn unset(&self, schema: &SchemaName, hosts: &[String]) -> Option<String> {
        let hosts: Vec<String> = hosts.iter().map(|host| literal(host)).collect();
        (!hosts.is_empty()).then(|| {
            format!(
                "update {} as d set {} = false from {} as t where {} and {} and {} in ({})",
                self.0.domains_table(),
                identifier(&self.0.names().is_primary),
                self.0.tenants_table(),
                self.joined("d"),
                self.is_schema(schema),
                self.domain("d"),
                hosts.join(", "),
            )
        })
    }

    /// The JSON array of the hosts of tenant `t` for whose row `o` the condition holds.
    fn hosts_where(&self, condition: &str) -> String {
        format!(
            "(select json_agg({host} order by {host} collate \"C\") from {} as o where {} and {condition})",
            self.0.domains_table(),
            self.joined("o"),
            host = self.domain("o"),
        )
    }

    fn joined(&self, alias: &str) -> String {
        let names = self.0.names();
        let (tenant_id, id) = (identifier(&names.tenant_id), identifier(&names.id));
        format!("{alias}.{tenant_id} = t.{id}")
    }

    fn schema(&self) -> String {
        format!("t.{}::text", identifier(&self.0.names().schema_name))
    }

    pub(super) fn is_schema(&self, schema: &SchemaName) -> String {
        format!("{} = {}", self.schema(), literal(schema.as_str()))
    }

    fn domain(&self, alias: &str) -> String {
        format!("{alias}.{}::text", identifier(&self.0.names().domain))
    }

    fn is_primary(&self, alias: &str) -> String {
        let column = identifier(&self.0.names().is_primary);
        format!("coalesce({alias}.{column}, false)")
    }

    /// Older rows of an adopted registry may be in mixed case, and are the same host all the same.
    fn is_host(&self, alias: &str, host: &str) -> String {
        let stored = self.domain(alias);
        format!("lower({stored} collate \"C\") = {}", literal(host))
    }
}
