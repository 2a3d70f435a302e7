//! The server: its version, its settings, and what stands in between.

use super::histories::Surveys;
use super::{DoctorError, Finding, Look};
use crate::migration::preflight::{Server, largest};

/// The oldest version that is supported.
const OLDEST: u32 = 130_000;

pub(super) async fn look(look: &mut Look<'_>) -> Result<Server, DoctorError> {
    let connection = look.connection().await?;
    let version = connection.server_version();
    let server = Server::look(connection).await?;
    look.findings.extend(unsupported(version));
    if server.is_standby {
        look.findings.push(Finding::Standby);
    }
    match look.doctor.database.connect_directly("tenantctl doctor", &[]).await {
        Ok(Some(connection)) => connection.close().await,
        Ok(None) => look.findings.push(Finding::Pooler),
        // One connection is enough for everything else.
        Err(error) if error.is_too_many_clients() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(server)
}

fn unsupported(version: u32) -> Option<Finding> {
    let is_old = version > 0 && version < OLDEST;
    is_old.then_some(Finding::UnsupportedServer { major: version / 10_000 })
}

/// Compares the server's settings with what a run needs: the pending migrations of many schemas at
/// once, or all of a new tenant's in one.
pub(super) fn settings(look: &mut Look<'_>, server: &Server, surveys: &Surveys) {
    let jobs = look.doctor.jobs;
    let pending = [
        (look.doctor.shared, surveys.shared.pending_files().into_iter().collect()),
        (look.doctor.tenants, surveys.tenants.pending_files().into_iter().collect()),
    ];
    let all = (0..look.doctor.tenants.folder().files().len()).collect();
    let new_tenant = [(look.doctor.tenants, all)];
    let room = server.jobs(jobs);
    let small =
        [server.lock_table(largest(&pending), room), server.lock_table(largest(&new_tenant), 1)];
    let smallest = small.into_iter().flatten().max_by_key(|it| it.wanted);
    look.findings.extend(smallest.map(Finding::SmallLockTable));
    if room < jobs {
        let free = server.free();
        look.findings.push(Finding::FewConnections { free, jobs, room });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_13_is_the_oldest_that_is_supported() {
        assert_eq!(unsupported(120_022), Some(Finding::UnsupportedServer { major: 12 }));
        assert_eq!(unsupported(130_000), None);
        assert_eq!(unsupported(180_001), None);
    }
}
