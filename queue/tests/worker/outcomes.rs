//! What comes of a job, and what its status says about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use standfast_core::Clock;
use standfast_queue::{
    CancelOutcome, CancelReason, DeadLetterFilter, DeadLetters, JobContext, JobError, JobState,
    KindConfig, Queue, ReceiveOptions, RetryPolicy, WaitError,
};
use tokio::sync::Notify;

use crate::support::{
    Task, World, config, millis, retry_after, secs, soon, start, status_of, task, until,
    until_state,
};

#[tokio::test]
async fn a_result_reaches_whoever_waits_for_it() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on(async |job: Task| Ok(job.n * 2)));
    let handle = world.jobs.send(task(21)).await.unwrap();
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 42);
    assert_eq!(worker.stop().await.succeeded, 1);
    let status = status_of(&handle).await;
    assert_eq!((status.state, status.attempt, status.run), (JobState::Succeeded, 1, 1));
    assert_eq!(world.stats().await.leased, 0);
}

#[tokio::test]
async fn a_wait_ends_with_its_timeout_while_the_job_goes_on() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).await.unwrap();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.wait(secs(30)).await }
    });
    tokio::task::yield_now().await;
    world.clock.advance(secs(31));
    assert!(matches!(soon(waiting).await.unwrap(), Err(WaitError::Timeout)));
    assert_eq!(status_of(&handle).await.state, JobState::Queued);
}

#[tokio::test]
async fn progress_is_seen_while_the_job_runs() {
    let world = World::new();
    let seen = Arc::new(Notify::new());
    let worker = start(world.jobs.worker(Arc::clone(&seen)).on(
        async |_: Task, seen: Arc<Notify>, ctx: JobContext| {
            ctx.progress(3, 10);
            ctx.progress(2, 10); // does not go back
            seen.notified().await;
            Ok(0)
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until("progress", async || status_of(&handle).await.progress.done == 3).await;
    let status = status_of(&handle).await;
    assert_eq!((status.state, status.progress.total), (JobState::Running, Some(10)));
    seen.notify_one();
    soon(handle.wait(secs(5))).await.unwrap();
    assert_eq!(status_of(&handle).await.progress.done, 3);
    worker.stop().await;
}

#[tokio::test]
async fn a_checkpoint_is_handed_to_the_next_attempt() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on(async |_: Task, ctx: JobContext| {
        match ctx.last_checkpoint::<u64>() {
            Some(done) => Ok(done),
            None => {
                ctx.checkpoint(&7)?;
                Err(JobError::retry_in(Duration::ZERO, "once more"))
            }
        }
    }));
    let handle = world.jobs.send(task(1)).await.unwrap();
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 7);
    worker.stop().await;
}

#[tokio::test]
async fn a_checkpoint_that_could_not_be_stored_goes_along_with_the_end_of_the_attempt() {
    let world = World::new();
    world.status.only(JobState::Running);
    let told = Arc::new(Notify::new());
    let worker = start(world.jobs.worker(Arc::clone(&told)).on(
        async |_: Task, told: Arc<Notify>, ctx: JobContext| {
            if let Some(done) = ctx.last_checkpoint::<u64>() {
                return Ok(done);
            }
            told.notify_one();
            told.notified().await;
            ctx.checkpoint(&7)?;
            // the store is being told and fails
            tokio::time::sleep(millis(20)).await;
            Err(JobError::retry_in(Duration::ZERO, "once more"))
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    soon(told.notified()).await;
    world.status.advance.set(crate::faulty::Fault::Fails);
    told.notify_one();
    until("the attempt ends", async || status_of(&handle).await.attempt == 2).await;
    world.status.advance.set(crate::faulty::Fault::None);
    world.clock.advance(secs(5));
    assert_eq!(soon(handle.wait(secs(60))).await.unwrap(), 7);
    worker.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_is_told_with_its_error_and_when_the_next_is_due() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on_with(
        retry_after(secs(60)),
        async |_: Task, ctx: JobContext| match ctx.attempt() {
            1 => Err(JobError::retry("the first one fails").with_detail("line 7")),
            attempt => Ok(attempt.into()),
        },
    ));
    let began = world.clock.now();
    let handle = world.jobs.send(task(1)).await.unwrap();
    until("a retry", async || status_of(&handle).await.attempt == 2).await;
    let status = status_of(&handle).await;
    assert_eq!(status.state, JobState::Queued);
    assert_eq!(status.retry_at, Some(began + secs(60)));
    let error = status.error.clone().unwrap();
    assert_eq!(error.message, "the first one fails");
    assert_eq!(error.detail.as_deref(), Some("line 7"));
    world.pass(secs(59), secs(10)).await;
    assert_eq!(status_of(&handle).await.state, JobState::Queued);
    world.clock.advance(secs(1));
    assert_eq!(soon(handle.wait(secs(60))).await.unwrap(), 2);
    assert_eq!(status_of(&handle).await.error, None);
    let report = worker.stop().await;
    assert_eq!((report.retried, report.succeeded), (1, 1));
}

#[tokio::test]
async fn a_handler_can_say_when_to_try_again() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on_with(
        retry_after(secs(3600)),
        async |_: Task, ctx: JobContext| match ctx.attempt() {
            1 => Err(JobError::retry_in(secs(7), "busy")),
            attempt => Ok(attempt.into()),
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until("a retry", async || status_of(&handle).await.attempt == 2).await;
    world.clock.advance(secs(7));
    assert_eq!(soon(handle.wait(secs(60))).await.unwrap(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn a_snooze_counts_no_attempt() {
    let world = World::new();
    let runs = Arc::new(AtomicU64::new(0));
    let worker = start(world.jobs.worker(Arc::clone(&runs)).on_with(
        KindConfig::default().retry(RetryPolicy::default().max_attempts(1)),
        async |_: Task, runs: Arc<AtomicU64>, ctx: JobContext| match runs.fetch_add(1, SeqCst) {
            0..3 => Err(JobError::snooze(secs(5))),
            _ => Ok(ctx.attempt().into()),
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    world
        .pass_until(secs(1), "it ends", async || {
            world.stats().await.delayed == 0 && status_of(&handle).await.state.is_terminal()
        })
        .await;
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 1);
    let report = worker.stop().await;
    assert_eq!((report.released, report.retried, report.succeeded), (3, 0, 1));
}

#[tokio::test]
async fn a_dead_job_goes_to_the_dead_letters_with_its_reason() {
    let world = World::new();
    let worker =
        start(world.jobs.worker(()).on(async |_: Task| -> Result<u64, JobError> {
            Err(JobError::dead("nothing to report"))
        }));
    let handle = world.jobs.send(task(1)).await.unwrap();
    let error = soon(handle.wait(secs(5))).await.unwrap_err();
    assert!(matches!(&error, WaitError::Failed(failure) if failure.message == "nothing to report"));
    assert_eq!(worker.stop().await.dead, 1);
    let dead = world.dead().await;
    assert_eq!(dead[0].reason, "nothing to report");
    assert_eq!(dead[0].envelope.handle, Some(handle.id()));
}

#[tokio::test]
async fn attempts_end_when_the_policy_has_no_more() {
    let world = World::new();
    let mut kind = retry_after(secs(1));
    kind.retry = kind.retry.max_attempts(3);
    let worker =
        start(world.jobs.worker(()).on_with(kind, async |_: Task| -> Result<u64, JobError> {
            Err(JobError::retry("no"))
        }));
    let handle = world.jobs.send(task(1)).await.unwrap();
    world
        .pass_until(secs(1), "it fails", async || {
            status_of(&handle).await.state == JobState::Failed
        })
        .await;
    let status = status_of(&handle).await;
    assert_eq!(status.attempt, 3);
    assert_eq!(status.error.as_ref().unwrap().message, "no (failed 3 times)");
    let report = worker.stop().await;
    assert_eq!((report.retried, report.dead), (2, 1));
    assert_eq!(world.dead().await[0].attempts, 3);
}

#[tokio::test]
async fn attempts_end_when_their_time_is_over() {
    let world = World::new();
    let mut kind = retry_after(secs(60));
    kind.retry.within = secs(600);
    let worker =
        start(world.jobs.worker(()).on_with(kind, async |_: Task| -> Result<u64, JobError> {
            Err(JobError::retry("no"))
        }));
    let handle = world.jobs.send(task(1)).await.unwrap();
    world
        .pass_until(secs(10), "it fails", async || {
            status_of(&handle).await.state == JobState::Failed
        })
        .await;
    let status = status_of(&handle).await;
    assert!((10..14).contains(&status.attempt), "attempt {}", status.attempt);
    assert_eq!(status.error.as_ref().unwrap().message, "no (still failing after 600s)");
    worker.stop().await;
}

#[derive(Debug, thiserror::Error)]
#[error("the report could not be read")]
struct Unreadable(#[source] std::num::ParseIntError);

#[tokio::test]
async fn any_error_means_another_attempt_and_is_told_with_its_causes() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on_with(
        retry_after(secs(1)),
        async |_: Task, ctx: JobContext| {
            let text = if ctx.attempt() == 1 { "seven" } else { "7" };
            let number: u64 = text.parse().map_err(Unreadable)?;
            Ok(number)
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until("a retry", async || status_of(&handle).await.attempt == 2).await;
    let error = status_of(&handle).await.error.clone().unwrap();
    assert_eq!(error.message, "the report could not be read: invalid digit found in string");
    world.clock.advance(secs(1));
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 7);
    worker.stop().await;
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_job_alone() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on_with(
        retry_after(secs(1)),
        async |job: Task, ctx: JobContext| {
            assert!(job.n != 13 || ctx.attempt() > 1, "unlucky");
            Ok(job.n)
        },
    ));
    let unlucky = world.jobs.send(task(13)).await.unwrap();
    let other = world.jobs.send(task(14)).await.unwrap();
    assert_eq!(soon(other.wait(secs(5))).await.unwrap(), 14);
    until("a retry", async || status_of(&unlucky).await.attempt == 2).await;
    let error = status_of(&unlucky).await.error.clone().unwrap();
    assert_eq!(error.message, "the handler panicked: unlucky");
    world.clock.advance(secs(1));
    assert_eq!(soon(unlucky.wait(secs(5))).await.unwrap(), 13);
    worker.stop().await;
}

#[tokio::test]
async fn a_redriven_job_becomes_ready_under_the_handle_it_had() {
    let world = World::new();
    let worker =
        start(world.jobs.worker(()).on(async |_: Task, ctx: JobContext| match ctx.run() {
            1 => Err(JobError::dead("the disk is full")),
            run => Ok(run.into()),
        }));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Failed).await;
    until("a dead letter", async || world.stats().await.dead == 1).await;
    let filter = DeadLetterFilter::default().containing("disk");
    assert_eq!(world.queue.redrive(&filter, &Default::default()).await.unwrap().sent, 1);
    until_state(&handle, JobState::Succeeded).await;
    assert_eq!(soon(handle.wait(secs(5))).await.unwrap(), 2);
    let status = status_of(&handle).await;
    assert_eq!((status.run, status.attempt, status.error.clone()), (2, 1, None));
    assert_eq!(world.stats().await.dead, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_queued_job_that_is_cancelled_never_runs() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).await.unwrap();
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Cancelled);
    let worker = world.jobs.worker(()).on(async |_: Task| -> Result<u64, JobError> {
        panic!("it must not run");
    });
    let report = worker.drain().await;
    assert_eq!((report.skipped, report.retried), (1, 0));
    assert!(matches!(handle.wait(secs(5)).await, Err(WaitError::Cancelled)));
    assert_eq!(world.stats().await, Default::default());
}

#[tokio::test]
async fn a_running_job_sees_that_it_is_asked_to_end() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on(
        async |_: Task, ctx: JobContext| -> Result<u64, JobError> {
            ctx.cancelled().await;
            assert_eq!(ctx.cancel_reason(), Some(CancelReason::Requested));
            Err(JobError::cancelled("cleaned up"))
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Requested);
    assert!(matches!(soon(handle.wait(secs(5))).await, Err(WaitError::Cancelled)));
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Finished);
    assert_eq!(worker.stop().await.cancelled, 1);
    assert_eq!(world.stats().await.leased, 0);
}

#[tokio::test]
async fn a_job_that_does_not_end_when_asked_is_dropped_after_its_grace() {
    let world = World::new();
    let worker = start(
        world
            .jobs
            .worker(())
            .on(async |_: Task| std::future::pending::<Result<u64, JobError>>().await)
            .config(config(|config| config.cancel_grace = secs(8))),
    );
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    handle.cancel().await.unwrap();
    // it hears of it in real time, so its grace may begin a little later
    tokio::time::sleep(millis(50)).await;
    world.pass(secs(7), secs(1)).await;
    assert_eq!(status_of(&handle).await.state, JobState::Running);
    world.clock.advance(secs(1));
    assert!(matches!(soon(handle.wait(secs(60))).await, Err(WaitError::Cancelled)));
    assert_eq!(worker.stop().await.cancelled, 1);
}

#[tokio::test]
async fn a_job_that_waits_for_its_next_attempt_can_be_cancelled() {
    let world = World::new();
    let worker = start(world.jobs.worker(()).on_with(
        retry_after(secs(60)),
        async |_: Task, ctx: JobContext| -> Result<u64, JobError> {
            assert_eq!(ctx.attempt(), 1);
            Err(JobError::retry("no"))
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until("a retry", async || world.stats().await.delayed == 1).await;
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Cancelled);
    world.clock.advance(secs(60));
    until("it leaves", async || world.stats().await == Default::default()).await;
    let report = worker.stop().await;
    assert_eq!((report.retried, report.skipped), (1, 1));
}

#[tokio::test]
async fn a_job_that_fails_while_it_is_asked_to_end_does_not_run_again() {
    let world = World::new();
    let handle_cell = Arc::new(std::sync::OnceLock::new());
    let worker = world.jobs.worker(Arc::clone(&handle_cell)).on(
        async |_: Task, handle: Arc<std::sync::OnceLock<standfast_queue::Handle<Task>>>| {
            // nothing is awaited afterwards, so the worker cannot have heard of it
            handle.get().unwrap().cancel().await.unwrap();
            Err::<u64, _>(JobError::retry("no"))
        },
    );
    let handle = world.jobs.send(task(1)).await.unwrap();
    handle_cell.set(handle.clone()).unwrap();
    assert_eq!(worker.drain().await.cancelled, 1);
    assert_eq!(status_of(&handle).await.state, JobState::Cancelled);
    assert_eq!(world.stats().await, Default::default());
}

#[tokio::test]
async fn a_job_that_was_asked_to_end_before_it_began_again_is_not_started() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).await.unwrap();
    let crashing = start(world.jobs.worker(()).on(async |_: Task| std::future::pending().await));
    until_state(&handle, JobState::Running).await;
    crashing.crash().await;
    assert_eq!(handle.cancel().await.unwrap(), CancelOutcome::Requested);
    world.clock.advance(secs(31));
    let worker = world.jobs.worker(()).on(async |_: Task| -> Result<u64, JobError> {
        panic!("it must not run");
    });
    assert_eq!(worker.drain().await.cancelled, 1);
    assert_eq!(status_of(&handle).await.state, JobState::Cancelled);
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_asked_to_end_and_that_is_a_failure() {
    let world = World::new();
    let kind = retry_after(secs(60)).timeout(secs(10));
    let worker = start(world.jobs.worker(()).on_with(
        kind,
        async |_: Task, ctx: JobContext| -> Result<u64, JobError> {
            ctx.cancelled().await;
            assert_eq!(ctx.cancel_reason(), Some(CancelReason::TimedOut));
            Err(JobError::cancelled("what it says does not matter"))
        },
    ));
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    world.pass_until(secs(1), "a retry", async || status_of(&handle).await.attempt == 2).await;
    assert_eq!(status_of(&handle).await.error.as_ref().unwrap().message, "took longer than 10s");
    assert_eq!(worker.stop().await.retried, 1);
}

#[tokio::test]
async fn a_job_that_ignores_its_time_limit_is_dropped_after_its_grace() {
    let world = World::new();
    let kind = retry_after(secs(60)).timeout(secs(10));
    let worker = start(
        world
            .jobs
            .worker(())
            .on_with(kind, async |_: Task| std::future::pending::<Result<u64, JobError>>().await)
            .config(config(|config| config.cancel_grace = secs(100))),
    );
    let began = world.clock.instant();
    let handle = world.jobs.send(task(1)).await.unwrap();
    until_state(&handle, JobState::Running).await;
    world.pass_until(secs(1), "a retry", async || status_of(&handle).await.attempt == 2).await;
    assert!(world.clock.instant() - began >= secs(110));
    assert_eq!(status_of(&handle).await.state, JobState::Queued);
    let options = ReceiveOptions::new(1);
    assert!(world.queue.receive(&options).await.unwrap().is_empty());
    assert_eq!(worker.stop().await.retried, 1);
}
