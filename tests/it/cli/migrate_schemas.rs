use crate::support::Project;

#[tokio::test]
async fn one_bad_schema_does_not_stop_the_others() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.sql("create table globex.notes (id int)").await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)"); // collides in globex

    insta::assert_snapshot!(project.run("migrate-schemas --all"), @r#"
    1 schema migrated, 1 up to date, 1 failed
    ------- stderr -------
    acme: applied V1 `notes`
    error: migration V1 `notes` could not be applied to schema `globex`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=globex`
    [exit status: 4]
    "#);
}
