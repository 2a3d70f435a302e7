//! Running programs with a watch, and the table of what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program took, and the most memory it held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    /// In MiB, where it was looked at.
    pub(crate) memory: f64,
    status: Option<i32>,
}

/// Runs a program to its end.
pub(crate) fn run(mut command: Command) -> Measured {
    command.stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().expect("the program is there");
    let pid = child.id();
    // The peak is the kernel's; read until the program is gone, the last reading is the peak.
    let memory = thread::spawn(move || {
        let mut peak = 0.0;
        while let Some(now) = peak_memory(pid) {
            peak = now;
            thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let status = child.wait().expect("it was started").code();
    let seconds = begun.elapsed().as_secs_f64();
    Measured { seconds, memory: memory.join().expect("it only reads"), status }
}

/// Returns the most memory that a process has held so far, in MiB.
fn peak_memory(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

impl Measured {
    pub(crate) fn of(elapsed: Duration) -> Self {
        Self { seconds: elapsed.as_secs_f64(), memory: 0.0, status: Some(0) }
    }

    /// A program that failed has measured nothing.
    pub(crate) fn expect_done(self) -> Self {
        assert_eq!(self.status, Some(0), "a measured program failed");
        self
    }
}

/// Ours, and what it is compared with.
type Pair = (Measured, Option<Measured>);

/// The rows, each with what was measured in each round.
#[derive(Default)]
pub(crate) struct Table {
    rows: BTreeMap<(usize, usize), Vec<Pair>>,
    names: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, name: &str, jobs: usize, ours: Measured, floor: Measured) {
        self.push(name, jobs, (ours, Some(floor)));
    }

    pub(crate) fn note(&mut self, name: &str, jobs: usize, ours: Measured) {
        self.push(name, jobs, (ours, None));
    }

    fn push(&mut self, name: &str, jobs: usize, row: Pair) {
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        let floor = row.1.map_or(String::new(), |it| format!(", floor {:.2} s", it.seconds));
        eprintln!("{name}, {jobs} jobs: {:.2} s{floor}", row.0.seconds);
        self.rows.entry((index, jobs)).or_default().push(row);
    }
}

/// Returns the value in the middle, or half-way between the two that are there.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| work | jobs | ours | floor | ratio | peak memory |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for ((index, jobs), rows) in &self.rows {
            let name = &self.names[*index];
            let ours = median(rows.iter().map(|(ours, _)| ours.seconds));
            let memory = rows.iter().map(|(ours, _)| ours.memory).fold(0.0, f64::max);
            let floors: Vec<f64> =
                rows.iter().filter_map(|(_, floor)| Some(floor.as_ref()?.seconds)).collect();
            if floors.is_empty() {
                writeln!(f, "| {name} | {jobs} | {ours:.2} s | | | {memory:.1} MiB |")?;
                continue;
            }
            let floor = median(floors.into_iter());
            let ratio = ours / floor;
            writeln!(
                f,
                "| {name} | {jobs} | {ours:.2} s | {floor:.2} s | {ratio:.2} | {memory:.1} MiB |"
            )?;
        }
        Ok(())
    }
}
