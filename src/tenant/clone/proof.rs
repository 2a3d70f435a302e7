//! What a clone must not have of its source, and what should be known of it.

use super::CloneError;
use super::transaction::Transaction;
use crate::name::SchemaName;
use crate::pg::{identifier, literal};

impl Transaction<'_> {
    /// Names what of the new schema leads to the source.
    pub(super) async fn leaks(&mut self) -> Result<Vec<String>, CloneError> {
        let members = |schema: &SchemaName| {
            format!(
                "select classid, objid from pg_catalog.pg_depend \
                 where refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
                   and refobjid = {}::pg_catalog.regnamespace",
                literal(&identifier(schema.as_str()))
            )
        };
        // `offset 0`: by the index, however many rows the planner expects.
        // What hangs on a member, such as a table's constraint, refers from its own row.
        let question = format!(
            "with recursive mine(classid, objid) as ({mine} union select d.classid, d.objid from mine \
               cross join lateral (select * from pg_catalog.pg_depend as d \
                 where d.refclassid = mine.classid and d.refobjid = mine.objid offset 0) as d), \
             theirs as ({theirs}) \
             select distinct pg_catalog.pg_describe_object(d.classid, d.objid, 0) from mine \
             cross join lateral (select * from pg_catalog.pg_depend as d \
               where d.classid = mine.classid and d.objid = mine.objid offset 0) as d \
             join theirs on theirs.classid = d.refclassid and theirs.objid = d.refobjid",
            mine = members(&self.tenant.schema),
            theirs = members(self.clone.source),
        );
        let answers = self.send(question).await?;
        let rows = answers.last().into_iter().flatten();
        Ok(rows.map(|row| format!("{}, which leads to it", row.text(0))).collect())
    }

    /// Names the functions in whose text, which the server does not read, the source's name is.
    pub(super) async fn naming_source(&mut self) -> Result<Vec<String>, CloneError> {
        let question = format!(
            "select p.oid::pg_catalog.regprocedure, p.prosrc || ' ' \
               || coalesce(pg_catalog.array_to_string(p.proconfig, ' '), '') \
             from pg_catalog.pg_depend as d join pg_catalog.pg_proc as p on p.oid = d.objid \
             where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
               and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
               and d.refobjid = {}::pg_catalog.regnamespace order by 1::text",
            literal(&identifier(self.clone.source.as_str()))
        );
        let answers = self.send(question).await?;
        let rows = answers.last().into_iter().flatten();
        let naming = rows.filter(|row| has_word(row.text(1), self.clone.source.as_str()));
        Ok(naming.map(|row| row.text(0).to_owned()).collect())
    }
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
