//! Messages, exit codes, output and input of jobs.

use std::time::Duration;

use serde_json::json;
use standfast_queue::subprocess::{
    Event, ExitOutcome, ExitStatus, FailureKind, Limits, RunError, Subprocess,
};

use super::Test;
use super::support::{Dir, block_on, job, log, run, script, try_run};

pub(crate) const TESTS: [Test; 16] = [
    ("protocol::a_job_reports_progress_a_checkpoint_and_a_result", reports),
    ("protocol::other_lines_are_logged", other_lines_are_logged),
    ("protocol::a_result_that_is_too_long_is_a_failure", result_too_long),
    ("protocol::exit_75_is_retry", exit_75),
    ("protocol::another_code_is_a_failure_with_the_tail_of_standard_error", failure),
    ("protocol::a_job_reports_its_failure", reported),
    ("protocol::a_signal_is_told_in_words", signal),
    ("protocol::a_flood_does_not_take_memory", flood),
    ("protocol::a_body_that_nobody_reads_does_no_harm", unread_body),
    ("protocol::a_large_body_arrives", large_body),
    ("protocol::the_environment_is_clean", environment),
    ("protocol::limits_are_applied", limits),
    ("protocol::a_program_that_does_not_exist_is_an_error", no_program),
    ("protocol::a_directory_that_does_not_exist_is_an_error", no_directory),
    ("protocol::a_program_without_init_is_told_so", without_init),
    ("protocol::a_shim_that_is_none_is_told_so", no_shim),
];

fn reports() {
    let (exit, events) = try_run(&job(&["echo"]), "the body", |_| false).unwrap();
    let result = json!(["{\"header\":1}", "the body", true]);
    assert!(
        matches!(&exit.outcome, ExitOutcome::Done { result: Some(seen), .. } if *seen == result),
        "{exit:?}"
    );
    assert_eq!(exit.status, Some(ExitStatus::Code(0)));
    assert!(!exit.leftovers);
    assert_eq!(events.len(), 3);
    assert!(
        matches!(&events[0], Event::Progress { done: 1, total: Some(2), message: Some(text), .. }
            if text == "half")
    );
    assert_eq!(events[1], Event::Checkpoint("\0state".into()));
    assert!(matches!(&events[2], Event::Progress { done: 2, total: None, message: None, .. }));
}

fn other_lines_are_logged() {
    log();
    let exit = run(&job(&["noise"]));
    assert!(matches!(&exit.outcome, ExitOutcome::Done { result: Some(_), .. }), "{exit:?}");
    let log = log();
    let has = |text: &str| log.iter().any(|line| line.starts_with("INFO") && line.contains(text));
    assert!(has("just a line") && has("{\"not\":\"a message\"}") && has("unfinished"), "{log:?}");
    assert!(log.iter().all(|line| line.len() < 4096));
    let exit = run(&script("echo on standard error >&2"));
    assert_eq!(exit.stderr_tail, "on standard error\n");
    assert!(super::support::log().iter().any(|line| line.contains("on standard error")));
}

fn result_too_long() {
    let exit = run(&job(&["result", "1000000"]));
    assert!(matches!(&exit.outcome, ExitOutcome::Done { result: Some(_), .. }), "{exit:?}");
    let exit = run(&job(&["result", "1100000"]));
    assert!(matches!(&exit.outcome, ExitOutcome::ResultTooLong { .. }), "{exit:?}");
}

fn exit_75() {
    let exit = run(&job(&["fail", "75"]));
    assert_eq!(exit.outcome, ExitOutcome::Retry);
}

fn failure() {
    let exit = run(&job(&["fail", "3"]));
    assert!(matches!(exit.outcome, ExitOutcome::Failed { code: 3, .. }), "{exit:?}");
    assert!(exit.stderr_tail.ends_with("\nthe last words, é\n"));
    assert_eq!(exit.stderr_tail.len(), 4096);
}

fn reported() {
    let exit = run(&job(&["report"]));
    let ExitOutcome::Reported(failure) = exit.outcome else { panic!("{exit:?}") };
    assert_eq!(failure.kind, FailureKind::Snooze);
    assert_eq!((failure.message.as_str(), failure.delay_ms), ("later", Some(1500)));
}

fn signal() {
    let exit = run(&script("kill -SEGV $$"));
    assert!(matches!(exit.outcome, ExitOutcome::Signalled { signal: 11, .. }), "{exit:?}");
    assert!(exit.outcome.to_string().contains("SIGSEGV"));
}

fn flood() {
    log();
    let begin = memory();
    let exit = run(&job(&["flood"]).max_log_lines(100));
    assert!(
        matches!(&exit.outcome, ExitOutcome::Done { result: Some(text), .. }
            if text == "after the flood"),
        "{exit:?}"
    );
    assert!(log().len() <= 101);
    assert!(memory() - begin < 8 * 1024, "{} KiB", memory() - begin);
}

/// The most memory this process ever had, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

fn unread_body() {
    let body = vec![b'x'; 10 * 1024 * 1024];
    let (exit, _) = try_run(&script("sleep 0.1"), body.clone(), |_| false).unwrap();
    assert!(matches!(exit.outcome, ExitOutcome::Done { .. }), "{exit:?}");
    // The input is closed while the job goes on.
    let (exit, _) = try_run(&script("exec 0<&-; sleep 0.1"), body, |_| false).unwrap();
    assert!(matches!(exit.outcome, ExitOutcome::Done { .. }), "{exit:?}");
    assert!(!log().iter().any(|line| line.starts_with("WARN")));
}

fn large_body() {
    let body = vec![b'x'; 10 * 1024 * 1024];
    let count = script("printf '{\"result\":%d}' $(cat | wc -c)");
    let (exit, _) = try_run(&count, body, |_| false).unwrap();
    let expect = json!(10 * 1024 * 1024 + "{\"header\":1}\n".len());
    assert!(
        matches!(&exit.outcome, ExitOutcome::Done { result: Some(count), .. } if *count == expect),
        "{exit:?}"
    );
}

fn environment() {
    let exit = run(&job(&["environment"]).inherit_nothing().env("ONE", "1"));
    let ExitOutcome::Done { result: Some(names), .. } = exit.outcome else { panic!("{exit:?}") };
    assert_eq!(names, json!(["ONE", "STANDFAST_JOB_MARK"]));
}

fn limits() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let with = |job: Subprocess, limits: Limits| run(&job.limits(limits.core_size(0))).outcome;
    let cpu = with(job(&["cpu"]), Limits::new().cpu_time(Duration::from_secs(1)));
    assert!(matches!(cpu, ExitOutcome::Signalled { .. }), "{cpu:?}");
    assert!(cpu.to_string().contains("SIGXCPU"), "{cpu}");
    let files = with(job(&["files"]), Limits::new().open_files(20));
    assert!(
        matches!(&files, ExitOutcome::Done { result: Some(count), .. }
            if count.as_u64().is_some_and(|count| (10..=20).contains(&count))),
        "{files:?}"
    );
    let file = with(job(&["file"]), Limits::new().file_size(100_000));
    assert!(matches!(file, ExitOutcome::Signalled { .. }), "{file:?}");
    assert!(file.to_string().contains("SIGXFSZ"), "{file}");
    let memory = with(job(&["memory"]), Limits::new().address_space(1 << 30));
    assert!(
        matches!(&memory, ExitOutcome::Done { result: Some(refused), .. } if *refused == true),
        "{memory:?}"
    );
    // Above the hard limit of the worker: lowered to it, which is no error.
    let files = with(script("exit 0"), Limits::new().open_files(u64::MAX / 2));
    assert!(matches!(files, ExitOutcome::Done { .. }), "{files:?}");
}

fn no_program() {
    let error = try_run(&Subprocess::new().program("no-such-program"), "", |_| false).unwrap_err();
    assert!(matches!(&error, RunError::Start { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-program"), "{error}");
}

fn no_directory() {
    let (dir, cancel) = (Dir::new(), tokio_util::sync::CancellationToken::new());
    let job = job(&["echo"]);
    let missing = dir.0.join("missing");
    let end = block_on(job.run(&missing, b"", "".into(), |_| {}, &cancel));
    assert!(matches!(end, Err(RunError::Spawn(_))), "{end:?}");
    let end = block_on(job.run(&dir.0, b"two\nlines", "".into(), |_| {}, &cancel));
    assert!(matches!(end, Err(RunError::Header)), "{end:?}");
    cancel.cancel();
    let end = block_on(job.run(&missing, b"", "".into(), |_| {}, &cancel)).unwrap();
    assert_eq!(end.outcome, ExitOutcome::Cancelled);
}

fn without_init() {
    let own = std::env::current_exe().unwrap();
    let output = std::process::Command::new(own).arg("host-without-init").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("init()"));
}

fn no_shim() {
    let error = try_run(&job(&["echo"]).shim("ls"), "", |_| false).unwrap_err();
    let RunError::NoShim { detail, .. } = &error else { panic!("{error:?}") };
    assert!(detail.contains("exit status") && detail.contains("standard error"), "{error}");
    assert!(error.to_string().contains("init()"));

    // One that does not even end; it and its child are killed.
    let dir = Dir::new();
    let path = dir.0.join("no-shim");
    std::fs::write(&path, "#!/bin/sh\nsleep 60 &\nsleep 60\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    let spec = job(&["echo"]).shim(&path).start_timeout(Duration::from_millis(200));
    let begin = std::time::Instant::now();
    let error = try_run(&spec, "", |_| false).unwrap_err();
    assert!(matches!(&error, RunError::NoShim { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}
