//! What migrating a fleet costs, side by side with what it cannot beat: the same SQL fed by psql
//! over the same number of connections, with no bookkeeping but a history row per migration.
//!
//! `cargo bench --bench fleet -- --tenants 200 --jobs 1,2,4,8 --rounds 3`

mod floor;
mod measure;
mod workload;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use tenantctl::pg::server::{PrivateServer, ServerPrograms};

use self::floor::Psql;
use self::measure::{Measured, Table, run};
use self::workload::{Workload, schema_names};

/// How often the rows that take but a moment are measured in each round, in turns.
const REPEATS: usize = 6;

/// Measure tenantctl against psql on a private server with Postgres' default durability
#[derive(Debug, clap::Parser)]
struct Options {
    /// How many tenants
    #[arg(long, default_value_t = 200)]
    tenants: usize,
    /// Over how many connections, one run each
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    jobs: Vec<usize>,
    /// How often each row is measured, from a new database; the medians are shown, of those that take
    /// but a moment over six times as many. An even number lets both sides go first as often
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// For large fleets: psql creates none, it is given a copy of ours, and the rows in which it would
    /// are ours alone
    #[arg(long)]
    copied: bool,
    /// Let a key of every tenant's point at a shared table, which then has two triggers a tenant
    #[arg(long)]
    shared_key: bool,
    /// Leave out the ten migrations on schemas that have none, which take as long as creating does
    #[arg(long)]
    without_ten: bool,
    /// cargo says this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// One server, one folder with the workload, and the two programs.
struct Bench {
    folder: tempfile::TempDir,
    server: PrivateServer,
    psql: Psql,
    /// So many databases were made.
    made: Cell<usize>,
}

fn main() {
    let options = Options::parse();
    let folder = tempfile::TempDir::with_prefix("tenantctl-bench-").expect("a temporary folder");
    let server = PrivateServer::of(folder.path()).setting("max_connections", "100");
    server.start().expect("a private server");
    let connection = server.connection().expect("it was started").expect("it runs");
    let programs = ServerPrograms::find().expect("server programs");
    println!("Postgres {}, {} tenants", programs.version().text, options.tenants);
    let program = programs.program("psql").unwrap_or_else(|| PathBuf::from("psql"));
    let bench =
        Bench { psql: Psql::new(program, &connection.url()), folder, server, made: Cell::new(0) };
    println!("{}", bench.start_up());
    let mut table = Table::default();
    for &jobs in &options.jobs {
        for round in 0..options.rounds {
            bench.round(&options, jobs, round, &mut table);
        }
    }
    println!("{table}");
    bench.server.destroy().expect("the private server ends");
}

impl Bench {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns how large the program is and how fast it says what it can do.
    fn start_up(&self) -> String {
        let size = std::fs::metadata(env!("CARGO_BIN_EXE_tenantctl")).map_or(0, |it| it.len());
        let mut times: Vec<f64> =
            (0..20).map(|_| self.ours("postgres", &["--help"]).seconds).collect();
        times.sort_by(f64::total_cmp);
        format!("binary {:.1} MiB, `--help` {:.1} ms", size as f64 / 1048576.0, times[10] * 1e3)
    }

    fn ours(&self, database: &str, arguments: &[&str]) -> Measured {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tenantctl"));
        command.args(arguments).current_dir(self.path());
        command.env("DATABASE_URL", self.psql.url(database));
        run(command)
    }

    /// Measures both, each after what was before is written out. Which is first changes with every
    /// round.
    fn side_by_side(
        &self,
        round: usize,
        ours: impl Fn() -> Measured,
        floor: impl Fn() -> Measured,
    ) -> (Measured, Measured) {
        let settled = |measure: &dyn Fn() -> Measured| {
            self.psql.settle();
            measure()
        };
        if round.is_multiple_of(2) {
            let floor = settled(&floor);
            (settled(&ours), floor)
        } else {
            let ours = settled(&ours);
            (ours, settled(&floor))
        }
    }

    /// Returns a new database with a shared schema.
    ///
    /// None is dropped before the end: ext4 gives out none of the inodes that were deleted in the last
    /// minutes but searches for others, and whoever creates files then waits for it.
    fn database(&self) -> String {
        let name = self.new_name();
        self.psql.create_database(&name);
        self.ours(&name, &["migrate-schemas", "--shared", "--quiet"]).expect_done();
        name
    }

    fn new_name(&self) -> String {
        self.made.set(self.made.get() + 1);
        format!("fleet_{}", self.made.get())
    }

    /// Measures every row once, in new databases.
    fn round(&self, options: &Options, jobs: usize, round: usize, table: &mut Table) {
        let tenants = options.tenants;
        let jobs_text = jobs.to_string();
        let with_jobs = |arguments: &[&str]| {
            [arguments, &["--quiet", "--jobs", &jobs_text]]
                .concat()
                .iter()
                .map(|it| (*it).to_owned())
                .collect::<Vec<_>>()
        };
        let ours = |database: &str, arguments: &[&str]| {
            let arguments = with_jobs(arguments);
            self.ours(database, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let names = schema_names(tenants);
        let mut workload = Workload::write(self.path(), options.shared_key);
        let a = self.database();
        let file = workload.write_tenants(&names);

        let what = "create tenants, 10 migrations each";
        let create = || ours(&a, &["create-tenant", "--from", &file]).expect_done();
        let b = if options.copied {
            self.psql.settle();
            table.note(what, jobs, create());
            let copy = self.new_name();
            self.psql.copy_database(&a, &copy);
            copy
        } else {
            let b = self.database();
            let floor = || self.psql.create_tenants(&b, jobs, &names, &workload);
            let (created, floor) = self.side_by_side(round, create, floor);
            table.add(what, jobs, created, floor);
            b
        };

        let migrate = || ours(&a, &["migrate-schemas", "--tenants"]).expect_done();
        for turn in round..round + REPEATS {
            let index = workload.add_column();
            let floor = || self.psql.apply(&b, jobs, &names, &workload, index..index + 1, false);
            let (applied, floor) = self.side_by_side(turn, migrate, floor);
            table.add("apply one migration", jobs, applied, floor);
        }
        let nothing: Vec<Measured> = (round..round + REPEATS)
            .map(|turn| {
                let floor = || self.psql.read_histories(&a, &names);
                let (nothing, floor) = self.side_by_side(turn, migrate, floor);
                table.add("nothing pending", jobs, nothing, floor);
                nothing
            })
            .collect();

        workload.add_column();
        for nothing in nothing {
            let status = self.ours(&a, &["status", "--quiet"]).expect_done();
            table.add("status, all behind (to nothing pending)", jobs, status, nothing);
            let check = self.ours(&a, &["status", "--check", "--quiet"]);
            table.add("status --check, all behind (same)", jobs, check, nothing);
            let dry = ours(&a, &["migrate-schemas", "--tenants", "--dry-run"]).expect_done();
            table.add("--dry-run, all behind (same)", jobs, dry, nothing);
        }

        if !options.copied && !options.without_ten {
            self.ten_pending(options, jobs, round, table);
        }
    }

    /// Measures ten migrations on schemas that have none.
    fn ten_pending(&self, options: &Options, jobs: usize, round: usize, table: &mut Table) {
        let names = schema_names(options.tenants);
        let workload = Workload::write(self.path(), options.shared_key);
        let [a, b] = [self.database(), self.database()];
        for database in [&a, &b] {
            self.psql.register_empty(database, &names);
        }
        let arguments = ["migrate-schemas", "--tenants", "--quiet", "--jobs", &jobs.to_string()];
        let (applied, floor) = self.side_by_side(
            round,
            || self.ours(&a, &arguments).expect_done(),
            || self.psql.apply(&b, jobs, &names, &workload, 0..10, true),
        );
        table.add("apply ten migrations", jobs, applied, floor);
    }
}
