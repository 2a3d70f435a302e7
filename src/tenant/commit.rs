//! What became of a commit of which nothing was heard.

use std::time::Duration;

use super::change::Patience;
use crate::pg::{Spare, literal};

/// The expression, in a transaction, of the number by which [`is_committed`] finds it again.
pub(super) const NUMBER: &str = "pg_catalog.pg_current_xact_id()";

/// How long a server that went away is waited for, to be asked what became of a commit.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);

/// Asks the server whether the transaction of this number was committed; `None` where it could not be
/// asked in time.
pub(super) async fn is_committed(spare: &Spare, number: &str) -> Option<bool> {
    let question = format!("select pg_xact_status({}::xid8)", literal(number));
    let mut patience = Patience::lasting(SETTLE_WITHIN);
    while patience.is_left() {
        match status(spare, &question).await.as_deref() {
            Some("committed") => return Some(true),
            Some("aborted") => return Some(false),
            _ => patience.pause().await,
        }
    }
    None
}

async fn status(spare: &Spare, question: &str) -> Option<String> {
    let mut lane = spare.lane().await;
    lane.check().await;
    let rows = lane.serve(0).await.ok()?.ask(question).await.ok()?;
    rows.rows[0].get(0).map(str::to_owned)
}
