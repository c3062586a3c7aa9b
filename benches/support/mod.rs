//! What the benches share: rounds in which every contender runs once, medians of what they
//! measured, medians of the ratios within a round, and tables.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

mod server;

pub use server::{RedisCommands, RedisMonitor, RedisServer, RedisUsage};

/// How this run was asked for.
#[derive(Debug)]
pub struct Bench {
    rounds: usize,
    scale: f64,
    check: bool,
    only: Vec<String>,
    missed: Vec<String>,
}

impl Bench {
    /// Reads the arguments: `--quick`, `--check`, and words that choose sections by name. A debug
    /// build, as `cargo test --all-targets` makes one, only shows that everything runs.
    pub fn from_args(name: &str) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let (rounds, scale) = match (cfg!(debug_assertions), has("--quick")) {
            (true, _) => (1, 0.002),
            (false, true) => (3, 0.2),
            (false, false) => (9, 1.0),
        };
        let only = arguments.iter().filter(|argument| !argument.starts_with('-')).cloned();
        let bench =
            Self { rounds, scale, check: has("--check"), only: only.collect(), missed: vec![] };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("{name}: {rounds} rounds, {cores} core(s), load {}", load());
        if cfg!(debug_assertions) {
            println!("a debug build: the figures mean nothing");
        }
        bench
    }

    /// `full` of a full run, as many as this run is to do.
    pub fn count(&self, full: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(10)
    }

    /// Whether the section is to run.
    pub fn wants(&self, section: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| section.contains(word.as_str()))
    }

    /// Says whether a target is met.
    pub fn target(&mut self, what: &str, met: bool) {
        let verdict = if met { "met" } else { "MISSED" };
        println!("  target {what}: {verdict}");
        if !met {
            self.missed.push(what.to_owned());
        }
    }

    /// Ends the run; with `--check`, badly if a target was missed.
    pub fn finish(self) {
        println!(
            "\nload {}; missed: {}",
            load(),
            match self.missed.as_slice() {
                [] => "nothing".to_owned(),
                missed => missed.join("; "),
            }
        );
        if self.check && !self.missed.is_empty() && !cfg!(debug_assertions) {
            std::process::exit(1);
        }
    }
}

type Measure<'a> = Box<dyn FnMut() -> Vec<f64> + 'a>;

/// Contenders that are measured in the same rounds. The first one is what the others are compared
/// with.
pub struct Table<'a> {
    title: String,
    columns: &'a [&'a str],
    contenders: Vec<(String, Measure<'a>)>,
    turns: usize,
}

impl<'a> Table<'a> {
    /// A table whose contenders each measure `columns`; less is better in all of them.
    pub fn new(title: impl Into<String>, columns: &'a [&'a str]) -> Self {
        Self { title: title.into(), columns, contenders: Vec::new(), turns: 1 }
    }

    /// Adds a contender with one measured column.
    #[must_use]
    pub fn row(self, name: impl Into<String>, mut measure: impl FnMut() -> f64 + 'a) -> Self {
        self.rows(name, move || vec![measure()])
    }

    /// Adds a contender.
    #[must_use]
    pub fn rows(mut self, name: impl Into<String>, measure: impl FnMut() -> Vec<f64> + 'a) -> Self {
        self.contenders.push((name.into(), Box::new(measure)));
        self
    }

    /// Runs as many times the rounds. For contenders that do as much less in each: what disturbs
    /// the machine for a while then disturbs more of them alike.
    #[must_use]
    pub fn in_turns(self, turns: usize) -> Self {
        Self { turns, ..self }
    }

    /// Measures: one round to warm up, then as many as the run does. Every round begins with
    /// another contender, so that none always follows the same one.
    pub fn run(mut self, bench: &Bench) -> Results {
        let mut rounds = vec![Vec::new(); self.contenders.len()];
        for round in 0..=bench.rounds * self.turns {
            for turn in 0..self.contenders.len() {
                let contender = (round + turn) % self.contenders.len();
                let measured = self.contenders[contender].1();
                if round > 0 {
                    rounds[contender].push(measured);
                }
            }
        }
        let names = self.contenders.iter().map(|(name, _)| name.clone()).collect();
        let results = Results { names, rounds };
        results.print(&self.title, self.columns);
        results
    }
}

impl std::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("title", &self.title).finish_non_exhaustive()
    }
}

/// What the contenders of a table measured, round by round.
#[derive(Debug)]
pub struct Results {
    names: Vec<String>,
    rounds: Vec<Vec<Vec<f64>>>,
}

impl Results {
    fn index(&self, name: &str) -> usize {
        let index = self.names.iter().position(|own| own == name);
        index.unwrap_or_else(|| panic!("no contender `{name}`"))
    }

    fn column(&self, contender: usize, column: usize) -> impl Iterator<Item = f64> {
        self.rounds[contender].iter().map(move |round| round[column])
    }

    /// The median of a contender's first column.
    pub fn median(&self, name: &str) -> f64 {
        self.median_of(name, 0)
    }

    /// The median of any of its columns.
    pub fn median_of(&self, name: &str, column: usize) -> f64 {
        median(self.column(self.index(name), column).collect())
    }

    /// How many times as fast `name` is as `other`: the median over the rounds.
    pub fn speed(&self, name: &str, other: &str) -> f64 {
        self.speed_of(self.index(name), self.index(other), 0)
    }

    /// How much more `name` measured than `other`: the median of the differences within a round.
    pub fn excess(&self, name: &str, other: &str) -> f64 {
        let (own, other) = (self.index(name), self.index(other));
        let pairs = self.column(own, 0).zip(self.column(other, 0));
        median(pairs.map(|(own, other)| own - other).collect())
    }

    /// How many times as much `name` measured in a column as `other`: the median over the rounds.
    pub fn times(&self, name: &str, other: &str, column: usize) -> f64 {
        self.speed_of(self.index(other), self.index(name), column)
    }

    fn speed_of(&self, own: usize, other: usize, column: usize) -> f64 {
        let pairs = self.column(other, column).zip(self.column(own, column));
        median(pairs.map(|(other, own)| other / own).collect())
    }

    /// The exponent of growth of the first column over `sizes`, one for each of the contenders
    /// that `names` chooses: 0 is flat, 1 is linear.
    pub fn exponent(&self, sizes: &[(&str, usize)]) -> f64 {
        let points: Vec<(f64, f64)> = sizes
            .iter()
            .map(|(name, size)| ((*size as f64).ln(), self.median(name).ln()))
            .collect();
        let count = points.len() as f64;
        let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        covariance / variance
    }

    fn print(&self, title: &str, columns: &[&str]) {
        println!("\n{title} (load {})", load());
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let mut line = format!("  {:width$}", "");
        for column in columns {
            let _ = write!(line, "  {column:>14}  {:>13}  {:>7}", "spread", "speed");
        }
        println!("{line}");
        for (contender, name) in self.names.iter().enumerate() {
            let mut line = format!("  {name:width$}");
            for column in 0..columns.len() {
                let values: Vec<f64> = self.column(contender, column).collect();
                let middle = median(values.clone());
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(0.0, f64::max);
                let percent = |value: f64| (value / middle - 1.0) * 100.0;
                let spread = format!("{:+.0}..{:+.0} %", percent(least), percent(most));
                let speed = self.speed_of(contender, 0, column);
                let _ = write!(line, "  {middle:>14.1}  {spread:>13}  {speed:>6.2}x");
            }
            println!("{line}");
        }
    }
}

/// The middle of `values`.
pub fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}

/// The value below which a share of `values` lies.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The nanoseconds that each of `count` took since `start`.
pub fn nanos_per(start: Instant, count: usize) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// The time this thread has run, which other work on the machine does not lengthen by taking turns
/// with it; it still slows it down.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime(Duration);

impl CpuTime {
    /// As of now.
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Self(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
    }

    /// The nanoseconds that each of `count` took since then.
    pub fn nanos_per(self, count: usize) -> f64 {
        (Self::now().0 - self.0).as_secs_f64() * 1e9 / count as f64
    }
}

/// The time that all threads of this process have run.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTime(Duration);

impl ProcessTime {
    /// As of now.
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
    }

    /// The nanoseconds that each of `count` took since then.
    pub fn nanos_per(self, count: usize) -> f64 {
        (Self::now().0 - self.0).as_secs_f64() * 1e9 / count as f64
    }
}

/// The runtime that runs everything on the calling thread.
pub fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The runtime with two threads of its own.
pub fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// How much memory the process holds, in bytes; 0 where the system does not tell.
pub fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|statm| {
        let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages)
    });
    pages.unwrap_or(0) * 4096
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
