use std::collections::BTreeSet;

use standfast_core::{ErrorKind, JobId};

use super::{Fixture, MINUTE, won};
use crate::testkit::CronLockHarness;
use crate::{Claim, CronLockConfig, Owner, RecordQuery, SettleOutcome, Settlement};

/// L2, L6: when the lease is over the record is still there.
pub async fn a_record_outlives_its_lease(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let claimed = f.win(f.at).await;
    for _ in 0..3 {
        f.outlive_the_lease().await;
    }
    let record = f.record(f.at).await;
    assert_eq!((record.fence, record.lease_until), (claimed.tick.fence, claimed.lease_until));
}

/// L2: whatever a record can hold comes back as it went in.
pub async fn a_record_is_read_as_it_was_written(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let (plain, odd) = (Owner::new(""), Owner::new("ürgh, \"web\"\n\0{1}".repeat(14)));
    let options = f.options.clone().with_schedules(["a", "B-2_c.d"]);
    let first = won(f.one.claim(f.at, &odd, &options).await.unwrap());
    let let_go = f.one.settle(f.at, first.tick.fence, &Settlement::Abandon).await.unwrap();
    assert_eq!(let_go, SettleOutcome::Settled);
    let second = won(f.one.claim(f.at, &plain, &options).await.unwrap());
    let why = "no \"queue\", naïvement\r\n\0".repeat(100);
    let failed = f.one.settle(f.at, second.tick.fence, &Settlement::fail(&why)).await.unwrap();
    assert_eq!(failed, SettleOutcome::Settled);
    let record = f.record(f.at).await;
    assert_eq!((&record.owner, &record.former[0].owner), (&plain, &odd));
    assert_eq!(record.error.as_deref(), Some(&why[..]));
    assert_eq!(record.schedules, names(&["a", "B-2_c.d"]));
    assert_eq!((record.first_claimed_at, record.claimed_at), (first.now, second.now));
    assert_eq!((record.attempt, record.crashes, record.previous), (2, 0, None));

    let next = f.at + MINUTE;
    let third = won(f.one.claim(next, &plain, &f.options).await.unwrap());
    let jobs: Vec<_> = (0..100).map(|_| JobId::random()).collect();
    let finish = Settlement::finish(jobs.clone());
    let done = f.one.settle(next, third.tick.fence, &finish).await.unwrap();
    assert_eq!(done, SettleOutcome::Settled);
    let record = f.record(next).await;
    assert_eq!((record.jobs, record.error, record.previous), (jobs, None, Some(f.at)));
    assert!(record.finished_at.is_some_and(|at| at >= third.now));
}

/// L2, L6: after its retention a record goes, and its tick is too old rather than free.
pub async fn a_forgotten_tick_is_not_claimed_again(harness: &dyn CronLockHarness) {
    let lease = harness.lease();
    let mut config = CronLockConfig::default();
    (config.resolution, config.max_lease, config.max_late) = (lease / 2, lease, lease * 4);
    config.retention = lease * 6;
    let f = Fixture::with_config(harness, config).await;
    let claimed = f.win(f.at).await;
    let done = f.one.settle(f.at, claimed.tick.fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(done, SettleOutcome::Settled);
    harness.pass(lease * 4).await;
    assert!(matches!(f.rival(f.at).await, Claim::Finished(_)));
    harness.pass(lease * 3).await;
    let Claim::TooOld { cursor, .. } = f.rival(f.at).await else { panic!("it was done before") };
    assert_eq!(cursor, Some(f.at));
    assert!(f.two.records(&RecordQuery::default()).await.unwrap().is_empty());
    let late = f.one.settle(f.at, claimed.tick.fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(late, SettleOutcome::Missing);
}

/// L10: the winner learns what came before, and so what was missed.
pub async fn a_claim_learns_the_tick_before_it(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let first = f.win(f.at - MINUTE * 7).await;
    assert_eq!((first.tick.previous, first.missed(MINUTE)), (None, 0));
    let second = f.win(f.at).await;
    assert_eq!(second.tick.previous, Some(first.tick.at));
    assert_eq!(second.missed(MINUTE), 6);
    let third = won(f.rival(f.at + MINUTE).await);
    assert_eq!((third.tick.previous, third.missed(MINUTE)), (Some(f.at), 0));
    assert_eq!(f.record(f.at).await.previous, Some(first.tick.at));
}

/// L10: a missed tick was covered by the one after it; claiming it now would cover it twice.
pub async fn a_tick_behind_the_cursor_is_too_old(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    f.win(f.at - MINUTE * 2).await;
    f.win(f.at).await;
    let Claim::TooOld { cursor, .. } = f.rival(f.at - MINUTE).await else {
        panic!("a later tick was claimed")
    };
    assert_eq!(cursor, Some(f.at));
}

/// L10: a schedule that the record before does not name is new.
pub async fn a_claim_learns_which_schedules_are_known(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let options = f.options.clone().with_schedules(["invoices", "sync"]);
    let first = won(f.one.claim(f.at, &f.owner, &options).await.unwrap());
    assert!(first.known.is_empty());
    let second = f.win(f.at + MINUTE).await;
    assert_eq!(second.known, names(&["invoices", "sync"]));
    assert_eq!(f.win(f.at + MINUTE * 2).await.known, names(&[]));
    let record = f.record(f.at).await;
    assert_eq!((record.schedules, record.known), (names(&["invoices", "sync"]), names(&[])));
}

/// L10: as many schedules as a claim may name, with the longest names.
pub async fn a_thousand_schedules_are_known(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let ids: BTreeSet<_> = (0..1000).map(|n| format!("{n:04}{}", "x".repeat(76))).collect();
    let all = f.options.clone().with_schedules(ids.clone());
    won(f.one.claim(f.at, &f.owner, &all).await.unwrap());
    assert_eq!(f.win(f.at + MINUTE).await.known, ids);
    let one_more = all.with_schedules(ids.iter().cloned().chain(["one-more".to_owned()]));
    let refused = f.one.claim(f.at + MINUTE * 2, &f.owner, &one_more).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// L10: across a takeover by another release both releases' schedules are known afterwards, and
/// the takeover sees what the first owner saw.
pub async fn what_any_owner_evaluated_is_known_to_the_next_tick(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let with = |ids: &[&'static str]| f.options.clone().with_schedules(ids.iter().copied());
    won(f.one.claim(f.at - MINUTE, &f.owner, &with(&["base"])).await.unwrap());
    won(f.one.claim(f.at, &f.owner, &with(&["base", "old"])).await.unwrap());
    f.outlive_the_lease().await;
    let taken = won(f.two.claim(f.at, &f.other, &with(&["base", "new"])).await.unwrap());
    assert_eq!(taken.known, names(&["base"]));
    assert_eq!(f.win(f.at + MINUTE).await.known, names(&["base", "new", "old"]));
}

/// L10: a store that lost everything does not fire a backlog.
pub async fn an_empty_store_makes_up_for_nothing(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let claimed = f.win(f.at).await;
    assert_eq!((claimed.tick.previous, claimed.missed(MINUTE)), (None, 0));
    for minutes in 1..30 {
        let answer = f.rival(f.at - MINUTE * minutes).await;
        assert!(matches!(answer, Claim::TooOld { .. }), "{answer:?}");
    }
}

/// L10: the ledger can be read whole or in part.
pub async fn records_are_read_in_order_and_in_pages(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let ticks: Vec<_> = (0..5).map(|step| f.at - MINUTE * 10 + MINUTE * 2 * step).collect();
    for at in &ticks {
        f.win(*at).await;
    }
    let read = async |after: Option<usize>, until: Option<usize>, limit| {
        let query =
            RecordQuery { after: after.map(|i| ticks[i]), until: until.map(|i| ticks[i]), limit };
        let records = f.two.records(&query).await.unwrap();
        records.into_iter().map(|record| record.at).collect::<Vec<_>>()
    };
    assert_eq!(read(None, None, 1_000).await, ticks);
    assert_eq!(read(None, None, 2).await, ticks[..2]);
    assert_eq!(read(Some(1), None, 2).await, ticks[2..4]);
    assert_eq!(read(Some(1), Some(2), 9).await, ticks[2..3]);
    assert!(read(Some(4), None, 9).await.is_empty());
    assert!(read(None, None, 0).await.is_empty());
    let limit = f.two.capabilities().max_records + 1;
    let query = RecordQuery { limit, ..RecordQuery::default() };
    assert_eq!(f.two.records(&query).await.unwrap_err().kind(), ErrorKind::Invalid);
}

fn names(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}
