//! A worker whose jobs run in processes: what their ends become in the status and the queue.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::Backoff;
use standfast_queue::subprocess::{JobProcess, Subprocess, SubprocessExecutor};
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Handle, Job, JobContext, JobError, JobState, JobStatus, Jobs,
    KindConfig, MemoryQueue, MemoryStatusStore, RetryPolicy, WaitError,
};

use super::Test;
use super::support::{Dir, block_on, token};

pub(crate) const TESTS: [Test; 7] = [
    ("worker::a_result_and_progress_come_through", comes_through),
    ("worker::a_killed_process_is_tried_again", killed),
    ("worker::a_job_that_always_fails_is_dead_with_its_last_words", always_fails),
    ("worker::over_its_time_limit_nothing_of_a_job_survives", over_time),
    ("worker::a_cancelled_job_ends_its_process", cancelled),
    ("worker::the_next_process_gets_the_checkpoint", checkpointed),
    ("worker::abandoned_directories_are_removed", abandoned),
];

/// What a job process is to do.
#[derive(Clone, Deserialize, Serialize)]
enum Act {
    Add(u64, u64),
    CountOn,
    DieOnce,
    Fail,
    HangWithChildren(String),
}

impl Job for Act {
    const KIND: &'static str = "act";
    type Output = u64;
}

async fn act(job: Act, ctx: JobContext) -> Result<u64, JobError> {
    match job {
        Act::Add(a, b) => {
            ctx.progress(1, 2);
            Ok(a + b)
        }
        Act::CountOn => {
            let before: u64 = ctx.last_checkpoint().unwrap_or(0);
            ctx.checkpoint(&(before + 1))?;
            match before {
                0 | 1 => Err(JobError::retry_in(Duration::from_millis(10), "once more")),
                _ => Ok(before),
            }
        }
        Act::DieOnce if ctx.attempt() == 1 => {
            let pid = std::process::id().to_string();
            Command::new("kill").args(["-9", &pid]).status()?;
            std::future::pending().await
        }
        Act::DieOnce => Ok(u64::from(ctx.attempt())),
        Act::Fail => {
            eprintln!("the last words");
            Err(JobError::retry("it cannot be"))
        }
        Act::HangWithChildren(token) => {
            let stubborn = format!("trap '' TERM; : {token}; while :; do sleep 0.05; done");
            let spawn = |program: &str, args: &[&str]| {
                Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
            };
            spawn("sh", &["-c", &stubborn])?;
            spawn("setsid", &["sh", "-c", &stubborn])?;
            ctx.progress(1, None);
            std::future::pending().await
        }
    }
}

/// The process of one job.
pub(crate) fn process() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(JobProcess::new(()).on(act).run())
}

struct Stage {
    queue: Arc<MemoryQueue>,
    jobs: Jobs,
    executor: SubprocessExecutor,
    _dir: Dir,
}

impl Stage {
    fn new() -> Self {
        let dir = Dir::new();
        let command = Subprocess::new().arg("act").grace(Duration::from_millis(300));
        let executor = SubprocessExecutor::new(command, &dir.0).unwrap();
        let queue = Arc::new(MemoryQueue::new());
        let jobs = Jobs::new(Arc::clone(&queue), MemoryStatusStore::new());
        Self { queue, jobs, executor, _dir: dir }
    }

    /// Sends a job, runs a worker and returns what came of the job.
    async fn play(&self, act: Act, kind: KindConfig) -> (Handle<Act>, Result<u64, WaitError>) {
        let worker = self.jobs.worker(()).on_with(kind, self.executor.handler::<Act>());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(worker.run_until(async { stopped.await.unwrap_or(()) }));
        let handle = self.jobs.send(act).await.unwrap();
        let outcome = handle.wait(Duration::from_secs(40)).await;
        drop(stop);
        running.await.unwrap();
        (handle, outcome)
    }
}

fn kind(attempts: u32) -> KindConfig {
    let backoff = Backoff::constant(Duration::from_millis(300));
    KindConfig::default().retry(RetryPolicy::default().max_attempts(attempts).backoff(backoff))
}

async fn status(handle: &Handle<Act>) -> Arc<JobStatus> {
    handle.status().await.unwrap().unwrap()
}

fn comes_through() {
    block_on(async {
        let stage = Stage::new();
        let (handle, outcome) = stage.play(Act::Add(40, 2), kind(1)).await;
        assert_eq!(outcome.unwrap(), 42);
        let status = status(&handle).await;
        assert_eq!((status.progress.done, status.progress.total), (1, Some(2)));
    });
}

fn killed() {
    block_on(async {
        let stage = Stage::new();
        let (handle, outcome) = stage.play(Act::DieOnce, kind(3)).await;
        assert_eq!(outcome.unwrap(), 2, "the second attempt succeeds");
        assert_eq!(status(&handle).await.attempt, 2);
    });
}

fn always_fails() {
    block_on(async {
        let stage = Stage::new();
        let (handle, outcome) = stage.play(Act::Fail, kind(2)).await;
        assert!(matches!(outcome, Err(WaitError::Failed(_))), "{outcome:?}");
        let failure = status(&handle).await.error.clone().unwrap();
        assert!(failure.message.starts_with("it cannot be"), "{failure:?}");
        assert!(failure.detail.as_ref().unwrap().contains("the last words"), "{failure:?}");
        let filter = DeadLetterFilter::default();
        let dead = stage.queue.list_dead_letters(&filter, None, 10).await.unwrap().letters;
        assert_eq!(dead.len(), 1);
        assert!(dead[0].reason.starts_with("it cannot be"), "{:?}", dead[0].reason);
        assert_eq!(dead[0].attempts, 2);
    });
}

fn over_time() {
    block_on(async {
        let (stage, token) = (Stage::new(), token());
        let limit = kind(1).timeout(Duration::from_millis(800));
        let (handle, outcome) = stage.play(Act::HangWithChildren(token.clone()), limit).await;
        assert!(matches!(outcome, Err(WaitError::Failed(_))), "{outcome:?}");
        let status = status(&handle).await;
        assert_eq!(status.progress.done, 1, "the children were started");
        assert!(status.error.as_ref().unwrap().message.contains("took longer"), "{status:?}");
        assert_eq!(survivors(&token), 0);
    });
}

fn cancelled() {
    block_on(async {
        let (stage, token) = (Stage::new(), token());
        let jobs = stage.jobs.clone();
        let worker = jobs.worker(()).on_with(kind(1), stage.executor.handler::<Act>());
        let running = tokio::spawn(worker.run_until(std::future::pending()));
        let handle = jobs.send(Act::HangWithChildren(token.clone())).await.unwrap();
        while status(&handle).await.progress.done == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        handle.cancel().await.unwrap();
        let outcome = handle.wait(Duration::from_secs(20)).await;
        assert!(matches!(outcome, Err(WaitError::Cancelled)), "{outcome:?}");
        assert_eq!(status(&handle).await.state, JobState::Cancelled);
        assert_eq!(survivors(&token), 0);
        running.abort();
    });
}

fn checkpointed() {
    block_on(async {
        let (_, outcome) = Stage::new().play(Act::CountOn, kind(5)).await;
        assert_eq!(outcome.unwrap(), 2, "each attempt went on where the one before was");
    });
}

fn abandoned() {
    let dir = Dir::new();
    let left = dir.0.join("standfast-jobs-of-a-process-that-died");
    std::fs::create_dir_all(left.join("job-1")).unwrap();
    std::fs::write(left.join("lock"), "").unwrap();
    let first = SubprocessExecutor::new(Subprocess::new(), &dir.0).unwrap();
    assert!(!left.exists(), "nobody holds its lock");
    let job = first.directory().unwrap();
    let _second = SubprocessExecutor::new(Subprocess::new(), &dir.0).unwrap();
    assert!(job.path().exists(), "its executor lives");
}

/// How many processes have `token` on their command line.
fn survivors(token: &str) -> usize {
    let mut processes = Command::new("pgrep");
    let found = processes.args(["-fc", token]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().trim().parse().unwrap()
}
