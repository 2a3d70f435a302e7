//! The one place where names and values become SQL.

use crate::name::SchemaName;

/// Returns `name` as a quoted identifier: `"eha-meetup"`.
///
/// Every identifier is quoted, so that hyphens, digits, upper case and keywords need no care
/// (Postgres documentation, "Identifiers and Key Words").
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns `value` as a string literal that means the same whatever
/// `standard_conforming_strings` is set to (Postgres documentation, `quote_literal`).
pub fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Returns the literal of a text array, whose elements are values or NULL (Postgres documentation,
/// "Array Input and Output Syntax").
pub fn array<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let element = |value: Option<&str>| match value {
        Some(value) => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        None => "NULL".into(),
    };
    let elements: Vec<String> = values.into_iter().map(element).collect();
    literal(&format!("{{{}}}", elements.join(",")))
}

/// Returns `"schema"."name"`.
pub fn qualified(schema: &SchemaName, name: &str) -> String {
    format!("{}.{}", identifier(schema.as_str()), identifier(name))
}

/// Returns the value of a `search_path` made of these schemas, in their order, each once.
pub fn search_path<'a>(schemas: impl IntoIterator<Item = &'a str>) -> String {
    let mut path: Vec<String> = Vec::new();
    for schema in schemas {
        let quoted = identifier(schema);
        if !path.contains(&quoted) {
            path.push(quoted);
        }
    }
    path.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_always_quoted() {
        assert_eq!(identifier("eha-meetup"), r#""eha-meetup""#);
        assert_eq!(identifier(r#"x", "y"#), r#""x"", ""y""#);
    }

    #[test]
    fn a_literal_cannot_end_early() {
        assert_eq!(literal("o'brien"), "'o''brien'");
        assert_eq!(literal(r"a\'b"), r" E'a\\''b'");
    }

    #[test]
    fn an_array_keeps_what_is_in_its_elements() {
        let values = [Some("a"), None, Some("NULL"), Some(""), Some(r#"o'b"c\d,{e}"#)];
        assert_eq!(array(values), r#" E'{"a",NULL,"NULL","","o''b\\"c\\\\d,{e}"}'"#);
    }

    #[test]
    fn a_search_path_names_each_schema_once() {
        assert_eq!(search_path(["acme", "public", "public"]), r#""acme", "public""#);
    }
}
