//! What of new tenants' schemas and domains is taken already.

use std::collections::HashMap;

use super::create::{NewTenant, Obstacle};
use super::registry::{Registry, RegistryError};
use crate::migration::BEING_CREATED;
use crate::name::Hostname;
use crate::pg::{Connection, identifier, literal};

/// What is taken already of what the new tenants ask for.
pub(super) struct Taken {
    /// Registered schemas, by their name in lower case.
    registered: HashMap<String, Vec<String>>,
    /// The schema of the tenant that has a domain.
    domains: HashMap<String, String>,
    /// Existing schemas, and whether each is one whose creation was interrupted.
    pub(super) schemas: HashMap<String, bool>,
}

impl Taken {
    pub(super) async fn read(
        connection: &mut Connection,
        registry: &Registry,
        tenants: &[NewTenant],
    ) -> Result<Self, RegistryError> {
        let names = registry.names();
        let schemas = array(tenants.iter().map(|it| it.schema.as_str()));
        let hosts = array(tenants.iter().flat_map(|it| &it.domains).map(Hostname::as_str));
        let schema_column = identifier(&names.schema_name);
        let (id, domain) = (identifier(&names.id), identifier(&names.domain));
        // By one statement: between two, somebody else may have created one of them.
        let question = format!(
            "select 'tenant', t.{schema_column}::text, '' from {tenants} as t \
             where lower(t.{schema_column}::text) in \
               (select lower(name) from unnest({schemas}) as name) \
             union all select 'domain', d.{domain}::text, t.{schema_column}::text \
             from {domains} as d join {tenants} as t on t.{id} = d.{tenant_id} \
             where d.{domain}::text in (select unnest({hosts})) \
             union all select case obj_description(oid, 'pg_namespace') when {half_made} \
                 then 'half-made' else 'schema' end, nspname::text, '' \
             from pg_namespace where nspname::text in (select unnest({schemas}))",
            tenants = registry.tenants_table(),
            domains = registry.domains_table(),
            tenant_id = identifier(&names.tenant_id),
            half_made = literal(BEING_CREATED),
        );
        let (registered, domains, schemas) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut taken = Self { registered, domains, schemas };
        for row in registry.ask(connection, &question).await? {
            let (name, of) = (row.text(1).to_owned(), row.text(2).to_owned());
            match row.text(0) {
                "tenant" => {
                    taken.registered.entry(name.to_lowercase()).or_default().push(name);
                }
                "domain" => {
                    taken.domains.insert(name, of);
                }
                kind => {
                    taken.schemas.insert(name, kind == "half-made");
                }
            }
        }
        Ok(taken)
    }

    pub(super) fn by_registry(&self, tenant: &NewTenant) -> Option<Obstacle> {
        let schema = tenant.schema.clone();
        let alike = self.registered.get(&schema.as_str().to_lowercase());
        if let Some(alike) = alike {
            return Some(match alike.iter().any(|it| it == schema.as_str()) {
                true => Obstacle::Exists { schema, has_domains: self.has_domains(tenant) },
                false => Obstacle::Lookalike { schema, registered: alike[0].clone() },
            });
        }
        tenant.domains.iter().find_map(|domain| {
            let by = self.domains.get(domain.as_str())?.clone();
            Some(Obstacle::DomainTaken { domain: domain.clone(), by })
        })
    }

    fn has_domains(&self, tenant: &NewTenant) -> bool {
        let schema = tenant.schema.as_str();
        let mut domains = tenant.domains.iter().map(|it| self.domains.get(it.as_str()));
        domains.all(|by| by.is_some_and(|by| by == schema))
    }

    pub(super) fn by_catalog(&self, tenant: &NewTenant, adopt: bool) -> Option<Obstacle> {
        let is_half_made = *self.schemas.get(tenant.schema.as_str())?;
        let schema = tenant.schema.clone();
        (!is_half_made && !adopt).then_some(Obstacle::SchemaExists { schema })
    }
}

fn array<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.map(literal).collect();
    format!("array[{}]::text[]", values.join(", "))
}
