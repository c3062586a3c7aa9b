//! Workers in processes of their own: each comes to a step of its work, says so, and hangs until it
//! is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Says, in a worker, that it is at a step. It goes on unless it is to be killed there.
pub(crate) fn reached(step: &str) {
    if std::env::var("STEP").expect("it is started by a test") == step {
        println!("reached {step}");
        std::io::stdout().flush().expect("the parent reads");
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

/// Starts `workers::worker_process` of this test with these variables, and kills it at its step;
/// when that was.
pub(crate) async fn killed_at(
    step: &'static str,
    variables: Vec<(&'static str, String)>,
) -> Instant {
    let started = tokio::task::spawn_blocking(move || worker_at(step, variables));
    let mut worker = started.await.expect("the worker can be started");
    worker.kill().expect("it can be killed");
    let killed_at = Instant::now();
    worker.wait().expect("it ends");
    killed_at
}

fn worker_at(step: &str, variables: Vec<(&'static str, String)>) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this test has a file"))
        .args(["--exact", "workers::worker_process", "--ignored", "--nocapture"])
        .env("STEP", step)
        .envs(variables)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test can be started again");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let reached = format!("reached {step}");
    let found = lines.map_while(Result::ok).any(|line| line.contains(&reached));
    assert!(found, "the worker comes to {step}");
    child
}
