//! Tenants that are behind, and histories that disagree with the files or cannot be read.

use std::collections::BTreeMap;

use super::rights::Rights;
use super::rows::{TenantRow, push};
use super::{DoctorError, Finding, Look};
use crate::migration::{Disagreement, MigrationSet, PlanOptions, State, Survey};
use crate::name::SchemaName;

/// What the histories say.
pub(super) struct Surveys {
    pub(super) shared: Survey,
    pub(super) tenants: Survey,
}

/// Reads the history of the shared schema and of every tenant's that is there, can be read at once,
/// and is neither being created nor deleted.
pub(super) async fn look(
    look: &mut Look<'_>,
    rights: &Rights,
    rows: &[TenantRow],
) -> Result<Surveys, DoctorError> {
    let (shared_set, tenants_set) = (look.doctor.shared, look.doctor.tenants);
    let mut shared = vec![look.doctor.registry.names().shared_schema.clone()];
    shared.retain(|_| rights.may_read_shared_history);
    let readable = rows.iter().filter(|it| it.is_settled() && it.may_read);
    let (locked, open): (Vec<&TenantRow>, Vec<&TenantRow>) = readable.partition(|it| it.is_locked);
    let schemas = |rows: Vec<&TenantRow>| rows.into_iter().map(|it| it.schema.clone()).collect();
    push(&mut look.findings, schemas(locked), |schemas| Finding::HistoryLocked { schemas });
    let tenants: Vec<SchemaName> = schemas(open);
    let options = PlanOptions::default();
    let (lane, findings) = (&mut look.lane, &mut look.findings);
    let mut others = lane.others(Survey::HELPERS);
    let shared = Survey::take_over(lane, &mut [], shared_set, &shared, options).await?;
    say(findings, shared_set, &shared, true);
    let tenants = Survey::take_over(lane, &mut others, tenants_set, &tenants, options).await?;
    for other in &mut others {
        other.close().await;
    }
    say(findings, tenants_set, &tenants, false);
    Ok(Surveys { shared, tenants })
}

fn say(findings: &mut Vec<Finding>, set: &MigrationSet, survey: &Survey, is_shared: bool) {
    let behind = survey.behind_in_order().cloned().collect();
    push(findings, behind, |schemas| Finding::Behind { is_shared, schemas });
    for Disagreement { finding, schemas } in survey.disagreements() {
        let (_, kind) = set.version_and_word(&finding);
        findings.push(Finding::Disagreement { kind, what: set.describe(&finding), schemas });
    }
    let mut reasons: BTreeMap<String, Vec<SchemaName>> = BTreeMap::new();
    for (schema, state) in survey.states() {
        if let State::Unreadable(why) = state {
            reasons.entry(why).or_default().push(schema.clone());
        }
    }
    findings.extend(reasons.into_iter().map(|(why, schemas)| Finding::Unreadable { why, schemas }));
}
