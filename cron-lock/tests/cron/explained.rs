//! Why a run did or did not happen.

use standfast_core::ErrorKind;
use standfast_cron_lock::{CatchUp, CronLedger, Fate, Schedule, Span, cron, every};

use crate::stand::{Running, Stand, time};

fn half_past() -> Schedule {
    cron("30 * * * *").id("half").catch_up(CatchUp::Skip)
}

async fn fate(ledger: &CronLedger, at: &str) -> Fate {
    ledger.explain("half", time(at)).await.unwrap().fate
}

#[tokio::test]
async fn every_fate_is_told_apart() {
    let stand = Stand::new();
    // 11:00 to 11:40 without the schedule
    let first = Running::start(stand.cron());
    stand.pass(40.minutes()).await;
    first.stop().await;
    // 11:40 to 12:31 with it
    let mut with = stand.cron();
    with.schedule(half_past(), |_tick| async {}).unwrap();
    let ledger = with.ledger();
    assert_eq!(fate(&ledger, "2026-03-01T12:30:00Z").await, Fate::NotYet);
    let second = Running::start(with);
    stand.pass(51.minutes()).await;
    second.stop().await;
    assert_eq!(fate(&ledger, "2026-03-01T11:30:00Z").await, Fate::NotThere);
    assert_eq!(fate(&ledger, "2026-03-01T12:30:00Z").await, Fate::Dispatched);
    assert_eq!(
        fate(&ledger, "2026-03-01T12:31:00Z").await,
        Fate::NotDue(Some(time("2026-03-01T13:30:00Z")))
    );
    // away from 12:31 to 13:40; then with it, failing, until 14:31
    stand.clock.advance(69.minutes());
    assert_eq!(fate(&ledger, "2026-03-01T13:30:00Z").await, Fate::NoTick);
    let mut failing = stand.cron_with(|config| config.retry_for = 20.seconds());
    failing.schedule(half_past(), |_tick| async { Err::<(), _>("the queue is away") }).unwrap();
    let third = Running::start(failing);
    stand.pass(50.minutes() + 1.seconds()).await;
    assert_eq!(fate(&ledger, "2026-03-01T13:30:00Z").await, Fate::Missed);
    assert_eq!(fate(&ledger, "2026-03-01T14:30:00Z").await, Fate::InProgress);
    stand.pass(40.seconds()).await;
    third.stop().await;
    let explanation = ledger.explain("half", time("2026-03-01T14:30:00Z")).await.unwrap();
    assert_eq!(explanation.fate, Fate::Failed("half: the queue is away".into()));
    let told = explanation.to_string();
    assert!(told.contains("its tick failed: half: the queue is away"), "{told}");
    assert!(told.contains("after 2026-03-01 14:29:00 UTC, by "), "{told}");
    // one that dies in it
    let mut dying = stand.cron();
    dying.schedule(half_past(), |_tick| std::future::pending::<()>()).unwrap();
    let mut fourth = Running::start(dying);
    stand.pass(1.hours()).await;
    fourth.kill().await;
    stand.pass(31.seconds()).await;
    assert_eq!(fate(&ledger, "2026-03-01T15:30:00Z").await, Fate::Unfinished);
    assert_eq!(
        ledger.explain("no such", time("2026-03-01T15:30:00Z")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn what_is_late_new_or_made_up_for_is_told_apart() {
    let stand = Stand::new();
    let deadline = || half_past().catch_up(CatchUp::Latest).starting_deadline(1.minutes());
    let hourly = || every(1.hours()).id("hourly");
    let mut cron = stand.cron();
    cron.schedule(deadline(), |_tick| async {}).unwrap();
    cron.schedule(hourly(), |_tick| async {}).unwrap();
    let first = Running::start(cron);
    stand.pass(2.minutes()).await;
    first.stop().await;
    stand.clock.advance(90.minutes());
    let mut cron = stand.cron();
    cron.schedule(deadline(), |_tick| async {}).unwrap();
    cron.schedule(hourly(), |_tick| async {}).unwrap();
    let fresh = || standfast_cron_lock::cron("15 * * * *").id("fresh");
    cron.schedule(fresh(), |_tick| async {}).unwrap();
    let ledger = cron.ledger();
    let second = Running::start(cron);
    stand.pass(2.minutes()).await;
    second.stop().await;
    assert_eq!(fate(&ledger, "2026-03-01T12:30:00Z").await, Fate::Late);
    assert_eq!(fate(&ledger, "2026-03-01T11:30:00Z").await, Fate::Late);
    let explanation = ledger.explain("hourly", time("2026-03-01T12:00:00Z")).await.unwrap();
    assert_eq!(explanation.fate, Fate::Dispatched);
    assert_eq!(explanation.tick.unwrap().at, time("2026-03-01T12:33:00Z"));
    let explanation = ledger.explain("fresh", time("2026-03-01T12:15:00Z")).await.unwrap();
    assert_eq!(explanation.fate, Fate::New);
    assert_eq!(explanation.tz_version.len(), 5);
}

#[tokio::test]
async fn a_tick_that_killed_everybody_says_so() {
    let stand = Stand::new();
    let with = || {
        let mut cron = stand.cron();
        cron.schedule(half_past(), |_tick| std::future::pending::<()>()).unwrap();
        cron
    };
    let ledger = with().ledger();
    let mut running = Running::start(with());
    stand.pass(30.minutes() + 2.seconds()).await;
    for _ in 0..3 {
        running.kill().await;
        stand.pass(31.seconds()).await;
        running = Running::start(with());
        stand.pass(2.seconds()).await;
    }
    running.kill().await;
    assert_eq!(fate(&ledger, "2026-03-01T11:30:00Z").await, Fate::Exhausted);
}

#[tokio::test]
async fn what_the_store_has_forgotten_is_not_guessed() {
    let stand = Stand::new();
    let mut cron = stand.cron();
    cron.schedule(half_past(), |_tick| async {}).unwrap();
    let ledger = cron.ledger();
    let running = Running::start(cron);
    stand.pass(31.minutes()).await;
    stand.clock.advance(8.days());
    stand.pass(2.minutes()).await;
    running.stop().await;
    // the tick that answered for it is gone; the one after the gap is there, and knows nothing of
    // it
    let told = fate(&ledger, "2026-03-01T11:30:00Z").await;
    assert_eq!(told, Fate::Forgotten);
}
