//! The record of a tick is a write-once register per attempt: recorded histories of many threads
//! must be explained by calls that happened one after the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Clock, Fence, SystemClock};
use standfast_cron_lock::{
    ClaimOptions, CronLock, CronLockConfig, MemoryCronLock, Owner, Settlement,
};
use tokio::task::JoinSet;

use crate::broken::{Broken, Fault};
use crate::register::{Answer, Call, End, Step, is_linearizable};

const THREADS: usize = 4;

/// What `THREADS` owners did to one tick at the same time.
async fn history(lock: &Arc<dyn CronLock>, at: DateTime<Utc>, round: usize) -> Vec<Step> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let time = Arc::new(AtomicU64::new(0));
    let start = Arc::new(tokio::sync::Barrier::new(THREADS));
    let mut threads = JoinSet::new();
    for thread in 0..THREADS {
        let (lock, steps, start) = (Arc::clone(lock), Arc::clone(&steps), Arc::clone(&start));
        let time = Arc::clone(&time);
        threads.spawn(async move {
            let owner = Owner::new(format!("owner-{thread}"));
            let options = ClaimOptions::new(Duration::from_secs(60));
            let tick = || time.fetch_add(1, Ordering::SeqCst);
            let note = |begun, call, answer| {
                let answered = Some((tick(), answer));
                steps.lock().unwrap().push(Step { begun, call, answered });
            };
            start.wait().await;
            for step in 0..2 {
                let begun = tick();
                // a call takes less than a thread needs to begin, so give the others their chance
                tokio::task::yield_now().await;
                let answer = Answer::from(&lock.claim(at, &owner, &options).await.unwrap());
                if round.is_multiple_of(2) {
                    tokio::task::yield_now().await;
                }
                note(begun, Call::Claim, answer);
                let Answer::Won { fence, .. } = answer else { continue };
                let is_last = step == 1 || (thread + round).is_multiple_of(3);
                let settlement = if is_last { Settlement::finish([]) } else { Settlement::Abandon };
                let begun = tick();
                tokio::task::yield_now().await;
                let answer = Answer::from(&lock.settle(at, fence, &settlement).await.unwrap());
                note(begun, Call::Settle(fence, End::from(&settlement)), answer);
            }
        });
    }
    threads.join_all().await;
    Arc::into_inner(steps).unwrap().into_inner().unwrap()
}

/// Whether any two calls were under way at the same time.
fn is_overlapping(steps: &[Step]) -> bool {
    let ends = |step: &Step| step.answered.map_or(u64::MAX, |(at, _)| at);
    steps.iter().enumerate().any(|(number, one)| {
        steps[..number].iter().any(|other| one.begun < ends(other) && other.begun < ends(one))
    })
}

/// How many of `rounds` histories can be explained, and how many had calls that overlapped.
async fn explained(lock: Arc<dyn CronLock>, rounds: usize) -> (usize, usize) {
    let config = lock.capabilities().config;
    let span = config.resolution * u32::try_from(rounds).unwrap();
    let first = config.tick_at(lock.now().await.unwrap() - span);
    let (mut explained, mut overlapping) = (0, 0);
    for round in 0..rounds {
        let at = first + config.resolution * u32::try_from(round).unwrap();
        let steps = history(&lock, at, round).await;
        overlapping += usize::from(is_overlapping(&steps));
        explained += usize::from(is_linearizable(&steps));
    }
    (explained, overlapping)
}

fn memory() -> MemoryCronLock {
    let mut config = CronLockConfig::default();
    config.max_late = Duration::from_secs(24 * 60 * 60);
    MemoryCronLock::with_config("linear", config, Arc::new(SystemClock)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_claims_and_settlements_are_linearizable() {
    let (explained, overlapping) = explained(Arc::new(memory()), 500).await;
    println!("500 histories of {THREADS} threads, {overlapping} with overlapping calls");
    assert_eq!(explained, 500);
    assert!(overlapping > 400, "{overlapping}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_winners_are_not_linearizable() {
    for fault in [Fault::WinsTwice, Fault::ForgetsFinishedTicks] {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let lock = Broken { inner: Arc::new(memory()), clock, fault };
        let (explained, _) = explained(Arc::new(lock), 50).await;
        assert!(explained < 50, "{fault:?}");
    }
}

/// Calls one after the other: each begins when the one before was answered.
fn in_order(calls: &[(Call, Option<Answer>)]) -> Vec<Step> {
    let steps = calls.iter().enumerate().map(|(number, (call, answer))| {
        let begun = 2 * u64::try_from(number).unwrap();
        Step { begun, call: *call, answered: answer.map(|answer| (begun + 1, answer)) }
    });
    steps.collect()
}

fn won(fence: u64, at: i64, until: i64) -> (Call, Option<Answer>) {
    let [at, until] = [at, until].map(|second| DateTime::from_timestamp(second, 0).unwrap());
    (Call::Claim, Some(Answer::Won { fence: Fence::new(fence), at, until }))
}

#[test]
fn a_takeover_is_explained_only_when_the_lease_was_over() {
    let end = |fence, answer| (Call::Settle(Fence::new(fence), End::Finish), Some(answer));
    assert!(is_linearizable(&in_order(&[won(1, 0, 10), won(2, 10, 20)])));
    assert!(!is_linearizable(&in_order(&[won(1, 0, 10), won(2, 9, 20)])));
    assert!(!is_linearizable(&in_order(&[won(2, 0, 10), won(1, 10, 20)])), "fences rise");
    let (settled, fenced) = (Answer::Settled, Answer::Fenced(Fence::new(2)));
    let taken = [won(1, 0, 10), won(2, 10, 20)];
    assert!(is_linearizable(&in_order(&[taken[0], taken[1], end(1, fenced), end(2, settled)])));
    assert!(!is_linearizable(&in_order(&[taken[0], taken[1], end(1, settled)])));
    assert!(!is_linearizable(&in_order(&[won(1, 0, 10), end(1, settled), won(2, 10, 20)])));
}

#[test]
fn a_call_of_which_nobody_knows_may_have_taken_effect_or_not() {
    let (lost, held) = ((Call::Claim, None), (Call::Claim, Some(Answer::Held(Fence::new(5)))));
    assert!(is_linearizable(&in_order(&[lost, held])));
    assert!(!is_linearizable(&in_order(&[held])));
    assert!(is_linearizable(&in_order(&[lost, won(7, 3, 13)])));
    assert!(!is_linearizable(&in_order(&[lost, held, won(5, 3, 13)])), "another grant");
    let lost_end = (Call::Settle(Fence::new(1), End::Finish), None);
    let finished = (Call::Claim, Some(Answer::Finished(Fence::new(1), None)));
    assert!(is_linearizable(&in_order(&[won(1, 0, 10), lost_end, finished])));
    assert!(!is_linearizable(&in_order(&[won(1, 0, 10), finished])));
}
