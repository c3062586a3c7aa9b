//! Sending: what is sent once, what is refused, and what a sender that died left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use futures_util::FutureExt;
use standfast_core::{Clock, Context, Fence, JobId, ScheduledRun, SessionRef, Tick};
use standfast_queue::{JobContext, JobError, JobState, SendError, StatusHandle, StatusStore};
use tokio::sync::Notify;

use crate::faulty::Fault;
use crate::support::{Task, World, secs, start, status_of, task, until_state};

#[tokio::test]
async fn a_duplicate_returns_the_handle_of_the_earlier_job() {
    let world = World::new();
    let first = world.jobs.send(task(1)).dedupe("march").await.unwrap();
    let again = world.jobs.send(task(2)).dedupe("march").await.unwrap();
    assert_eq!(first.id(), again.id());
    assert_eq!((first.is_duplicate(), again.is_duplicate()), (false, true));
    assert_eq!(world.stats().await.ready, 1);
    let worker = world.jobs.worker(()).on(async |job: Task| Ok(job.n));
    worker.drain().await;
    assert_eq!(again.wait(secs(1)).await.unwrap(), 1);
    let later = world.jobs.send(task(3)).dedupe("march").await.unwrap();
    assert_eq!(later.wait(secs(1)).await.unwrap(), 1);
    world.clock.advance(secs(24 * 60 * 60));
    let next_day = world.jobs.send(task(4)).dedupe("march").await.unwrap();
    assert!(!next_day.is_duplicate());
}

#[tokio::test]
async fn a_send_repeated_with_the_same_names_is_the_same_job_wherever_it_is_by_then() {
    let world = World::new();
    let (id, handle) = (JobId::random(), StatusHandle::random());
    let runs = Arc::new(AtomicU64::new(0));
    let end = Arc::new(Notify::new());
    let again = async || world.jobs.send(task(1)).id(id, handle).await.unwrap();

    let first = again().await;
    assert_eq!((first.id(), first.is_duplicate()), (handle, false));
    assert!(again().await.is_duplicate(), "while it is queued");
    assert_eq!(world.stats().await.ready, 1);

    let state = (Arc::clone(&runs), Arc::clone(&end));
    let worker = start(world.jobs.worker(state).on(
        async |_: Task, (runs, end): (Arc<AtomicU64>, Arc<Notify>)| {
            end.notified().await;
            Ok(runs.fetch_add(1, SeqCst) + 1)
        },
    ));
    until_state(&first, JobState::Running).await;
    assert!(again().await.is_duplicate(), "while it runs");
    assert_eq!((world.stats().await.leased, world.stats().await.ready), (1, 0));

    end.notify_one();
    until_state(&first, JobState::Succeeded).await;
    let repeated = again().await;
    assert!(repeated.is_duplicate(), "when it has ended");
    assert_eq!(repeated.wait(secs(1)).await.unwrap(), 1);
    worker.stop().await;
    assert_eq!(world.stats().await, Default::default());
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn a_tick_calls_for_one_run_whoever_sends_it() {
    let world = World::new();
    let at = world.clock.now();
    let tick = |fence| Tick::new("billing", at, Fence::new(fence));
    let first = world.jobs.send(task(1)).for_tick(&tick(1)).await.unwrap();
    let taken_over = world.jobs.send(task(1)).for_tick(&tick(2)).await.unwrap();
    assert_eq!(first.id(), taken_over.id());
    let worker = world.jobs.worker(()).on(async |job: Task| Ok(job.n));
    assert_eq!(worker.drain().await.succeeded, 1);
    let late = world.jobs.send(task(1)).for_tick(&tick(3)).await.unwrap();
    assert_eq!(late.wait(secs(1)).await.unwrap(), 1);
    assert_eq!(worker.drain().await, Default::default());
}

#[tokio::test]
async fn every_run_of_every_schedule_is_a_job_of_its_own() {
    let world = World::new();
    let at = world.clock.now();
    let hour = chrono::TimeDelta::hours(1);
    let mut handles = std::collections::HashSet::new();
    for (schedule, due) in [("a", at), ("b", at), ("a", at - hour)] {
        let run = ScheduledRun::new(schedule, due, due.naive_utc());
        let tick = Tick::new("billing", at, Fence::new(1)).with_run(run);
        for _ in 0..2 {
            let handle = world.jobs.send(task(1)).for_tick(&tick).await.unwrap();
            handles.insert(handle.id().to_string());
        }
    }
    assert_eq!(handles.len(), 3, "none is taken for another one, and none is sent twice");
}

#[tokio::test]
async fn a_full_queue_refuses_and_leaves_no_status_behind() {
    let world = World::with_queue(|config| config.max_len = 1);
    world.jobs.send(task(1)).await.unwrap();
    let (id, handle) = (JobId::random(), StatusHandle::random());
    let error = world.jobs.send(task(2)).id(id, handle).await.unwrap_err();
    assert!(matches!(error, SendError::Full));
    assert_eq!(world.status.get(&handle).await.unwrap(), None);
    assert!(matches!(world.jobs.send(task(3)).detached().await, Err(SendError::Full)));
}

#[tokio::test]
async fn a_detached_job_runs_without_a_status() {
    let world = World::new();
    world.status.advance.set(Fault::Panics);
    let id = world.jobs.send(task(1)).dedupe("once").detached().await.unwrap();
    let error = world.jobs.send(task(2)).dedupe("once").detached().await.unwrap_err();
    assert!(matches!(error, SendError::Duplicate(original) if original == id));
    let worker = world.jobs.worker(()).on(async |_: Task, ctx: JobContext| {
        ctx.progress(1, 2);
        ctx.checkpoint(&1)?;
        Ok(0)
    });
    assert_eq!(worker.drain().await.succeeded, 1);
}

#[tokio::test]
async fn a_job_and_what_it_sends_run_in_the_context_they_came_from() {
    let world = World::new();
    let session = SessionRef::random();
    let mut context = Context::default();
    (context.request_id, context.session) = (Some("req-1".into()), Some(session));
    let jobs = world.jobs.with_context(context);
    let handle = jobs.send(task(2)).owner(session).await.unwrap();
    assert_eq!(status_of(&handle).await.owner, Some(session));
    let worker = world.jobs.worker(()).on(async |job: Task, ctx: JobContext| {
        assert_eq!(ctx.context().request_id.as_deref(), Some("req-1"));
        if job.n > 0 {
            ctx.send(task(job.n - 1))?
                .detached()
                .await
                .map_err(|error| JobError::dead(error.to_string()))?;
        }
        Ok(0)
    });
    // the job, its follow-up and the follow-up of that
    assert_eq!(worker.drain().await.succeeded, 3);
    let status = status_of(&handle).await;
    assert_eq!((status.state, status.owner), (JobState::Succeeded, Some(session)));
}

#[tokio::test]
async fn a_job_that_did_not_begin_in_time_has_failed() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).drop_after(secs(60)).await.unwrap();
    world.clock.advance(secs(60));
    let worker = start(world.jobs.worker(()).on(async |job: Task| Ok(job.n)));
    until_state(&handle, JobState::Failed).await;
    let failure = status_of(&handle).await.error.clone().unwrap();
    assert_eq!(failure.message, "it did not begin in time, so it was dropped");
    assert_eq!(world.stats().await.dropped, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_is_dropped_before_its_next_attempt_has_failed() {
    let world = World::new();
    let handle = world.jobs.send(task(1)).drop_after(secs(60)).await.unwrap();
    let worker =
        world.jobs.worker(()).on_with(
            crate::support::retry_after(secs(90)),
            async |_: Task| -> Result<u64, JobError> { Err(JobError::retry("no")) },
        );
    assert_eq!(worker.drain().await.retried, 1);
    world.clock.advance(secs(90));
    worker.drain().await;
    assert_eq!(world.stats().await.dropped, 1);
    assert_eq!(status_of(&handle).await.state, JobState::Failed);
}

#[tokio::test]
async fn a_delayed_job_says_when_it_is_due() {
    let world = World::new();
    let due = world.clock.now() + secs(60);
    let handle = world.jobs.send(task(1)).delay(secs(60)).await.unwrap();
    assert_eq!(status_of(&handle).await.retry_at, Some(due));
    let worker = world.jobs.worker(()).on(async |job: Task| Ok(job.n));
    assert_eq!(worker.drain().await, Default::default());
    world.clock.advance(secs(60));
    assert_eq!(worker.drain().await.succeeded, 1);
}

#[tokio::test]
async fn a_send_that_was_interrupted_is_completed_by_the_same_names() {
    let world = World::new();
    let mut issued = Vec::new();
    for n in 0..50 {
        let (id, handle) = (JobId::random(), StatusHandle::random());
        let send = || world.jobs.send(task(n)).id(id, handle);
        // before the status, after it and before the message, after the message
        let (status, queue) = match n % 3 {
            0 => (Fault::Hangs, Fault::None),
            1 => (Fault::None, Fault::Hangs),
            _ => (Fault::None, Fault::LosesAnswers),
        };
        world.status.advance.set(status);
        world.queue.faults.send.set(queue);
        let interrupted = IntoFuture::into_future(send()).now_or_never();
        assert!(interrupted.is_none(), "it was not interrupted");
        world.status.advance.set(Fault::None);
        world.queue.faults.send.set(Fault::None);
        let queued = world.status.get(&handle).await.unwrap().is_some();
        assert_eq!(queued, n % 3 != 0);

        let complete = send().await.unwrap();
        assert_eq!(complete.id(), handle);
        issued.push(complete);
    }
    for handle in &issued {
        assert_eq!(status_of(handle).await.state, JobState::Queued);
    }
    let worker = world.jobs.worker(()).on(async |job: Task| Ok(job.n));
    assert_eq!(worker.drain().await.succeeded, 50);
    for (n, handle) in (0..).zip(&issued) {
        assert_eq!(handle.wait(secs(1)).await.unwrap(), n);
    }
}

#[tokio::test]
async fn a_send_whose_outcome_is_unknown_keeps_its_status() {
    let world = World::new();
    let _time = world.run_time(secs(1));
    world.queue.faults.send.set(Fault::LosesAnswers);
    let (id, handle) = (JobId::random(), StatusHandle::random());
    let error = world.jobs.send(task(1)).id(id, handle).await.unwrap_err();
    assert!(matches!(error, SendError::Backend(_)));
    assert_eq!(world.status.get(&handle).await.unwrap().unwrap().state, JobState::Queued);
    assert_eq!(world.stats().await.ready, 1);
}
