//! From a hostname to its tenant, and to a transaction in that tenant's schema.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Transaction};

use super::cache::Cache;
use crate::name::{Hostname, SchemaName};
use crate::pg::{BEING_DELETED, Row, literal, search_path};
use crate::tenant::{Names, Registry, Tenant, question_about_host, read_tenants};

type Hosts = Cache<Hostname, Option<Arc<Tenant>>>;

/// For so long it is remembered at most that a host leads nowhere: a tenant may just be in the
/// making.
const NOBODY_LASTS: Duration = Duration::from_secs(1);

/// Finds the tenants that hostnames lead to, and opens transactions in their schemas.
///
/// Clones share one pool and one cache. Nothing is kept in the connections' sessions, so that all of
/// it works through a transaction pooler.
#[derive(Clone)]
pub struct TenantResolver {
    pool: PgPool,
    registry: Arc<Registry>,
    extra_path: Arc<[SchemaName]>,
    lasts: Duration,
    hosts: Arc<Mutex<Hosts>>,
}

/// Why a host was not resolved, or a schema not entered.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The database did not answer, or refused.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
    /// Postgres skips such a schema in the search path, and would go on in the shared one.
    #[error("there is no schema `{schema}`, or this role may not use it")]
    NoSchema {
        /// The schema.
        schema: SchemaName,
    },
}

impl TenantResolver {
    /// Returns a resolver for the registry with these names. It remembers what it found for ten
    /// seconds, of at most 10,000 hosts.
    pub fn new(pool: PgPool, names: Names) -> Self {
        Self {
            pool,
            registry: Arc::new(Registry::new(names)),
            extra_path: Arc::new([]),
            lasts: Duration::from_secs(10),
            hosts: Arc::new(Mutex::new(Cache::new(10_000))),
        }
    }

    /// Sets for how long it is remembered which tenant a host leads to, and of how many hosts. What
    /// changes in the registry is seen after that time.
    pub fn remember(mut self, lasts: Duration, hosts: usize) -> Self {
        self.lasts = lasts;
        self.hosts = Arc::new(Mutex::new(Cache::new(hosts)));
        self
    }

    /// Sets the schemas that tenants read after their own and the shared one.
    pub fn extra_search_path(mut self, schemas: impl IntoIterator<Item = SchemaName>) -> Self {
        self.extra_path = schemas.into_iter().collect();
        self
    }

    /// Returns the pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns the tenant that `host` leads to, which may be the shared schema's own row.
    pub async fn resolve(&self, host: &Hostname) -> Result<Option<Arc<Tenant>>, ResolveError> {
        if let Some(known) = self.hosts().get(host, Instant::now()) {
            return Ok(known);
        }
        let found = self.look_up(host).await?.map(Arc::new);
        let lasts = match found {
            Some(_) => self.lasts,
            None => self.lasts.min(NOBODY_LASTS),
        };
        let (host, now) = (host.clone(), Instant::now());
        self.hosts().insert(host, found.clone(), now, lasts);
        Ok(found)
    }

    /// Forgets what was found: the app has changed the registry itself.
    pub fn forget(&self) {
        self.hosts().clear();
    }

    /// Begins a transaction in which unqualified names mean this schema's tables, and where it has
    /// none of that name, the shared schema's.
    ///
    /// The search path ends with the transaction; whoever has the connection next does not see it.
    ///
    /// # Errors
    ///
    /// [`ResolveError::NoSchema`] where the statements would otherwise reach the shared schema's
    /// tables.
    pub async fn scope(
        &self,
        schema: &SchemaName,
    ) -> Result<Transaction<'static, Postgres>, ResolveError> {
        let mut transaction = self.pool.begin().await?;
        let rows = ask(&mut *transaction, self.enter(schema)).await?;
        if rows.first().is_some_and(|row| row.flag(0)) {
            return Ok(transaction);
        }
        // It was renamed or deleted: what is remembered of its hosts leads nowhere.
        self.forget();
        Err(ResolveError::NoSchema { schema: schema.clone() })
    }

    /// Returns what stands for the shared schema where it has no row in the registry.
    pub fn shared(&self) -> Tenant {
        Tenant {
            schema: self.registry.names().shared_schema.clone(),
            name: None,
            primary_domain: None,
            values: Vec::new(),
        }
    }

    async fn look_up(&self, host: &Hostname) -> Result<Option<Tenant>, sqlx::Error> {
        let question = question_about_host(&self.registry, host);
        let rows = ask(&self.pool, question).await?;
        Ok(read_tenants(&self.registry, &rows).pop())
    }

    fn enter(&self, schema: &SchemaName) -> String {
        let shared = [schema, &self.registry.names().shared_schema];
        let path = shared.into_iter().chain(self.extra_path.iter());
        format!(
            "select coalesce((select pg_catalog.has_schema_privilege(oid, 'usage') \
               from pg_catalog.pg_namespace where nspname = {} \
                 and pg_catalog.obj_description(oid, 'pg_namespace') is distinct from '{BEING_DELETED}'), false), \
               pg_catalog.set_config('search_path', {}, true)",
            literal(schema.as_str()),
            literal(&search_path(path.map(SchemaName::as_str))),
        )
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        // What a panic left behind is still a cache.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one question by the simple protocol, which leaves no prepared statement behind.
async fn ask<'c>(
    executor: impl Executor<'c, Database = Postgres>,
    question: String,
) -> Result<Vec<Row>, sqlx::Error> {
    let answer = sqlx::raw_sql(AssertSqlSafe(question)).fetch_all(executor);
    Ok(answer.await?.iter().map(Row::read).collect())
}

impl fmt::Debug for TenantResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pool's options hold a password.
        f.debug_struct("TenantResolver")
            .field("registry", &self.registry)
            .field("extra_path", &self.extra_path)
            .finish_non_exhaustive()
    }
}
