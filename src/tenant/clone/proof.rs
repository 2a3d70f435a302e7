//! What a clone must not have of its source, and what should be known of it.

use super::super::{leaks, naming};
use super::CloneError;
use super::transaction::Transaction;

impl Transaction<'_> {
    /// Names what of the new schema leads to the source.
    pub(super) async fn leaks(&mut self) -> Result<Vec<String>, CloneError> {
        let question = leaks::question(&self.tenant.schema, self.clone.source);
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
