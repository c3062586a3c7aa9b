//! Web instances that wait, die and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use standfast_core::testkit::ManualClock;
use standfast_core::{ErrorKind, Result};
use standfast_queue::{
    CancelOutcome, Handle, JobError, JobState, KindConfig, MemoryQueue, MemoryQueueConfig, Queue,
    ReceiveOptions, RetryPolicy, StatusHandle, WaitError,
};

use crate::support::{LONG, Sum, Web, numbers, opens, sum, worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_instance_learns_the_results_of_its_own_jobs() {
    let (jobs, own) = (MemoryQueue::new(), [MemoryQueue::new(), MemoryQueue::new()]);
    let webs =
        [Web::start("web-0", &jobs, own[0].clone()), Web::start("web-1", &jobs, own[1].clone())];
    let open = move |name: &str| -> Result<Arc<dyn Queue>> {
        let index: usize = name.trim_start_matches("web-").parse().expect("one of two");
        Ok(Arc::new(own[index].clone()))
    };
    let (answers, worker) = worker(&jobs, open);
    tokio::spawn(worker.worker(()).on(sum).run_until(std::future::pending()));
    let mut handles: Vec<Vec<Handle<Sum>>> = Vec::new();
    for (index, web) in webs.iter().enumerate() {
        let mut own = Vec::new();
        for number in 0..50 {
            let job = numbers(&[number, 1000 * index as u64]);
            own.push(web.jobs.send(job).await.expect("it is sent"));
        }
        handles.push(own);
    }
    for (index, own) in handles.iter().enumerate() {
        for (number, handle) in own.iter().enumerate() {
            let result = handle.wait(LONG).await.expect("it is told");
            assert_eq!(result, number as u64 + 1000 * index as u64);
            let status = handle.status().await.expect("memory").expect("it is kept");
            assert_eq!(status.progress.done, 2, "progress is told too");
        }
    }
    let dead = webs[1].jobs.send(numbers(&[])).await.expect("it is sent");
    match dead.wait(LONG).await {
        Err(WaitError::Failed(failure)) => assert_eq!(failure.message, "nothing to add"),
        other => panic!("{other:?}"),
    }
    let elsewhere = webs[0].jobs.handle::<Sum>(dead.id());
    assert!(elsewhere.status().await.expect("memory").is_none(), "only the sender knows");
    // settled a moment after it was told
    while !format!("{answers:?}").contains("known: 0") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_to_a_dead_instance_is_learnt_by_the_next_in_its_place() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let handle = web.jobs.send(numbers(&[1, 2])).await.expect("it is sent");
    let id = handle.id();
    web.kill().await;
    let (_, at_work) = worker(&jobs, opens(&own));
    let report = at_work.worker(()).on(sum).drain().await;
    assert_eq!(report.succeeded, 1, "the job runs all the same");
    let web = Web::start("web-0", &jobs, own.clone());
    // before the first reply the handle is not known here
    while web.jobs.status().get(&id).await.expect("memory").is_none() {
        tokio::task::yield_now().await;
    }
    let again = web.jobs.handle::<Sum>(id);
    assert_eq!(again.wait(LONG).await.expect("it is told"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_dies_between_a_step_and_its_ack_applies_it_again() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let handle = web.jobs.send(numbers(&[1, 2])).await.expect("it is sent");
    let (_, at_work) = worker(&jobs, opens(&own));
    web.receives.abort();
    at_work.worker(()).on(sum).drain().await;
    // received and not acked
    let brief = ReceiveOptions::new(10).lease(Duration::ZERO);
    let seen = own.receive(&brief).await.expect("memory").deliveries.len();
    assert!(seen >= 2, "running and its end were told: {seen}");
    let receiver = web.replies.clone();
    tokio::spawn(async move { receiver.run_until(std::future::pending()).await });
    assert_eq!(handle.wait(LONG).await.expect("it is told"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_seen_where_it_is_waited_for() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let (_, at_work) = worker(&jobs, opens(&own));
    let tries = Arc::new(AtomicU32::new(0));
    let flaky = {
        let tries = Arc::clone(&tries);
        move |job: Sum| {
            let tries = Arc::clone(&tries);
            async move {
                match tries.fetch_add(1, Ordering::SeqCst) {
                    0 => Err(JobError::retry("no disk").with_detail("/dev/full")),
                    _ => Ok(job.numbers.iter().sum::<u64>()),
                }
            }
        }
    };
    let handle = web.jobs.send(numbers(&[4])).await.expect("it is sent");
    let mut policy = RetryPolicy::default();
    policy.backoff = standfast_core::Backoff::new(LONG, LONG);
    let flaky = at_work.worker(()).on_with(KindConfig::default().retry(policy), flaky);
    tokio::spawn(flaky.run_until(std::future::pending()));
    let mut seen = 0;
    loop {
        let status = web.jobs.status().wait(&handle.id(), seen, LONG).await.expect("memory");
        let status = status.expect("it is known");
        seen = status.version;
        if status.delivery == 2 {
            assert_eq!((status.state, status.attempt), (JobState::Queued, 2));
            let error = status.error.as_ref().expect("why it waits");
            assert_eq!(error.message, "no disk");
            assert!(status.retry_at.is_some(), "and until when");
            break;
        }
    }
}

#[tokio::test]
async fn a_crashed_job_that_the_store_buries_is_told() {
    let clock = ManualClock::new();
    let mut config = MemoryQueueConfig::default();
    (config.clock, config.max_crashes) = (Arc::new(clock.clone()), 1);
    let jobs = MemoryQueue::with_config(config);
    let own = MemoryQueue::new();
    let web = Web::start("web-0", &jobs, own.clone());
    let handle = web.jobs.send(numbers(&[1])).await.expect("it is sent");
    // a worker that dies with it
    let died = jobs.receive(&ReceiveOptions::new(1)).await.expect("memory");
    assert_eq!(died.deliveries.len(), 1);
    clock.advance(Duration::from_secs(60));
    let (_, at_work) = worker(&jobs, opens(&own));
    tokio::spawn(at_work.worker(()).on(sum).run_until(std::future::pending()));
    assert!(matches!(handle.wait(LONG).await, Err(WaitError::Failed(_))), "its end is told");
}

#[tokio::test]
async fn nobody_can_be_asked_to_end() {
    let jobs = MemoryQueue::new();
    let web = Web::start("web-0", &jobs, MemoryQueue::new());
    let handle = web.jobs.send(numbers(&[1])).await.expect("it is sent");
    let error = handle.cancel().await.expect_err("it cannot be done");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let nobody = web.jobs.handle::<Sum>(StatusHandle::random());
    assert_eq!(nobody.cancel().await.expect("memory"), CancelOutcome::Unknown);
}
