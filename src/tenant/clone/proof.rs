//! What a clone must not have of its source, and what should be known of it.

use super::super::naming;
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
        let source = self.clone.source;
        let answers = self.send(naming::question(source)).await?;
        Ok(answers.last().map_or_else(Vec::new, |rows| naming::naming(rows, source)))
    }
}
