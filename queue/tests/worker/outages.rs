//! Stores that fail for a while: nothing is lost, the worker goes on, its health tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use standfast_core::{HealthCheck, Verdict};
use standfast_queue::{JobError, JobState, WaitError, WorkerHealth};

use crate::faulty::Fault;
use crate::support::{Task, World, secs, soon, start, status_of, task, until, until_state};

async fn counted(_: Task, runs: Arc<AtomicU64>) -> Result<u64, JobError> {
    Ok(runs.fetch_add(1, SeqCst))
}

async fn is_degraded(health: &WorkerHealth) -> bool {
    matches!(health.health().await.verdict, Verdict::Degraded(_))
}

async fn is_healthy(health: &WorkerHealth) -> bool {
    health.health().await.verdict == Verdict::Healthy
}

#[tokio::test]
async fn an_outage_of_the_statuses_delays_jobs_and_loses_none() {
    let world = World::new();
    let mut handles = Vec::new();
    for n in 0..20 {
        handles.push(world.jobs.send(task(n)).await.unwrap());
    }
    let runs = Arc::new(AtomicU64::new(0));
    let worker = world.jobs.worker(Arc::clone(&runs)).on(counted).concurrency(20);
    let health = worker.health();
    world.status.advance.set(Fault::Fails);
    let worker = start(worker);
    until("health degrades", async || is_degraded(&health).await).await;
    world.pass(secs(120), secs(2)).await;
    assert_eq!((runs.load(SeqCst), world.stats().await.leased), (0, 20));
    world.status.advance.set(Fault::None);
    let all_done = async || {
        let stats = world.stats().await;
        stats == Default::default()
    };
    world.pass_until(secs(1), "all are done", all_done).await;
    for handle in &handles {
        let status = status_of(handle).await;
        assert_eq!((status.state, status.attempt), (JobState::Succeeded, 1));
    }
    assert!(is_healthy(&health).await);
    assert_eq!(worker.stop().await.succeeded, 20);
    assert_eq!(runs.load(SeqCst), 20);
}

#[tokio::test]
async fn an_outage_of_the_queue_ends_no_loop_and_fails_health_only_when_it_lasts() {
    let world = World::new();
    let runs = Arc::new(AtomicU64::new(0));
    let worker = world.jobs.worker(Arc::clone(&runs)).on(counted);
    let health = worker.health();
    assert!(!health.health().await.is_usable());
    world.queue.faults.receive.set(Fault::Fails);
    let worker = start(worker);
    until("health degrades", async || is_degraded(&health).await).await;
    world.pass_until(secs(5), "health fails", async || !health.health().await.is_usable()).await;
    let handle = world.jobs.send(task(1)).await.unwrap();
    assert!(!worker.is_over());
    world.queue.faults.receive.set(Fault::None);
    let done = async || status_of(&handle).await.state == JobState::Succeeded;
    world.pass_until(secs(5), "it is done", done).await;
    assert!(is_healthy(&health).await);
    worker.stop().await;
    assert!(!health.health().await.is_usable());
}

#[tokio::test]
async fn a_worker_without_room_is_healthy_however_long_its_jobs_take() {
    let world = World::new();
    let worker =
        world.jobs.worker(()).on(async |_: Task| std::future::pending().await).concurrency(1);
    let health = worker.health();
    let worker = start(worker);
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    world.pass(secs(300), secs(5)).await;
    assert!(is_healthy(&health).await);
    worker.crash().await;
}

#[tokio::test]
async fn a_settlement_is_tried_until_it_succeeds_and_the_job_runs_once() {
    let world = World::new();
    let runs = Arc::new(AtomicU64::new(0));
    let worker = start(world.jobs.worker(Arc::clone(&runs)).on(counted));
    world.queue.faults.settle.set(Fault::Fails);
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Succeeded).await;
    world.pass(secs(10), secs(1)).await;
    assert_eq!(world.stats().await.leased, 1);
    world.queue.faults.settle.set(Fault::None);
    let settled = async || world.stats().await == Default::default();
    world.pass_until(secs(1), "it is settled", settled).await;
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(worker.stop().await.succeeded, 1);
}

#[tokio::test]
async fn a_job_whose_result_is_not_stored_is_not_acked() {
    let world = World::new();
    world.status.only(JobState::Succeeded);
    world.status.advance.set(Fault::Fails);
    let runs = Arc::new(AtomicU64::new(0));
    let worker = world.jobs.worker(Arc::clone(&runs)).on(counted);
    let doomed = start(worker.clone());
    let handle = world.jobs.send(task(1)).await.unwrap();
    until("it ran", async || runs.load(SeqCst) == 1).await;
    world.pass(secs(100), secs(5)).await;
    assert_eq!(world.stats().await.leased, 1);
    doomed.crash().await;
    world.status.advance.set(Fault::None);
    world.clock.advance(secs(30));
    assert_eq!(worker.drain().await.succeeded, 1);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 1);
    assert_eq!(status_of(&handle).await.attempt, 2);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let world = World::new();
    world.status.advance.set(Fault::LosesAnswers);
    let _time = world.run_time(secs(1));
    let sending = tokio::spawn({
        let jobs = world.jobs.clone();
        async move { jobs.send(task(1)).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    world.status.advance.set(Fault::None);
    let handle = soon(sending).await.unwrap().unwrap();
    let runs = Arc::new(AtomicU64::new(0));
    for state in [JobState::Running, JobState::Succeeded] {
        world.status.only(state);
        world.status.advance.set(Fault::LosesAnswers);
    }
    let worker = start(world.jobs.worker(Arc::clone(&runs)).on(counted));
    until_state(&handle, JobState::Succeeded).await;
    world.status.advance.set(Fault::None);
    until("it is settled", async || world.stats().await == Default::default()).await;
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(worker.stop().await.succeeded, 1);
}

#[tokio::test]
async fn a_result_that_the_store_does_not_take_is_a_failure() {
    let world = World::new();
    world.status.only(JobState::Succeeded);
    world.status.advance.set(Fault::Refuses);
    let worker = start(world.jobs.worker(()).on(async |_: Task| Ok(1)));
    let handle = world.jobs.send(task(1)).await.unwrap();
    let error = soon(handle.wait(secs(5))).await.unwrap_err();
    let WaitError::Failed(failure) = error else { panic!("{error}") };
    assert!(failure.message.starts_with("the result was not stored: "), "{}", failure.message);
    assert_eq!(worker.stop().await.dead, 1);
    assert_eq!(world.dead().await.len(), 1);
}
