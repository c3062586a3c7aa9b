//! Cancellation, timeouts and grace.

use std::time::{Duration, Instant};

use standfast_queue::subprocess::{ExitOutcome, ExitStatus};

use super::Test;
use super::support::{loops, run, run_and_cancel, script};

pub(crate) const TESTS: [Test; 6] = [
    ("stops::a_timeout_asks_first", a_timeout_asks_first),
    ("stops::a_job_that_ignores_the_request_is_killed", ignores_the_request),
    ("stops::a_cancelled_job_stops", cancelled),
    ("stops::a_job_that_finishes_nevertheless_is_done", finishes_nevertheless),
    ("stops::a_stopped_process_sees_the_request", stopped_process),
    ("stops::a_cancel_at_any_moment_ends_the_run", any_moment),
];

const READY: &str = "echo '{\"progress\":{\"done\":1}}'";
const WAIT: &str = "while :; do sleep 0.02; done";

fn a_timeout_asks_first() {
    let text = format!("trap 'echo bye >&2; exit 7' TERM; {WAIT}");
    let exit = run(&script(&text).timeout(Duration::from_millis(300)));
    assert_eq!(exit.outcome, ExitOutcome::TimedOut);
    assert_eq!(exit.status, Some(ExitStatus::Code(7)));
    assert!(exit.stderr_tail.contains("bye\n"));
}

fn ignores_the_request() {
    let begin = Instant::now();
    let text = format!("trap 'echo no >&2' TERM; {READY}; {WAIT}");
    let exit = run_and_cancel(&script(&text).grace(Duration::from_millis(300)));
    assert_eq!(exit.outcome, ExitOutcome::Cancelled);
    assert_eq!(exit.status, Some(ExitStatus::Signal(9)));
    assert!(exit.stderr_tail.contains("no\n"));
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

fn cancelled() {
    let exit = run_and_cancel(&script(&format!("{READY}; {WAIT}")));
    assert_eq!(exit.outcome, ExitOutcome::Cancelled);
    assert_eq!(exit.status, Some(ExitStatus::Signal(15)));
    assert!(!exit.leftovers);
}

fn finishes_nevertheless() {
    let text = format!("trap 'echo \"{{\\\"result\\\":1}}\"; exit 0' TERM; {READY}; {WAIT}");
    let exit = run_and_cancel(&script(&text));
    assert!(matches!(exit.outcome, ExitOutcome::Done { result: Some(_), .. }), "{exit:?}");
}

fn stopped_process() {
    let text = format!("trap 'exit 7' TERM; {READY}; kill -STOP $$; {WAIT}");
    let exit = run_and_cancel(&script(&text));
    assert_eq!(exit.status, Some(ExitStatus::Code(7)));
}

fn any_moment() {
    let job = script("exec sleep 60");
    for round in 0..loops() * 10 {
        let begin = Instant::now();
        let exit = run(&job.clone().timeout(Duration::from_micros(u64::from(round) * 200)));
        assert_eq!(exit.outcome, ExitOutcome::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    }
}
