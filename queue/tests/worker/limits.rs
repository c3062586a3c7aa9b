//! How much runs at once, how often, and from which queue.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standfast_core::Clock;
use standfast_queue::{
    JobContext, JobError, JobState, Jobs, KindConfig, MemoryQueue, MemoryStatusStore, Queue,
};
use tokio::sync::Notify;

use crate::support::{
    Task, World, config, millis, retry_after, secs, soon, start, status_of, task, until,
    until_state,
};

/// Counts how many are inside at once.
#[derive(Clone, Default)]
struct Inside(Arc<(AtomicUsize, AtomicUsize, AtomicUsize)>);

impl Inside {
    async fn visit(&self) {
        let (now, most, total) = &*self.0;
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        now.fetch_sub(1, SeqCst);
        total.fetch_add(1, SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(SeqCst)
    }

    fn total(&self) -> usize {
        self.0.2.load(SeqCst)
    }
}

async fn visit(_: Task, inside: Inside) -> Result<u64, JobError> {
    inside.visit().await;
    Ok(0)
}

async fn send_many(jobs: &Jobs, count: u64) {
    for n in 0..count {
        jobs.send(task(n)).detached().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_never_runs_more_jobs_at_once_than_it_may() {
    for prefetch in [0, 7] {
        let world = World::new();
        let other = World::new();
        send_many(&world.jobs, 300).await;
        send_many(&other.jobs, 300).await;
        let inside = Inside::default();
        let worker = world.jobs.worker(inside.clone()).on(visit).also_from(other.jobs.clone(), 2);
        let worker = start(worker.config(config(|config| {
            (config.concurrency, config.prefetch) = (4, prefetch);
        })));
        until("all have run", async || inside.total() == 600).await;
        assert_eq!(inside.most(), 4);
        assert_eq!(worker.stop().await.succeeded, 600);
    }
}

#[tokio::test]
async fn a_kind_never_runs_more_jobs_at_once_than_it_may() {
    let world = World::new();
    send_many(&world.jobs, 60).await;
    let inside = Inside::default();
    let kind = KindConfig::default().concurrency(2);
    let worker = start(world.jobs.worker(inside.clone()).on_with(kind, visit));
    let _time = world.run_time(millis(50));
    until("all have run", async || inside.total() == 60).await;
    assert_eq!(inside.most(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn a_kind_starts_no_more_often_than_it_may() {
    let world = World::new();
    send_many(&world.jobs, 100).await;
    let starts = Arc::new(Mutex::new(Vec::new()));
    let (clock, noted) = (world.clock.clone(), Arc::clone(&starts));
    let kind = KindConfig::default().rate(10.0);
    let worker = start(world.jobs.worker(()).on_with(kind, move |_: Task| {
        noted.lock().unwrap().push(clock.instant());
        async { Ok(0) }
    }));
    world
        .pass_until(millis(10), "all have run", async || starts.lock().unwrap().len() == 100)
        .await;
    let starts = starts.lock().unwrap().clone();
    let took = starts[99] - starts[0];
    assert!((secs(9)..secs(15)).contains(&took), "{took:?}");
    for window in starts.windows(13) {
        assert!(window[12] - window[0] >= secs(1), "13 starts within a second");
    }
    let report = worker.stop().await;
    // each waits for its own time instead of coming back with all others
    assert!(report.released < 400, "{report:?}");
}

#[tokio::test]
async fn a_kind_that_keeps_failing_is_paused_and_tried_by_one_job_until_it_works() {
    let world = World::new();
    let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let runs = Arc::new(AtomicUsize::new(0));
    let kind = retry_after(secs(1)).breaker(3, secs(60));
    let (noted, ok) = (Arc::clone(&runs), Arc::clone(&works));
    let worker = world.jobs.worker(()).on_with(kind, move |_: Task| {
        noted.fetch_add(1, SeqCst);
        let ok = ok.load(SeqCst);
        async move { if ok { Ok(0) } else { Err(JobError::retry("the service is down")) } }
    });
    // one at a time, so that what fails before the breaker opens is known
    let worker = start(worker.concurrency(1));
    send_many(&world.jobs, 10).await;
    until("it opens", async || runs.load(SeqCst) == 3).await;
    world.pass(secs(50), secs(1)).await;
    assert_eq!(runs.load(SeqCst), 3, "paused");
    world.pass_until(secs(1), "one tries", async || runs.load(SeqCst) == 4).await;
    world.pass(secs(50), secs(1)).await;
    assert_eq!(runs.load(SeqCst), 4, "paused again");
    works.store(true, SeqCst);
    let all_done = async || world.stats().await == Default::default();
    world.pass_until(secs(1), "all are done", all_done).await;
    let report = worker.stop().await;
    assert_eq!((report.retried, report.succeeded), (4, 10));
}

#[tokio::test]
async fn a_probe_that_is_lost_is_followed_by_another() {
    let world = World::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let kind = retry_after(secs(1)).breaker(1, secs(60));
    let noted = Arc::clone(&runs);
    let worker = start(world.jobs.worker(()).on_with(kind, move |_: Task| {
        let run = noted.fetch_add(1, SeqCst);
        async move {
            match run {
                0 => Err(JobError::retry("down")),
                1 => Err(JobError::snooze(secs(1))), // says nothing about the service
                _ => Ok(0),
            }
        }
    }));
    let handle = world.jobs.send(task(1)).await.unwrap();
    let done = async || status_of(&handle).await.state == JobState::Succeeded;
    world.pass_until(secs(1), "it succeeds", done).await;
    assert_eq!(runs.load(SeqCst), 3);
    worker.stop().await;
}

fn real_jobs() -> (Jobs, MemoryQueue) {
    let queue = MemoryQueue::new();
    (Jobs::new(queue.clone(), MemoryStatusStore::new()), queue)
}

#[tokio::test]
async fn queues_get_slots_by_their_weight() {
    let ((heavy, _), (light, _)) = (real_jobs(), real_jobs());
    for _ in 0..1000 {
        heavy.send(task(3)).detached().await.unwrap();
        light.send(task(1)).detached().await.unwrap();
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&order);
    let worker = light.worker(()).also_from(heavy, 3).concurrency(4).on(move |job: Task| {
        noted.lock().unwrap().push(job.n);
        async {
            tokio::task::yield_now().await;
            Ok(0)
        }
    });
    let worker = start(worker);
    until("enough have run", async || order.lock().unwrap().len() >= 900).await;
    worker.stop().await;
    let heavy = order.lock().unwrap()[100..900].iter().filter(|n| **n == 3).count();
    assert!((560..=640).contains(&heavy), "{heavy} of 800, 600 were due");
}

#[tokio::test]
async fn a_queue_without_jobs_holds_no_slot() {
    let ((idle, _), (busy, _)) = (real_jobs(), real_jobs());
    send_many(&busy, 200).await;
    let inside = Inside::default();
    let worker = idle.worker(inside.clone()).also_from(busy.clone(), 1).concurrency(1).on(visit);
    let worker = start(worker);
    soon(until("all have run", async || inside.total() == 200)).await;
    // and it is heard as soon as it has one
    send_many(&idle, 1).await;
    soon(until("it ran", async || inside.total() == 201)).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_job_without_a_slot_is_left_to_others() {
    let ((first, _), (second, queue)) = (real_jobs(), real_jobs());
    let end = Arc::new(Notify::new());
    let worker = first.worker(Arc::clone(&end)).also_from(second.clone(), 1).concurrency(1).on(
        async |_: Task, end: Arc<Notify>, ctx: JobContext| {
            end.notified().await;
            Ok(ctx.attempt().into())
        },
    );
    let busy = start(worker);
    let long = first.send(task(1)).await.unwrap();
    until_state(&long, JobState::Running).await;
    let handle = second.send(task(2)).await.unwrap();
    let other =
        start(second.worker(()).on(async |_: Task, ctx: JobContext| Ok(ctx.attempt().into())));
    assert_eq!(soon(handle.wait(secs(10))).await.unwrap(), 1);
    assert_eq!(queue.stats().await.unwrap().leased, 0);
    end.notify_one();
    assert_eq!(soon(long.wait(secs(10))).await.unwrap(), 1);
    busy.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn prefetched_jobs_are_refilled_one_by_one_and_released_uncounted_by_a_stop() {
    let world = World::new();
    let end = Arc::new(Notify::new());
    let worker = world.jobs.worker(Arc::clone(&end)).on(async |_: Task, end: Arc<Notify>| {
        end.notified().await;
        Ok(0)
    });
    let worker = start(worker.config(config(|config| {
        (config.concurrency, config.prefetch) = (1, 3);
    })));
    let mut handles = Vec::new();
    for n in 0..10 {
        handles.push(world.jobs.send(task(n)).await.unwrap());
    }
    until("four are here", async || world.stats().await.leased == 4).await;
    end.notify_one();
    until_state(&handles[1], JobState::Running).await;
    until("four are here again", async || world.stats().await.leased == 4).await;

    worker.begin_stop();
    until("three are given back", async || world.stats().await.ready == 8).await;
    end.notify_one();
    let report = worker.ended().await;
    assert_eq!((report.succeeded, report.released), (2, 3));
    let other = world.jobs.worker(()).on(async |_: Task, ctx: JobContext| Ok(ctx.attempt().into()));
    assert_eq!(other.drain().await.succeeded, 8);
    for handle in &handles[2..] {
        assert_eq!(soon(handle.wait(Duration::ZERO)).await.unwrap(), 1, "no attempt was counted");
    }
}
