//! The function: handlers that do as they are told, and write down that they were called.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_queue::{
    Job, JobContext, JobError, Jobs, LambdaQueue, MemoryStatusStore, SqsQueues, Worker,
};

use crate::sqs_support::{Service, config};

/// What the function finds in its environment besides what Lambda puts there.
pub(crate) const ENDPOINT: &str = "FUNCTION_ENDPOINT";
pub(crate) const QUEUE: &str = "FUNCTION_QUEUE";
pub(crate) const DEAD: &str = "FUNCTION_DEAD";
pub(crate) const LOG: &str = "FUNCTION_LOG";
pub(crate) const CONCURRENCY: &str = "FUNCTION_CONCURRENCY";

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Then {
    Succeed,
    /// Fails, to be tried again after so many seconds.
    Retry(u64),
    Die,
    Panic,
    /// Runs until it is asked to end, and ends.
    Heed,
    /// Runs on for ever.
    Hang,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Act {
    pub(crate) name: String,
    pub(crate) then: Then,
}

impl Job for Act {
    const KIND: &'static str = "act";
    type Output = ();
}

/// What somebody else sends.
#[derive(Deserialize, Serialize)]
struct Foreign {
    name: String,
}

impl Job for Foreign {
    const KIND: &'static str = "foreign";
    type Output = ();
}

/// A line for each call of a handler and for each request to end.
#[derive(Clone, Debug)]
pub(crate) struct Log(PathBuf);

impl Log {
    pub(crate) fn at(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_owned())
    }

    fn write(&self, line: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

async fn act(job: Act, log: Log, ctx: JobContext) -> Result<(), JobError> {
    log.write(&format!("{} {}", job.name, ctx.attempt()));
    match job.then {
        Then::Succeed => Ok(()),
        Then::Retry(seconds) => Err(JobError::retry_in(Duration::from_secs(seconds), "not now")),
        Then::Die => Err(JobError::dead("never")),
        Then::Panic => panic!("on purpose"),
        Then::Heed => {
            ctx.cancelled().await;
            log.write(&format!("{} heeds {:?}", job.name, ctx.cancel_reason()));
            Err(JobError::retry("cut short"))
        }
        Then::Hang => std::future::pending().await,
    }
}

async fn foreign(job: Foreign, log: Log, ctx: JobContext) -> Result<(), JobError> {
    let tenant = ctx.envelope().headers["tenant"].as_str().unwrap();
    log.write(&format!("{} for {tenant}", job.name));
    Ok(())
}

pub(crate) fn worker(jobs: &Jobs, log: Log) -> Worker<Log> {
    jobs.worker(log).on(act).on(foreign)
}

/// The function itself, started by the platform.
pub(crate) fn main() -> ExitCode {
    let var = |name: &str| std::env::var(name).unwrap();
    let service = Service::at(var(ENDPOINT));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let served = runtime.block_on(async {
        let sqs = standfast_queue::SqsQueue::from_parts(
            &service.client(),
            var(QUEUE),
            var(DEAD),
            config(),
        )?;
        let queue = LambdaQueue::new(sqs);
        let jobs = Jobs::new(queue.clone(), MemoryStatusStore::new());
        let worker = worker(&jobs, Log::at(var(LOG)));
        queue.serve(worker.concurrency(var(CONCURRENCY).parse().unwrap())).await
    });
    // what ends it is the end of the platform
    eprintln!("the function has ended: {served:?}");
    ExitCode::FAILURE
}

/// The environment of a function for `queues`.
pub(crate) fn environment(
    service: &Service,
    queues: &SqsQueues,
    log: &Log,
    concurrency: usize,
) -> [(&'static str, String); 5] {
    [
        (ENDPOINT, service.endpoint.clone()),
        (QUEUE, queues.url.clone()),
        (DEAD, queues.dead_url.clone()),
        (LOG, log.0.to_str().unwrap().to_owned()),
        (CONCURRENCY, concurrency.to_string()),
    ]
}
