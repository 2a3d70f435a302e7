//! Functions whose text names a schema. The server does not read that text until it runs, so that
//! nothing follows when a schema is called otherwise.

use crate::name::SchemaName;
use crate::pg::{Row, identifier, literal};

/// Asks for the functions of `schema` with their text and settings.
pub(super) fn question(schema: &SchemaName) -> String {
    format!(
        "select p.oid::pg_catalog.regprocedure, p.prosrc || ' ' \
           || coalesce(pg_catalog.array_to_string(p.proconfig, ' '), '') \
         from pg_catalog.pg_depend as d join pg_catalog.pg_proc as p on p.oid = d.objid \
         where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
           and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
           and d.refobjid = {}::pg_catalog.regnamespace order by 1::text",
        literal(&identifier(schema.as_str()))
    )
}

/// Returns those functions in whose text or settings the word `name` stands, in the server's words.
pub(super) fn naming(functions: &[Row], name: &SchemaName) -> Vec<String> {
    let naming = functions.iter().filter(|row| has_word(row.text(1), name.as_str()));
    naming.map(|row| row.text(0).to_owned()).collect()
}

/// Whether `text` holds `word` with no letter, digit or underscore at either side.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_not_part_of_another() {
        assert!(has_word("select * from acme.users", "acme"));
        assert!(!has_word("select * from acme_2.users", "acme"));
    }
}
