//! Functions whose text names a schema. The server does not read that text until it runs, so that
//! nothing follows when a schema is called otherwise.

use crate::name::SchemaName;
use crate::pg::{Connection, Incomplete, identifier, literal};

/// Returns the functions of `schema` in whose text or settings the word `name` stands, in the
/// server's words.
pub(super) async fn functions_naming(
    connection: &mut Connection,
    schema: &SchemaName,
    name: &str,
) -> Result<Vec<String>, Incomplete> {
    let question = format!(
        "select p.oid::pg_catalog.regprocedure, p.prosrc || ' ' \
           || coalesce(pg_catalog.array_to_string(p.proconfig, ' '), '') \
         from pg_catalog.pg_depend as d join pg_catalog.pg_proc as p on p.oid = d.objid \
         where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
           and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
           and d.refobjid = {}::pg_catalog.regnamespace order by 1::text",
        literal(&identifier(schema.as_str()))
    );
    let rows = connection.ask(&question).await?.rows;
    let naming = rows.iter().filter(|row| has_word(row.text(1), name));
    Ok(naming.map(|row| row.text(0).to_owned()).collect())
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
