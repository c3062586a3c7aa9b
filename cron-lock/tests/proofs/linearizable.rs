//! The record of a tick is a write-once register per attempt: recorded histories of many threads
//! must be explained by calls that happened one after the other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Clock, Fence, SystemClock};
use standfast_cron_lock::{
    Claim, ClaimOptions, CronLock, CronLockConfig, MemoryCronLock, Owner, SettleOutcome, Settlement,
};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use tokio::task::JoinSet;

use crate::broken::{Broken, Fault};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Claim,
    Settle(Fence, End),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Abandon,
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Won(Fence),
    Held(Fence),
    Finished(Fence),
    Settled,
    Fenced(Fence),
}

/// The record, one call after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Register {
    Empty,
    Claimed(Fence),
    Ended(Fence, End),
}

impl SequentialSpec for Register {
    type Op = Call;
    type Ret = Answer;

    fn invoke(&mut self, call: &Call) -> Answer {
        let answer = match (*self, *call) {
            (Self::Empty, Call::Claim) => Answer::Won(Fence::new(1)),
            (Self::Ended(fence, End::Abandon), Call::Claim) => {
                Answer::Won(Fence::new(fence.get() + 1))
            }
            (Self::Claimed(fence), Call::Claim) => Answer::Held(fence),
            (Self::Ended(fence, End::Finish), Call::Claim) => Answer::Finished(fence),
            (Self::Claimed(held), Call::Settle(fence, _)) if held == fence => Answer::Settled,
            (Self::Ended(held, how), Call::Settle(fence, end)) if (held, how) == (fence, end) => {
                Answer::Settled
            }
            (Self::Claimed(held) | Self::Ended(held, _), Call::Settle(..)) => Answer::Fenced(held),
            (Self::Empty, Call::Settle(fence, _)) => Answer::Fenced(fence),
        };
        self.enter(call, &answer);
        answer
    }

    fn is_valid_step(&mut self, call: &Call, answer: &Answer) -> bool {
        let mut alone = *self;
        let is_valid = match (alone.invoke(call), *answer) {
            // which one the store gives out is its own affair, if it is higher
            (Answer::Won(least), Answer::Won(fence)) => fence >= least,
            (expected, answer) => expected == answer,
        };
        self.enter(call, answer);
        is_valid
    }
}

impl Register {
    fn enter(&mut self, call: &Call, answer: &Answer) {
        match (call, answer) {
            (Call::Claim, Answer::Won(fence)) => *self = Self::Claimed(*fence),
            (Call::Settle(fence, end), Answer::Settled) => *self = Self::Ended(*fence, *end),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Invoked(usize, Call),
    Returned(usize, Answer),
}

const THREADS: usize = 4;

/// What `THREADS` owners did to one tick at the same time.
async fn history(lock: &Arc<dyn CronLock>, at: DateTime<Utc>, round: usize) -> Vec<Event> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let start = Arc::new(tokio::sync::Barrier::new(THREADS));
    let mut threads = JoinSet::new();
    for thread in 0..THREADS {
        let (lock, events, start) = (Arc::clone(lock), Arc::clone(&events), Arc::clone(&start));
        threads.spawn(async move {
            let owner = Owner::new(format!("owner-{thread}"));
            let options = ClaimOptions::new(Duration::from_secs(60));
            let note = |event| events.lock().unwrap().push(event);
            start.wait().await;
            for step in 0..2 {
                note(Event::Invoked(thread, Call::Claim));
                // a call takes less than a thread needs to begin, so give the others their chance
                tokio::task::yield_now().await;
                let answer = match lock.claim(at, &owner, &options).await.unwrap() {
                    Claim::Claimed(won) => Answer::Won(won.tick.fence),
                    Claim::Held(held) => Answer::Held(held.fence),
                    Claim::Finished(record) => Answer::Finished(record.fence),
                    other => panic!("{other:?}"),
                };
                if round.is_multiple_of(2) {
                    tokio::task::yield_now().await;
                }
                note(Event::Returned(thread, answer));
                let Answer::Won(fence) = answer else { continue };
                let is_last = step == 1 || (thread + round).is_multiple_of(3);
                let (end, settlement) = match is_last {
                    true => (End::Finish, Settlement::finish([])),
                    false => (End::Abandon, Settlement::Abandon),
                };
                note(Event::Invoked(thread, Call::Settle(fence, end)));
                tokio::task::yield_now().await;
                let answer = match lock.settle(at, fence, &settlement).await.unwrap() {
                    SettleOutcome::Settled => Answer::Settled,
                    SettleOutcome::Fenced { fence, .. } => Answer::Fenced(fence),
                    other => panic!("{other:?}"),
                };
                note(Event::Returned(thread, answer));
            }
        });
    }
    threads.join_all().await;
    Arc::into_inner(events).unwrap().into_inner().unwrap()
}

fn is_linearizable(events: &[Event]) -> bool {
    let mut tester = LinearizabilityTester::new(Register::Empty);
    for event in events {
        match *event {
            Event::Invoked(thread, call) => tester.on_invoke(thread, call).unwrap(),
            Event::Returned(thread, answer) => tester.on_return(thread, answer).unwrap(),
        };
    }
    tester.is_consistent()
}

/// How many of `rounds` histories can be explained, and how many had calls that overlapped.
async fn explained(lock: Arc<dyn CronLock>, rounds: usize) -> (usize, usize) {
    let config = lock.capabilities().config;
    let span = config.resolution * u32::try_from(rounds).unwrap();
    let first = config.tick_at(lock.now().await.unwrap() - span);
    let (mut explained, mut overlapping) = (0, 0);
    for round in 0..rounds {
        let at = first + config.resolution * u32::try_from(round).unwrap();
        let events = history(&lock, at, round).await;
        let mut open = 0;
        overlapping += usize::from(events.iter().any(|event| {
            open += if matches!(event, Event::Invoked(..)) { 1 } else { -1 };
            open > 1
        }));
        explained += usize::from(is_linearizable(&events));
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
