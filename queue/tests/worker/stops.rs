//! How a worker stops.

use std::process::ExitCode;
use std::sync::Arc;

use standfast_core::{CancellationToken, Lifecycle};
use standfast_queue::{CancelReason, JobContext, JobError, JobState};
use tokio::sync::Notify;

use crate::faulty::Fault;
use crate::support::{
    Task, World, config, millis, secs, soon, start, status_of, task, until, until_state,
};

#[tokio::test]
async fn what_runs_is_finished_and_nothing_else_begins() {
    let world = World::new();
    let end = Arc::new(Notify::new());
    let worker = world.jobs.worker(Arc::clone(&end)).concurrency(3).on(
        async |job: Task, end: Arc<Notify>| {
            end.notified().await;
            Ok(job.n)
        },
    );
    let worker = start(worker);
    let mut handles = Vec::new();
    for n in 0..5 {
        handles.push(world.jobs.send(task(n)).await.unwrap());
    }
    until("three run", async || world.stats().await.leased == 3).await;
    worker.begin_stop();
    tokio::time::sleep(millis(5)).await;
    assert!(!worker.is_over());
    end.notify_waiters();
    let report = worker.ended().await;
    assert_eq!((report.succeeded, report.released, report.lost), (3, 0, 0));
    let stats = world.stats().await;
    assert_eq!((stats.ready, stats.leased), (2, 0));
    for handle in &handles[..3] {
        assert_eq!(status_of(handle).await.state, JobState::Succeeded);
    }
}

#[tokio::test]
async fn what_runs_beyond_the_grace_is_released_uncounted_and_runs_elsewhere() {
    let world = World::new();
    let worker = world.jobs.worker(()).on(async |job: Task, ctx: JobContext| {
        if job.n == 1 {
            ctx.cancelled().await;
            assert_eq!(ctx.cancel_reason(), Some(CancelReason::Shutdown));
            ctx.checkpoint(&1)?;
            return Err(JobError::retry("asked to end"));
        }
        std::future::pending().await
    });
    let worker = start(worker);
    let polite = world.jobs.send(task(1)).await.unwrap();
    let rude = world.jobs.send(task(2)).await.unwrap();
    until_state(&polite, JobState::Running).await;
    until_state(&rude, JobState::Running).await;
    worker.begin_stop();
    tokio::time::sleep(millis(5)).await;
    world.pass(secs(19), secs(1)).await;
    assert_eq!(world.stats().await.leased, 2);
    world.pass_until(secs(1), "one is released", async || world.stats().await.leased == 1).await;
    world.pass_until(secs(1), "all is over", async || worker.is_over()).await;
    assert_eq!(worker.ended().await.released, 2);

    let other = world.jobs.worker(()).on(async |_: Task, ctx: JobContext| {
        Ok(u64::from(ctx.attempt()) * 10 + ctx.last_checkpoint::<u64>().unwrap_or(0))
    });
    assert_eq!(other.drain().await.succeeded, 2);
    assert_eq!(polite.wait(secs(1)).await.unwrap(), 11);
    assert_eq!(rude.wait(secs(1)).await.unwrap(), 10);
}

#[tokio::test]
async fn a_second_signal_releases_at_once() {
    let world = World::new();
    let release = CancellationToken::new();
    let worker = world.jobs.worker(()).on(async |_: Task| std::future::pending().await);
    let worker = start(worker.release_on(release.clone()));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    worker.begin_stop();
    tokio::time::sleep(millis(5)).await;
    release.cancel();
    assert_eq!(worker.ended().await.released, 1);
    let status = status_of(&handle).await;
    assert_eq!((status.state, status.attempt), (JobState::Queued, 1));
    assert_eq!(world.stats().await.ready, 1);
}

#[tokio::test]
async fn a_stop_ends_in_time_although_the_stores_fail() {
    for fault in [Fault::Fails, Fault::Hangs] {
        let world = World::new();
        let end = Arc::new(Notify::new());
        let worker =
            start(world.jobs.worker(Arc::clone(&end)).on(async |_: Task, end: Arc<Notify>| {
                end.notified().await;
                Ok(0)
            }));
        let ends = world.jobs.send(task(1)).await.unwrap();
        until_state(&ends, JobState::Running).await;
        world.status.advance.set(fault);
        end.notify_one();
        worker.begin_stop();
        tokio::time::sleep(millis(5)).await;
        world.pass(secs(30), secs(1)).await;
        until("all is over", async || worker.is_over()).await;
        worker.ended().await;
        world.status.advance.set(Fault::None);
        world.clock.advance(secs(30));
        let other = world.jobs.worker(()).on(async |_: Task| Ok(7));
        assert_eq!(other.drain().await.succeeded, 1);
        assert_eq!(ends.wait(secs(1)).await.unwrap(), 7);
    }
}

#[tokio::test]
async fn a_job_that_could_not_begin_is_released_uncounted_by_a_stop() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).await.unwrap();
    world.status.advance.set(Fault::Fails);
    let worker = start(world.jobs.worker(()).on(async |_: Task| Ok(0)));
    until("it was received", async || world.stats().await.leased == 1).await;
    worker.begin_stop();
    tokio::time::sleep(millis(5)).await;
    world.pass_until(secs(1), "all is over", async || worker.is_over()).await;
    assert_eq!(worker.ended().await.released, 1);
    world.status.advance.set(Fault::None);
    assert_eq!(world.stats().await.ready, 1);
    let other = world.jobs.worker(()).on(async |_: Task, ctx: JobContext| Ok(ctx.attempt().into()));
    other.drain().await;
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_lifecycle_stops_its_workers_in_order() {
    let world = World::new();
    let lifecycle = Lifecycle::new();
    let end = Arc::new(Notify::new());
    let worker = world.jobs.worker(Arc::clone(&end));
    worker
        .on(async |_: Task, end: Arc<Notify>| {
            end.notified().await;
            Ok(5)
        })
        .spawn(&lifecycle);
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    lifecycle.stop();
    let running = tokio::spawn({
        let lifecycle = lifecycle.clone();
        async move { lifecycle.run().await }
    });
    tokio::time::sleep(millis(5)).await;
    assert!(!running.is_finished());
    end.notify_one();
    assert_eq!(soon(running).await.unwrap(), ExitCode::SUCCESS);
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 5);
}

#[tokio::test]
async fn a_loop_that_breaks_ends_the_worker_instead_of_going_unseen() {
    let world = World::new();
    let lifecycle = Lifecycle::new();
    world.queue.faults.receive.set(Fault::Panics);
    world.jobs.worker(()).on(async |_: Task| Ok(0)).spawn(&lifecycle);
    assert_eq!(soon(lifecycle.run()).await, ExitCode::FAILURE);
}

#[tokio::test]
async fn the_report_counts_what_was_done() {
    let world = World::new();
    for n in 0..12 {
        world.jobs.send(task(n)).await.unwrap();
    }
    let worker =
        world.jobs.worker(()).on_with(crate::support::retry_after(secs(60)), async |job: Task| {
            match job.n {
                0..5 => Ok(0),
                5..8 => Err(JobError::retry("no")),
                8..10 => Err(JobError::dead("no")),
                10 => Err(JobError::cancelled("no")),
                _ => Err(JobError::snooze(secs(60))),
            }
        });
    let worker = start(worker.config(config(|config| config.concurrency = 2)));
    until("all have run", async || world.stats().await.delayed == 4).await;
    let report = worker.stop().await;
    assert_eq!((report.succeeded, report.retried, report.dead), (5, 3, 2));
    assert_eq!((report.cancelled, report.released, report.skipped, report.lost), (1, 1, 0, 0));
}
