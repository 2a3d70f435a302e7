//! The migrations: a shared schema of three, a tenant of ten (ten tables, foreign keys, indexes).

use std::fs;
use std::path::{Path, PathBuf};

/// A project's folder with its migrations.
pub(crate) struct Workload {
    root: PathBuf,
    shared_key: bool,
    /// So many tenant migrations were written.
    tenant_migrations: usize,
}

/// Returns `tenant_00001` and so on.
pub(crate) fn schema_names(number: usize) -> Vec<String> {
    (1..=number).map(|index| format!("tenant_{index:05}")).collect()
}

/// Returns the SQL of the `index`th tenant migration, from 0.
fn tenant_sql(index: usize, shared_key: bool) -> String {
    let reference = if shared_key { " references public.plans (id)" } else { "" };
    match index {
        0 => format!(
            "create table t0 (id bigserial primary key, name text not null, plan_id \
             bigint{reference});\ncreate index t0_name on t0 (name);\n"
        ),
        1..=9 => format!(
            "create table t{index} (id bigserial primary key, parent_id bigint not null references \
             t{} (id), name text not null, created_at timestamptz not null default now());\n\
             create index t{index}_parent on t{index} (parent_id);\n\
             create index t{index}_name on t{index} (name, created_at);\n",
            index - 1
        ),
        _ => format!("alter table t9 add column note_{index} text;\n"),
    }
}

impl Workload {
    /// Writes a project with ten tenant migrations, and nothing else.
    pub(crate) fn write(root: &Path, shared_key: bool) -> Self {
        let mut workload = Self { root: root.to_owned(), shared_key, tenant_migrations: 0 };
        let _ = fs::remove_dir_all(root.join("migrations"));
        let _ = fs::remove_file(root.join("tenantctl.toml"));
        let registry = include_str!("../../migrations/shared/V1__create_tenants_and_domains.sql");
        workload.file("shared/V1__create_tenants_and_domains.sql", registry);
        let plans = "create table plans (id bigserial primary key, name text not null);\n";
        workload.file("shared/V2__plans.sql", plans);
        let index = "create unique index plans_name on plans (name);\n";
        workload.file("shared/V3__plans_name.sql", index);
        for _ in 0..10 {
            workload.add_tenant_migration("t");
        }
        workload
    }

    /// Writes one more tenant migration, which adds a column, and returns its index.
    pub(crate) fn add_column(&mut self) -> usize {
        self.add_tenant_migration("note")
    }

    fn add_tenant_migration(&mut self, name: &str) -> usize {
        let index = self.tenant_migrations;
        self.file(&format!("tenant/V{}__{name}.sql", index + 1), &self.sql(index));
        self.tenant_migrations += 1;
        index
    }

    /// Returns the SQL of the `index`th tenant migration, from 0.
    pub(crate) fn sql(&self, index: usize) -> String {
        tenant_sql(index, self.shared_key)
    }

    fn file(&self, path: &str, sql: &str) {
        let path = self.root.join("migrations").join(path);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
        fs::write(path, sql).expect("a file");
    }

    /// Writes the tenants as CSV, and returns the file.
    pub(crate) fn write_tenants(&self, names: &[String]) -> String {
        let mut text = String::from("schema_name,name,domain\n");
        for name in names {
            let host = name.replace('_', "-");
            text += &format!("{name},{name},{host}.example.com\n");
        }
        let path = self.root.join("tenants.csv");
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}
