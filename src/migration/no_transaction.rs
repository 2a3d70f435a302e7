//! Files that cannot run in a transaction.
use super::executor::Executor;
use super::queue::Task;
use super::worker::Verdict;
pub(super) async fn attempt(_: &Executor<'_>, _: &str, _: &Task, _: usize) -> Verdict {
    Verdict::HistoryChanged
}
