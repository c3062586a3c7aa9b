//! Job processes for real: this program is the worker, the shim, the jobs and the test runner.

// Nothing but test code, which the lint cannot know without the usual harness.
#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod ends;
mod host;
mod jobs;
mod protocol;
mod stops;
mod support;
#[cfg(target_os = "linux")]
mod worker;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["host-without-init"] = words[..] {
        return host::without_init();
    }
    standfast_queue::subprocess::init();
    match words[..] {
        ["job", ref job @ ..] => jobs::main(job),
        ["host", token] => host::main(token),
        #[cfg(target_os = "linux")]
        ["act"] => worker::process(),
        ["host-without-file"] => host::without_file(),
        _ => run(&words),
    }
}

fn run(args: &[&str]) -> ExitCode {
    let mut tests: Vec<Test> = Vec::new();
    tests.extend(protocol::TESTS);
    tests.extend(stops::TESTS);
    #[cfg(target_os = "linux")]
    {
        tests.extend(ends::TESTS);
        tests.extend(worker::TESTS);
    }
    let exact = args.contains(&"--exact");
    let wanted: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
    let all = tests.len();
    tests.retain(|(name, _)| {
        let fits = |wanted: &&str| if exact { name == wanted } else { name.contains(wanted) };
        wanted.is_empty() || wanted.iter().any(fits)
    });
    if args.contains(&"--list") {
        for (name, _) in tests.iter().filter(|_| !args.contains(&"--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    support::capture_log();
    println!("\nrunning {} tests", tests.len());
    let begin = Instant::now();
    let mut failed = Vec::new();
    for (name, test) in &tests {
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(*name);
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        tests.len() - failed.len(),
        failed.len(),
        all - tests.len(),
        begin.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
