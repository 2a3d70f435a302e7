//! A schema as a template: what makes others like it.

use super::Structure;
use crate::name::SchemaName;
use crate::pg::{literal, search_path};

/// What schemas are made from: a structure, and statements that write rows into its tables.
#[derive(Debug, Clone, Default)]
pub struct Template {
    structure: Structure,
    rows: Vec<String>,
}

/// What the statements expect, whatever the role's own settings are.
const SETTINGS: [(&str, &str); 5] = [
    ("check_function_bodies", "off"),
    ("standard_conforming_strings", "on"),
    ("row_security", "off"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
];

impl Template {
    /// Returns the template of this structure, and of these statements, which name no schema.
    pub fn new(structure: Structure, rows: Vec<String>) -> Self {
        Self { structure, rows }
    }

    /// Returns the statements that make it in `schema`, for the middle of a transaction; the search
    /// path is another one afterwards.
    pub fn statements(&self, schema: &SchemaName) -> Vec<String> {
        let path = search_path([schema.as_str()]);
        let settings = SETTINGS.into_iter().chain([("search_path", path.as_str())]);
        let calls: Vec<String> = settings
            .map(|(name, value)| format!("set_config('{name}', {}, true)", literal(value)))
            .collect();
        let mut statements = vec![format!("select {}", calls.join(", "))];
        statements.extend(self.structure.statements(schema, false));
        statements.extend(self.rows.iter().cloned());
        statements.extend(self.structure.statements(schema, true));
        statements
    }
}
