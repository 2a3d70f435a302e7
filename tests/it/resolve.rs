//! For apps that embed the library.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tenantctl::name::{Hostname, SchemaName};
use tenantctl::resolve::{ResolveError, TenantResolver};
use tenantctl::tenant::Names;

use crate::support::Project;

/// A project with two tenants that have notes, and a shared table of that name.
async fn project() -> Project {
    let project = Project::with_tenants(["acme", "Tenant 1"]).await;
    project
        .sql(
            r#"create table acme.notes (body text);
               create table "Tenant 1".notes (body text);
               create table public.notes (body text);
               insert into domains (tenant_id, domain)
               select id, 'acme.example' from tenants where schema_name = 'acme'"#,
        )
        .await;
    project
}

/// A pool of one connection: whatever one user leaves behind, the next one finds.
fn pool(project: &Project) -> PgPool {
    let options = PgPoolOptions::new().max_connections(1);
    options.connect_lazy_with(project.database().options())
}

fn resolver(project: &Project) -> TenantResolver {
    TenantResolver::new(pool(project), Names::default())
}

async fn schema_of(resolver: &TenantResolver, host: &str) -> Option<String> {
    let host: Hostname = host.parse().unwrap();
    let tenant = resolver.resolve(&host).await.unwrap();
    tenant.map(|tenant| tenant.schema.to_string())
}

#[tokio::test]
async fn a_host_leads_to_its_tenant_with_all_its_columns() {
    let project = project().await;
    let host: Hostname = "ACME.example.".parse().unwrap();
    let tenant = resolver(&project).resolve(&host).await.unwrap().unwrap();
    assert_eq!(tenant.schema.as_str(), "acme");
    assert_eq!(tenant.name.as_deref(), Some("acme"));
    assert_eq!(tenant.primary_domain.as_deref(), Some("acme.example"));
    assert_eq!((tenant.get("on_trial"), tenant.get("paid_until")), (Some("true"), None));
}

#[tokio::test]
async fn what_was_found_is_remembered_for_a_while() {
    let project = project().await;
    let resolver = resolver(&project).remember(Duration::MAX, 100);
    assert_eq!(schema_of(&resolver, "acme.example").await.unwrap(), "acme");
    project.sql("update domains set domain = 'new.example'").await;
    assert_eq!(schema_of(&resolver, "acme.example").await.unwrap(), "acme");

    resolver.forget();
    assert_eq!(schema_of(&resolver, "acme.example").await, None);
    assert_eq!(schema_of(&resolver, "new.example").await.unwrap(), "acme");
}

#[tokio::test]
async fn nothing_is_remembered_where_that_is_not_wanted() {
    let project = project().await;
    let resolver = resolver(&project).remember(Duration::ZERO, 100);
    assert_eq!(schema_of(&resolver, "new.example").await, None);
    project.sql("update domains set domain = 'new.example'").await;
    assert_eq!(schema_of(&resolver, "new.example").await.unwrap(), "acme");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_an_error_and_not_nobody() {
    let project = Project::empty().await;
    let host: Hostname = "acme.example".parse().unwrap();
    let error = resolver(&project).resolve(&host).await.unwrap_err();
    assert!(matches!(error, ResolveError::Database(_)), "{error:?}");
}

#[tokio::test]
async fn a_scope_is_one_tenants_and_ends_with_its_transaction() {
    let project = project().await;
    let resolver = resolver(&project);
    let before = search_path(resolver.pool()).await;
    for schema in ["acme", "Tenant 1", "Tenant 1"] {
        let schema: SchemaName = schema.parse().unwrap();
        let mut transaction = resolver.scope(&schema).await.unwrap();
        let insert = sqlx::query("insert into notes values ($1)").bind("a note");
        insert.execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(search_path(resolver.pool()).await, before);
    }
    // One that is not committed leaves nothing, neither rows nor its path.
    let mut dropped = resolver.scope(&"acme".parse().unwrap()).await.unwrap();
    let insert = sqlx::query("insert into notes values ('lost')");
    insert.execute(&mut *dropped).await.unwrap();
    drop(dropped);
    assert_eq!(search_path(resolver.pool()).await, before);

    let counts = r#"select (select count(*) from acme.notes), (select count(*) from "Tenant 1".notes),
        (select count(*) from public.notes)"#;
    assert_eq!(project.query(counts).await, "1|2|0");
}

async fn search_path(pool: &PgPool) -> String {
    sqlx::query_scalar("show search_path").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_scope_never_falls_through_to_the_shared_schema() {
    let project = project().await;
    let error = resolver(&project).scope(&"ghost".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no schema `ghost`, or this role may not use it");

    // Postgres also skips a schema that the role may not use.
    let role = format!("app_{}", project.database().database);
    project.sql(&format!("create role {role} login password 'x'")).await;
    let options = project.database().options().username(&role).password("x");
    let pool = PgPoolOptions::new().connect_lazy_with(options);
    let as_role = TenantResolver::new(pool.clone(), Names::default());
    let answer = as_role.scope(&"acme".parse().unwrap()).await.map(drop);
    pool.close().await;
    project.sql(&format!("drop role {role}")).await;
    assert!(matches!(answer, Err(ResolveError::NoSchema { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_renamed_tenant_is_found_again_by_its_host() {
    let project = project().await;
    let resolver = resolver(&project).remember(Duration::MAX, 100);
    assert_eq!(schema_of(&resolver, "acme.example").await.unwrap(), "acme");
    assert_eq!(
        project.run("rename-tenant acme initech").trim(),
        "renamed tenant `acme` to `initech`"
    );
    let acme = SchemaName::registered("acme");
    assert!(matches!(resolver.scope(&acme).await, Err(ResolveError::NoSchema { .. })));
    assert_eq!(schema_of(&resolver, "acme.example").await.unwrap(), "initech");
}

#[tokio::test]
async fn a_schema_that_is_being_deleted_is_not_entered() {
    let project = project().await;
    project
        .sql("comment on schema acme is 'tenantctl: being deleted'; drop table acme.notes")
        .await;
    let scope = resolver(&project);
    let acme = SchemaName::registered("acme");
    assert!(matches!(scope.scope(&acme).await, Err(ResolveError::NoSchema { .. })));
    insta::assert_snapshot!(project.run("tenant-command --schema acme sql 'delete from notes'"), @"
    ------- stderr -------
    error: there is no schema `acme`
    hint: `tenantctl status` shows what is missing
    [exit status: 1]
    ");
}

#[tokio::test]
async fn a_scope_reads_the_extra_schemas_after_its_own() {
    let project = project().await;
    project.sql("create schema extra; create table extra.words (word text)").await;
    let resolver = resolver(&project).extra_search_path(["extra".parse().unwrap()]);
    let mut transaction = resolver.scope(&"acme".parse().unwrap()).await.unwrap();
    let path: String =
        sqlx::query_scalar("show search_path").fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(path, r#""acme", "public", "extra""#);
}

#[cfg(feature = "axum")]
mod layer {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::http::request::Builder;
    use axum::routing::get;
    use tenantctl::resolve::TenantLayer;
    use tenantctl::tenant::Tenant;
    use tower_service::Service;

    use super::*;

    async fn schema(tenant: Tenant) -> String {
        tenant.schema.to_string()
    }

    async fn answer(layer: &TenantLayer, request: Builder) -> String {
        ask(Router::new().route("/", get(schema)).layer(layer.clone()), request).await
    }

    async fn ask(mut app: Router, request: Builder) -> String {
        let response = app.call(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        format!("{status} {}", String::from_utf8_lossy(&body))
    }

    fn to(host: &str) -> Builder {
        Request::builder().uri("/").header("host", host)
    }

    #[tokio::test]
    async fn a_handler_is_given_the_hosts_tenant() {
        let project = project().await;
        let layer = TenantLayer::new(resolver(&project));
        assert_eq!(answer(&layer, to("ACME.example:8000")).await, "200 acme");
        // As HTTP/2 has it.
        let request = Request::builder().uri("http://acme.example/");
        assert_eq!(answer(&layer, request).await, "200 acme");
    }

    #[tokio::test]
    async fn who_has_no_tenant_does_not_reach_the_app() {
        let project = project().await;
        let layer = TenantLayer::new(resolver(&project));
        for host in ["nobody.example", "127.0.0.1:80", "a b", "acme.example\u{e9}", ""] {
            assert_eq!(answer(&layer, to(host)).await, "404 ", "{host}");
        }
        let two = to("acme.example").header("host", "acme.example");
        assert_eq!(answer(&layer, two).await, "404 ");
        assert_eq!(answer(&layer, Request::builder().uri("/")).await, "404 ");
    }

    #[tokio::test]
    async fn who_has_no_tenant_may_be_given_the_shared_schema() {
        let project = project().await;
        let layer = TenantLayer::new(resolver(&project)).or_shared();
        assert_eq!(answer(&layer, to("127.0.0.1:80")).await, "200 public");
        assert_eq!(answer(&layer, to("acme.example")).await, "200 acme");
    }

    #[tokio::test]
    async fn a_forwarded_host_counts_only_where_it_is_trusted() {
        let project = project().await;
        let layer = TenantLayer::new(resolver(&project));
        let request = || to("inner").header("x-forwarded-host", "acme.example, proxy.example");
        assert_eq!(answer(&layer, request()).await, "404 ");
        let layer = layer.trust_forwarded_host();
        assert_eq!(answer(&layer, request()).await, "200 acme");
        assert_eq!(answer(&layer, to("acme.example")).await, "200 acme");
    }

    #[tokio::test]
    async fn a_registry_that_does_not_answer_is_503_even_with_a_fallback() {
        let project = Project::empty().await;
        let layer = TenantLayer::new(resolver(&project)).or_shared();
        assert_eq!(answer(&layer, to("acme.example")).await, "503 ");
    }

    #[tokio::test]
    async fn a_route_without_the_layer_says_so() {
        let app = Router::new().route("/", get(schema));
        let answer = ask(app, to("acme.example")).await;
        assert_eq!(answer, "500 this route is not behind a `TenantLayer`");
    }
}
