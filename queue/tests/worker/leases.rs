//! Leases: kept while a job runs, heeded when they are lost, taken over when a worker died.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use standfast_core::Clock;
use standfast_core::testkit::ManualClock;
use standfast_queue::{CancelReason, DeadLetter, JobContext, JobError, JobState, Jobs};
use tokio::sync::{Notify, mpsc};

use crate::faulty::Fault;
use crate::support::{Task, World, config, secs, soon, start, status_of, task, until, until_state};

#[tokio::test]
async fn a_long_job_keeps_its_lease() {
    let world = World::new();
    let end = Arc::new(Notify::new());
    let worker = start(world.jobs.worker(Arc::clone(&end)).on(
        async |_: Task, end: Arc<Notify>, ctx: JobContext| {
            end.notified().await;
            Ok(ctx.attempt().into())
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    world.pass(secs(600), secs(5)).await;
    assert_eq!(world.stats().await.leased, 1);
    end.notify_one();
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 1);
    assert_eq!(worker.stop().await.succeeded, 1);
}

#[tokio::test]
async fn a_job_that_waits_for_a_slot_keeps_its_lease() {
    let world = World::new();
    let end = Arc::new(Notify::new());
    let worker = world.jobs.worker(Arc::clone(&end)).on(
        async |_: Task, end: Arc<Notify>, ctx: JobContext| {
            end.notified().await;
            Ok(ctx.attempt().into())
        },
    );
    let worker = start(worker.config(config(|config| {
        (config.concurrency, config.prefetch) = (1, 1);
    })));
    let first = world.jobs.send(task(1)).await.unwrap();
    let second = world.jobs.send(task(2)).await.unwrap();
    until("both are here", async || world.stats().await.leased == 2).await;
    world.pass(secs(120), secs(5)).await;
    end.notify_one();
    assert_eq!(soon(first.wait(secs(5))).await.unwrap(), 1);
    until_state(&second, JobState::Running).await;
    end.notify_one();
    assert_eq!(soon(second.wait(secs(5))).await.unwrap(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_job_whose_lease_cannot_be_kept_is_cancelled_while_it_still_lasts() {
    // whatever the phase of the heartbeat is when the job begins
    for phase in [0, 3, 6, 9] {
        let world = World::new();
        let (sender, mut ended) = mpsc::unbounded_channel();
        let clock = world.clock.clone();
        let worker = start(world.jobs.worker(()).on(move |_: Task, ctx: JobContext| {
            let (sender, clock) = (sender.clone(), clock.clone());
            async move {
                ctx.cancelled().await;
                let left = ctx.lease_deadline().saturating_duration_since(clock.instant());
                sender.send((ctx.cancel_reason(), left)).unwrap();
                Err::<u64, _>(JobError::retry("it ends"))
            }
        }));
        world.pass(secs(phase), secs(1)).await;
        world.queue.faults.extend.set(Fault::Fails);
        let handle = world.jobs.send(task(1)).await.unwrap();
        until_state(&handle, JobState::Running).await;
        world.pass_until(secs(1), "it is cancelled", async || !ended.is_empty()).await;
        let (reason, left) = ended.recv().await.unwrap();
        assert_eq!(reason, Some(CancelReason::LeaseLost));
        assert!(left >= secs(3), "{left:?} left in phase {phase}");
        // there was time to give it back: no attempt is counted
        until("it runs again", async || status_of(&handle).await.delivery == 2).await;
        assert_eq!(status_of(&handle).await.attempt, 1);
        worker.crash().await;
    }
}

#[tokio::test]
async fn heartbeats_that_hang_do_not_keep_later_ones_from_being_sent() {
    let world = World::new();
    let end = Arc::new(Notify::new());
    let worker =
        start(world.jobs.worker(Arc::clone(&end)).on(async |_: Task, end: Arc<Notify>| {
            end.notified().await;
            Ok(0)
        }));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    world.queue.faults.extend.set(Fault::Hangs);
    world.pass(secs(13), secs(1)).await;
    world.queue.faults.extend.set(Fault::None);
    world.pass(secs(120), secs(1)).await;
    end.notify_one();
    soon(handle.wait(secs(5))).await.unwrap();
    assert_eq!(worker.stop().await.succeeded, 1);
}

#[tokio::test]
async fn what_a_stale_worker_says_is_refused() {
    let world = World::new();
    let (first_end, second_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wait_for = async |_: Task, end: Arc<Notify>, ctx: JobContext| {
        end.notified().await;
        ctx.progress(u64::from(ctx.attempt()), None);
        Ok(u64::from(ctx.attempt()))
    };
    // a worker whose process was suspended: its time stands still while the store's goes on
    let suspended = Jobs::new(world.queue.clone(), world.status.clone())
        .with_clock(Arc::new(ManualClock::new()));
    let first = start(suspended.worker(Arc::clone(&first_end)).on(wait_for));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    first.begin_stop();
    world.clock.advance(secs(31));
    let second = start(world.jobs.worker(Arc::clone(&second_end)).on(wait_for));
    until("the second attempt", async || status_of(&handle).await.attempt == 2).await;

    first_end.notify_one();
    assert_eq!(first.ended().await.lost, 1);
    let status = status_of(&handle).await;
    assert_eq!((status.state, status.attempt), (JobState::Running, 2));
    assert_eq!(world.stats().await.leased, 1);

    second_end.notify_one();
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 2);
    assert_eq!(second.stop().await.succeeded, 1);
}

#[tokio::test]
async fn the_job_of_a_worker_that_died_is_run_by_another_from_its_checkpoint() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).await.unwrap();
    let doomed = start(world.jobs.worker(()).on(async |_: Task, ctx: JobContext| {
        ctx.checkpoint("half")?;
        std::future::pending().await
    }));
    until("a checkpoint", async || status_of(&handle).await.checkpoint.is_some()).await;
    doomed.crash().await;
    let other = start(world.jobs.worker(()).on(async |_: Task, ctx: JobContext| {
        assert_eq!(ctx.last_checkpoint::<String>().as_deref(), Some("half"));
        Ok(ctx.attempt().into())
    }));
    world.clock.advance(secs(29));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(status_of(&handle).await.state, JobState::Running);
    world.clock.advance(secs(1));
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 2);
    other.stop().await;
}

#[tokio::test]
async fn a_job_that_kills_its_workers_ends_as_a_dead_letter_and_its_status_says_so() {
    let world = World::with_queue(|config| config.max_crashes = 3);
    let handle = world.jobs.send(task(1)).await.unwrap();
    for attempt in 1..=3 {
        let doomed = start(world.jobs.worker(()).on(async |_: Task| std::future::pending().await));
        until("an attempt", async || {
            let status = status_of(&handle).await;
            (status.state, status.attempt) == (JobState::Running, attempt)
        })
        .await;
        doomed.crash().await;
        world.clock.advance(secs(30));
    }
    // the report is told even if the store fails meanwhile
    world.status.advance.set(Fault::Fails);
    let worker = start(world.jobs.worker(()).on(async |_: Task| Ok(0)));
    world.pass(secs(600), secs(10)).await;
    world.status.advance.set(Fault::None);
    world
        .pass_until(secs(1), "it fails", async || {
            status_of(&handle).await.state == JobState::Failed
        })
        .await;
    assert_eq!(status_of(&handle).await.error.as_ref().unwrap().message, DeadLetter::CRASHED);
    assert_eq!(world.dead().await[0].crashes, 3);
    worker.stop().await;
}

type End = fn() -> Result<u64, JobError>;

/// Runs a job whose worker dies after it has told the status how it ended and before it settles.
async fn die_between(world: &World, end: End) -> JobState {
    let runs = Arc::new(AtomicU32::new(0));
    let handle = world.jobs.send(task(1)).await.unwrap();
    let worker = world.jobs.worker((Arc::clone(&runs), end)).on(
        async |_: Task, (runs, end): (Arc<AtomicU32>, End)| {
            runs.fetch_add(1, SeqCst);
            end()
        },
    );
    world.queue.faults.settle.set(Fault::Hangs);
    let doomed = start(worker.clone());
    until("it ends", async || status_of(&handle).await.state.is_terminal()).await;
    doomed.crash().await;
    world.queue.faults.settle.set(Fault::None);
    assert_eq!(world.stats().await.leased, 1);
    world.clock.advance(secs(30));
    assert_eq!(worker.drain().await.skipped, 1);
    assert_eq!(runs.load(SeqCst), 1);
    status_of(&handle).await.state
}

#[tokio::test]
async fn a_job_that_ended_unsettled_is_settled_without_running_again() {
    let world = World::new();
    assert_eq!(die_between(&world, || Ok(1)).await, JobState::Succeeded);
    assert_eq!(world.stats().await, Default::default());

    let cancelled = || Err(JobError::cancelled("on its own"));
    assert_eq!(die_between(&world, cancelled).await, JobState::Cancelled);
    assert_eq!(world.stats().await, Default::default());

    let dead = || Err(JobError::dead("no such report"));
    assert_eq!(die_between(&world, dead).await, JobState::Failed);
    let letters = world.dead().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, "no such report");
}

#[tokio::test]
async fn a_dead_letter_is_told_where_the_status_is_further_than_the_letter_knows() {
    // dies after it has told `queued` for the next attempt, before the release
    let world = World::with_queue(|config| config.max_crashes = 1);
    let handle = world.jobs.send(task(1)).await.unwrap();
    world.queue.faults.settle.set(Fault::Hangs);
    let worker = world
        .jobs
        .worker(())
        .on(async |_: Task| -> Result<u64, JobError> { Err(JobError::retry("no")) });
    let doomed = start(worker.clone());
    until("a retry", async || status_of(&handle).await.attempt == 2).await;
    doomed.crash().await;
    world.queue.faults.settle.set(Fault::None);
    world.clock.advance(secs(30));
    worker.drain().await;
    let status = status_of(&handle).await;
    assert_eq!(status.state, JobState::Failed);
    assert_eq!(status.error.as_ref().unwrap().message, DeadLetter::CRASHED);
}
