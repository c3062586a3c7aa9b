//! Kinds and versions that a worker knows, and those it does not know yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_queue::{
    Envelope, Job, JobContext, JobError, JobState, OutgoingMessage, Queue, StatusHandle,
    StatusStore, UpgradeError,
};

use crate::support::{Task, World, config, secs, soon, start, status_of, task, until};

/// What the old release sends and reads.
#[derive(Deserialize, Serialize)]
struct Old {
    image: String,
}

impl Job for Old {
    const KIND: &'static str = "resize";
    type Output = u32;
}

/// What the new release sends and reads.
#[derive(Deserialize, Serialize)]
struct New {
    image: String,
    width: u32,
}

impl Job for New {
    const KIND: &'static str = "resize";
    const VERSION: u16 = 2;
    type Output = u32;

    fn upgrade(_from: u16, mut body: Value) -> Result<Value, UpgradeError> {
        if body["image"] == "" {
            return Err(UpgradeError::new("no image"));
        }
        body["width"] = 640.into();
        Ok(body)
    }
}

async fn old_resize(_: Old) -> Result<u32, JobError> {
    Ok(1)
}

async fn new_resize(job: New) -> Result<u32, JobError> {
    Ok(job.width)
}

fn old() -> Old {
    Old { image: "a.png".into() }
}

fn new() -> New {
    New { image: "a.png".into(), width: 7 }
}

#[tokio::test]
async fn an_unknown_kind_is_passed_on_with_growing_delay_and_is_dead_in_the_end() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).await.unwrap();
    let worker = world.jobs.worker(()).on(old_resize);
    let worker = start(worker.config(config(|config| config.unknown_for = secs(1800))));
    let mut deliveries = Vec::new();
    for minutes in [5, 10, 10] {
        let before = world.stats().await;
        world.pass(secs(minutes * 60), secs(5)).await;
        assert_eq!(before.dead, 0);
        deliveries.push(status_of(&handle).await.state);
    }
    assert_eq!(deliveries, [JobState::Queued; 3]);
    let dead = async || status_of(&handle).await.state == JobState::Failed;
    world.pass_until(secs(5), "it fails", dead).await;
    let letter = world.dead().await.remove(0);
    assert_eq!(letter.reason, "no worker knows version 1 of `task`");
    assert_eq!(letter.attempts, 1);
    let report = worker.stop().await;
    // doubling from a second to a minute: a constant second would have been 1800 deliveries
    assert!((30..=120).contains(&report.released), "{report:?}");
    assert_eq!(report.dead, 1);
}

#[tokio::test]
async fn a_newer_version_is_left_to_a_worker_that_knows_it() {
    let world = World::new();
    let handle = world.jobs.send(new()).await.unwrap();
    let old_worker = world.jobs.worker(()).on(old_resize);
    assert_eq!(old_worker.drain().await.released, 1);
    assert_eq!(status_of(&handle).await.state, JobState::Queued);
    world.clock.advance(secs(1));
    assert_eq!(world.jobs.worker(()).on(new_resize).drain().await.succeeded, 1);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 7);
    assert_eq!(status_of(&handle).await.attempt, 1);
}

#[tokio::test]
async fn an_older_version_is_upgraded() {
    let world = World::new();
    let handle = world.jobs.send(old()).await.unwrap();
    let hopeless = world.jobs.send(Old { image: String::new() }).await.unwrap();
    let report = world.jobs.worker(()).on(new_resize).drain().await;
    assert_eq!((report.succeeded, report.dead), (1, 1));
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 640);
    let failure = status_of(&hopeless).await.error.clone().unwrap();
    assert_eq!(failure.message, "the body is no resize: no image");
}

#[tokio::test]
async fn a_body_that_is_no_job_of_its_kind_is_dead_at_once() {
    let world = World::new();
    let handle = StatusHandle::random();
    let envelope = Envelope::new("task", "not even JSON").with_handle(handle);
    world.queue.send(&[OutgoingMessage::new(envelope)]).await.unwrap();
    let worker = world.jobs.worker(()).on(async |job: Task| Ok(job.n));
    assert_eq!(worker.drain().await.dead, 1);
    let letter = world.dead().await.remove(0);
    assert!(letter.reason.starts_with("the body is no task: "), "{}", letter.reason);
    assert_eq!(world.status.get(&handle).await.unwrap().unwrap().state, JobState::Failed);
}

/// Sends both versions to both workers for `STANDFAST_SOAK` seconds, one by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_releases_share_a_queue_under_load_and_no_job_dies() {
    let soak = std::env::var("STANDFAST_SOAK").ok().and_then(|text| text.parse().ok());
    let soak = Duration::from_secs(soak.unwrap_or(1));
    let world = World::new();
    // leases that a test host which stalls does not lose while time runs faster
    let patient = config(|config| (config.lease, config.concurrency) = (secs(36_000), 20));
    let runs = Arc::new(AtomicU64::new(0));
    let count = async |_: Old, runs: Arc<AtomicU64>, ctx: JobContext| {
        assert_eq!(ctx.envelope().version, 1);
        runs.fetch_add(1, SeqCst);
        Ok(1)
    };
    let upgraded = async |job: New, runs: Arc<AtomicU64>| {
        runs.fetch_add(1, SeqCst);
        Ok(job.width)
    };
    let old_worker = world.jobs.worker(Arc::clone(&runs)).on(count).config(patient.clone());
    let new_worker = world.jobs.worker(Arc::clone(&runs)).on(upgraded).config(patient);
    let (old_worker, new_worker) = (start(old_worker), start(new_worker));
    let _time = world.run_time(Duration::from_millis(50));

    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..2)
        .map(|version| {
            let (jobs, stop) = (world.jobs.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(SeqCst) {
                    match version {
                        0 => drop(jobs.send(old()).detached().await.unwrap()),
                        _ => drop(jobs.send(new()).detached().await.unwrap()),
                    }
                    sent += 1;
                    if sent % 20 == 0 {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                sent
            })
        })
        .collect();
    let began = Instant::now();
    while began.elapsed() < soak {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, SeqCst);
    let mut sent = 0;
    for producer in producers {
        sent += producer.await.unwrap();
    }
    let passed_on = old_worker.stop().await.released;
    until("all are done", async || world.stats().await == Default::default()).await;
    assert!(passed_on > 0, "the old release met no new job");
    let report = soon(new_worker.stop()).await;
    assert_eq!((report.dead, report.retried, report.lost), (0, 0, 0));
    assert_eq!(runs.load(SeqCst), sent);
}
