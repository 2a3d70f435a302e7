//! What can be wrong with a fleet, as data.

use crate::migration::{FreeConnections, SmallLockTable};
use crate::name::{SchemaName, SchemaNameError};

/// Something that is wrong. What is wrong with many schemas in the same way is one finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The server is older than what is supported.
    UnsupportedServer {
        /// Its major version.
        major: u32,
    },
    /// The server is a standby.
    Standby,
    /// A pooler stands between here and the server.
    Pooler,
    /// The lock table is small for the largest plan.
    SmallLockTable(SmallLockTable),
    /// There are too few free connections for the jobs of one run.
    FewConnections {
        /// Those that can still be opened.
        free: FreeConnections,
        /// The jobs of a run.
        jobs: usize,
        /// The jobs for which there is room.
        room: usize,
    },
    /// The role may not create schemas.
    NoCreate {
        /// The role.
        role: String,
        /// The database.
        database: String,
    },
    /// The role lacks rights on the shared schema.
    SharedSchemaRights {
        /// The role.
        role: String,
        /// The shared schema.
        schema: SchemaName,
        /// Such as `usage`.
        lacking: Vec<String>,
    },
    /// The role lacks rights on a table of the registry.
    RegistryRights {
        /// The role.
        role: String,
        /// The shared schema.
        schema: SchemaName,
        /// The table.
        table: String,
        /// Such as `insert`.
        lacking: Vec<String>,
    },
    /// Schemas of tenants that belong to another role, whose rights this one does not have.
    NotOwned {
        /// This role.
        role: String,
        /// The role they belong to.
        owner: String,
        /// Nobody should be given the rights of one.
        owner_is_superuser: bool,
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Schemas whose history the role may not read.
    HistoryRights {
        /// The role.
        role: String,
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Registry rows with names that no tenant can have.
    UnacceptableNames {
        /// The names.
        schemas: Vec<SchemaName>,
        /// What is wrong with the first of them.
        why: SchemaNameError,
    },
    /// Registry rows whose names differ in upper and lower case alone.
    AlikeNames {
        /// Those that are alike stand beside each other.
        schemas: Vec<SchemaName>,
    },
    /// Schemas that several registry rows name.
    SeveralRows {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Registry rows whose schema is not there.
    SchemaMissing {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Schemas that look like tenants' and that no registry row names.
    Orphans {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Schemas whose creation was begun and is not finished.
    HalfCreated {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Tenants whose deletion was begun and is not finished.
    HalfDeleted {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Tenants that no domain leads to.
    NoDomain {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Tenants that have domains, none of them primary.
    NoPrimaryDomain {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Tenants with more than one primary domain.
    SeveralPrimaryDomains {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Migrations are pending.
    Behind {
        /// In the shared schema, rather than in tenants'.
        is_shared: bool,
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Histories and files disagree.
    Disagreement {
        /// `divergent`, `missing`, `out of order` or `broken`.
        kind: &'static str,
        /// In words, with the file or the row.
        what: String,
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Histories that somebody has locked just now.
    HistoryLocked {
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Histories that cannot be read.
    Unreadable {
        /// Why.
        why: String,
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Invalid indexes, which a statement that works concurrently left behind.
    InvalidIndex {
        /// The table.
        table: String,
        /// The index.
        index: String,
        /// A pending migration builds it: it can be dropped.
        is_pending: bool,
        /// The schemas.
        schemas: Vec<SchemaName>,
    },
    /// Tables in the shared schema that only tenants' migrations create.
    StrayTables {
        /// The shared schema.
        schema: SchemaName,
        /// The tables.
        tables: Vec<String>,
    },
}

impl Finding {
    /// Returns what kind of finding it is, in a word or two that stay the same.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnsupportedServer { .. } => "unsupported server",
            Self::Standby => "standby",
            Self::Pooler => "pooler",
            Self::SmallLockTable(_) => "small lock table",
            Self::FewConnections { .. } => "few connections",
            Self::NoCreate { .. } => "no create",
            Self::SharedSchemaRights { .. } => "shared schema rights",
            Self::RegistryRights { .. } => "registry rights",
            Self::NotOwned { .. } => "not owned",
            Self::HistoryRights { .. } => "history rights",
            Self::UnacceptableNames { .. } => "unacceptable names",
            Self::AlikeNames { .. } => "alike names",
            Self::SeveralRows { .. } => "several rows",
            Self::SchemaMissing { .. } => "schema missing",
            Self::Orphans { .. } => "orphans",
            Self::HalfCreated { .. } => "half created",
            Self::HalfDeleted { .. } => "half deleted",
            Self::NoDomain { .. } => "no domain",
            Self::NoPrimaryDomain { .. } => "no primary domain",
            Self::SeveralPrimaryDomains { .. } => "several primary domains",
            Self::Behind { .. } => "behind",
            Self::Disagreement { kind, .. } => kind,
            Self::HistoryLocked { .. } => "history locked",
            Self::Unreadable { .. } => "unreadable",
            Self::InvalidIndex { .. } => "invalid index",
            Self::StrayTables { .. } => "stray tables",
        }
    }

    /// Returns the schemas it is about, where it is about schemas.
    pub fn schemas(&self) -> &[SchemaName] {
        match self {
            Self::NotOwned { schemas, .. }
            | Self::HistoryRights { schemas, .. }
            | Self::UnacceptableNames { schemas, .. }
            | Self::AlikeNames { schemas }
            | Self::SeveralRows { schemas }
            | Self::SchemaMissing { schemas }
            | Self::Orphans { schemas }
            | Self::HalfCreated { schemas }
            | Self::HalfDeleted { schemas }
            | Self::NoDomain { schemas }
            | Self::NoPrimaryDomain { schemas }
            | Self::SeveralPrimaryDomains { schemas }
            | Self::Behind { schemas, .. }
            | Self::Disagreement { schemas, .. }
            | Self::HistoryLocked { schemas }
            | Self::Unreadable { schemas, .. }
            | Self::InvalidIndex { schemas, .. } => schemas,
            Self::SharedSchemaRights { schema, .. }
            | Self::RegistryRights { schema, .. }
            | Self::StrayTables { schema, .. } => std::slice::from_ref(schema),
            Self::UnsupportedServer { .. }
            | Self::Standby
            | Self::Pooler
            | Self::SmallLockTable(_)
            | Self::FewConnections { .. }
            | Self::NoCreate { .. } => &[],
        }
    }
}
