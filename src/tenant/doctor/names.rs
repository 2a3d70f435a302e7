//! Registry rows whose names cannot be, are too much alike, or have no schema.

use std::collections::BTreeMap;

use super::rows::{TenantRow, push};
use super::{Finding, Look};
use crate::name::{SchemaName, SchemaNameError};

/// Says what is wrong with the names of the registry's rows.
pub(super) fn look(look: &mut Look<'_>, rows: &[TenantRow]) {
    let shared = look.doctor.registry.names().shared_schema.as_str();
    let refusal = |it: &TenantRow| SchemaName::tenant(it.schema.as_str(), shared).err();
    let unacceptable: Vec<(SchemaName, SchemaNameError)> =
        rows.iter().filter_map(|it| Some((it.schema.clone(), refusal(it)?))).collect();
    if let Some((_, why)) = unacceptable.first() {
        let why = why.clone();
        let schemas = unacceptable.iter().map(|(schema, _)| schema.clone()).collect();
        look.findings.push(Finding::UnacceptableNames { schemas, why });
    }
    // What cannot be a tenant's is not to be created: Postgres would cut a long name short.
    let is_missing = |it: &&TenantRow| !it.is_there && !it.is_under_way && refusal(it).is_none();
    let missing = rows.iter().filter(is_missing).map(|it| it.schema.clone()).collect();
    push(&mut look.findings, missing, |schemas| Finding::SchemaMissing { schemas });
    let names = rows.iter().map(|it| &it.schema);
    push(&mut look.findings, alike(names), |schemas| Finding::AlikeNames { schemas });
}

/// Returns the names that differ from another in upper and lower case alone, beside it.
fn alike<'a>(names: impl Iterator<Item = &'a SchemaName>) -> Vec<SchemaName> {
    let mut groups: BTreeMap<String, Vec<SchemaName>> = BTreeMap::new();
    for name in names {
        groups.entry(name.as_str().to_lowercase()).or_default().push(name.clone());
    }
    groups.into_values().filter(|it| it.len() > 1).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_that_differ_in_case_alone() {
        let names = ["ACME", "Acme", "Zoë", "acme", "globex", "zoË"].map(SchemaName::registered);
        let alike = alike(names.iter());
        let alike: Vec<&str> = alike.iter().map(SchemaName::as_str).collect();
        assert_eq!(alike, ["ACME", "Acme", "acme", "Zoë", "zoË"]);
    }
}
