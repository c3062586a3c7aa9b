//! The script and the rule of the crate say the same, whatever comes.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use standfast_core::SessionRef;
use standfast_core::testkit::redis;
use standfast_queue::testkit::Dice;
use standfast_queue::{
    Advance, CancelOutcome, JobFailure, JobState, JobStatus, Progress, StatusHandle, StatusStore,
    StatusUpdate,
};

use crate::support::{DAY, namespace, store_in};

const STEPS: usize = 6000;

/// Numbers around what a Lua number holds, and such as sort otherwise as text.
const UNITS: [u64; 12] = [
    0,
    1,
    9,
    10,
    99,
    100,
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    (1 << 53) + 2,
    u64::MAX - 1,
    u64::MAX,
];

const DELAYS: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_nanos(999_999_999),
    Duration::from_micros(1_500_000),
    Duration::from_secs(366 * 24 * 60 * 60),
    // around the last time there is, and beyond
    Duration::from_secs(8_208_000_000_000),
    Duration::from_secs(8_210_266_876_800),
    Duration::MAX,
];

const STATES: [JobState; 9] = [
    JobState::Queued,
    JobState::Queued,
    JobState::Running,
    JobState::Running,
    JobState::Running,
    JobState::Running,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
];

fn update(dice: &mut Dice, owners: &[SessionRef]) -> StatusUpdate {
    let mut number = |below| u32::try_from(dice.below(below)).expect("small") + 1;
    let (run, attempt, delivery) = (number(3), number(3), number(4));
    let kind = *dice.pick(&["report", "mail", ""]);
    let mut update = StatusUpdate::new(kind, *dice.pick(&STATES));
    update = update.execution(run, attempt, delivery);
    if dice.one_in(2) {
        let total = (!dice.one_in(3)).then(|| *dice.pick(&UNITS));
        let mut progress = Progress::new(*dice.pick(&UNITS), total);
        if dice.one_in(2) {
            progress = progress.message(*dice.pick(&["", "reading", "größer \0 als\r\n"]));
        }
        update = update.progress(progress);
    }
    if dice.one_in(3) {
        update = update.checkpoint(dice.pick(&[&b""[..], b"\x00\xff", &[7; 200]]).to_vec());
    }
    if dice.one_in(3) {
        let results = [json!(null), json!(""), json!({"rows": u64::MAX, "list": [1, [], {}]})];
        update = update.result(dice.pick(&results).clone());
    }
    if dice.one_in(3) {
        let mut error = JobFailure::new(*dice.pick(&["", "no disk"]));
        if dice.one_in(2) {
            error = error.detail(*dice.pick(&["", "/dev/full"]));
        }
        update = update.error(error);
    }
    if dice.one_in(4) {
        update = update.owner(Some(*dice.pick(owners)));
    }
    if dice.one_in(4) {
        update = update.retry_in(*dice.pick(&DELAYS));
    }
    update
}

#[tokio::test]
async fn every_answer_is_that_of_the_rule() {
    let Some(redis) = redis::single() else { return };
    let store = store_in(&redis.url(), &namespace());
    let mut dice = Dice::new();
    let owners = [(); 2].map(|()| SessionRef::random());
    let handles = [(); 12].map(|()| StatusHandle::random());
    let mut model: HashMap<StatusHandle, JobStatus> = HashMap::new();
    let mut newest: HashMap<StatusHandle, u64> = HashMap::new();
    let mut met = HashMap::<&str, usize>::new();
    for number in 0..STEPS {
        let handle = dice.pick(&handles);
        match dice.below(20) {
            0 => {
                let removed = store.remove(handle).await.expect("the store answers");
                assert_eq!(removed, model.remove(handle).is_some(), "step {number}");
            }
            1 | 2 => {
                let outcome = store.request_cancel(handle).await.expect("the store answers");
                let after = store.get(handle).await.expect("the store answers");
                let expected = match (model.get_mut(handle), &after) {
                    (Some(status), Some(after)) => status.cancel(after.updated_at),
                    _ => CancelOutcome::Unknown,
                };
                assert_eq!(outcome, expected, "step {number}");
                *met.entry("cancelled").or_default() +=
                    usize::from(outcome == CancelOutcome::Cancelled);
            }
            _ => {
                let update = update(&mut dice, &owners);
                let answer = store.advance(handle, &update, DAY).await;
                let answer = answer.expect("the store answers");
                let what = format!("step {number}: {update:?} after {:?}", model.get(handle));
                match answer {
                    Advance::Applied(status) => {
                        let now = status.updated_at;
                        if let Some(known) = model.get_mut(handle) {
                            assert!(known.precedes(&update), "{what} is refused");
                            assert!(now >= known.updated_at, "{what}: time goes on");
                            known.apply(&update, now);
                        } else {
                            let mut first = JobStatus::first(&update, now);
                            first.version = status.version;
                            let above = newest.get(handle).is_none_or(|old| status.version > *old);
                            assert!(above, "{what}: a new life has new versions");
                            model.insert(*handle, first);
                        }
                        assert_eq!(*status, model[handle], "{what}");
                        *met.entry("applied").or_default() += 1;
                    }
                    Advance::Refused(status) => {
                        assert!(!model[handle].precedes(&update), "{what} is applied");
                        assert_eq!(*status, model[handle], "{what}");
                        *met.entry("refused").or_default() += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let stored = store.get(handle).await.expect("the store answers");
        assert_eq!(stored.as_deref(), model.get(handle), "step {number}: what is stored");
        if let Some(stored) = stored {
            newest.insert(*handle, stored.version);
        }
    }
    for (what, at_least) in [("applied", 500), ("refused", 500), ("cancelled", 5)] {
        assert!(met[what] >= at_least, "the dice have met {met:?}");
    }
}

#[tokio::test]
async fn progress_is_compared_to_the_last_digit() {
    let Some(redis) = redis::single() else { return };
    let store = store_in(&redis.url(), &namespace());
    for stored in UNITS {
        for next in UNITS {
            let handle = StatusHandle::random();
            for (number, done) in [stored, next].into_iter().enumerate() {
                let busy = StatusUpdate::new("report", JobState::Running);
                let busy = busy.progress(Progress::new(done, None));
                let answer = store.advance(&handle, &busy, DAY).await.expect("no error");
                let later = number == 0 || next >= stored;
                assert_eq!(answer.is_applied(), later, "{stored}, then {next}");
            }
        }
    }
}
