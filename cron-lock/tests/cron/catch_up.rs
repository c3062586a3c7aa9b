//! What becomes of runs that were due while no tick was won.

use std::sync::Arc;

use standfast_core::testkit::ManualClock;
use standfast_cron_lock::{
    CatchUp, Cron, CronLock, CronLockConfig, CronReport, MemoryCronLock, Schedule, Span, TickState,
    every,
};

use crate::broken::{Broken, Fault};
use crate::stand::{Fault as WireFault, Log, Running, START, Stand, settle_down, time};

/// A listener that notes its runs.
fn noting(cron: &mut Cron, schedule: Schedule, log: &Log) {
    let log = log.clone();
    let job = move |tick: standfast_core::Tick| {
        let log = log.clone();
        async move {
            let run = tick.run.as_ref().unwrap();
            let mark = if run.is_backfill { " late" } else { "" };
            log.push(format!("{} {}{mark}", run.schedule, run.due.format("%H:%M")));
        }
    };
    cron.schedule(schedule, job).unwrap();
}

fn half_past(policy: CatchUp) -> Schedule {
    standfast_cron_lock::cron("30 * * * *").id("half").catch_up(policy)
}

/// Runs until 11:40, is away until 14:40, and runs until 15:40.
async fn three_hours_away<L: CronLock>(
    wrap: impl FnOnce(MemoryCronLock) -> L,
    policy: CatchUp,
) -> (Vec<String>, CronReport) {
    let (stand, log) = (Stand::with(wrap), Log::default());
    let start = || {
        let mut cron = stand.cron();
        noting(&mut cron, half_past(policy), &log);
        Running::start(cron)
    };
    let before = start();
    stand.pass(40.minutes() + 1.seconds()).await;
    before.stop().await;
    assert_eq!(log.take(), ["half 11:30"]);
    stand.clock.advance(3.hours());
    let after = start();
    stand.pass(60.minutes()).await;
    let report = after.stop().await;
    (log.take(), report)
}

#[tokio::test]
async fn skip_makes_up_for_nothing_and_counts_each() {
    let (runs, report) = three_hours_away(|lock| lock, CatchUp::Skip).await;
    assert_eq!(runs, ["half 15:30"]);
    assert_eq!((report.runs, report.missed_runs, report.missed_ticks), (1, 3, 180));
}

#[tokio::test]
async fn latest_runs_once() {
    let (runs, report) = three_hours_away(|lock| lock, CatchUp::Latest).await;
    assert_eq!(runs, ["half 14:30 late", "half 15:30"]);
    assert_eq!((report.runs, report.missed_runs), (2, 2));
}

#[tokio::test]
async fn all_runs_each_in_order() {
    let all = CatchUp::All { max: 10, window: 4.hours() };
    let (runs, report) = three_hours_away(|lock| lock, all).await;
    assert_eq!(runs, ["half 12:30 late", "half 13:30 late", "half 14:30 late", "half 15:30"]);
    assert_eq!((report.runs, report.missed_runs), (4, 0));
}

#[tokio::test]
async fn all_is_bounded_by_number_and_by_age() {
    for all in [
        CatchUp::All { max: 2, window: 4.hours() },
        // 12:30 is 2 h 11 min before the first tick after
        CatchUp::All { max: 10, window: 131.minutes() - 1.seconds() },
    ] {
        let (runs, report) = three_hours_away(|lock| lock, all).await;
        assert_eq!(runs, ["half 13:30 late", "half 14:30 late", "half 15:30"], "{all:?}");
        assert_eq!(report.missed_runs, 1);
    }
}

#[tokio::test]
async fn a_new_schedule_makes_up_for_nothing() {
    let (stand, log) = (Stand::new(), Log::default());
    let all = CatchUp::All { max: 10, window: 9.hours() };
    let mut cron = stand.cron();
    noting(&mut cron, half_past(all).id("old"), &log);
    let before = Running::start(cron);
    stand.pass(2.minutes()).await;
    before.stop().await;
    stand.clock.advance(3.hours());
    let mut cron = stand.cron();
    noting(&mut cron, half_past(all).id("old"), &log);
    noting(&mut cron, half_past(all).id("new"), &log);
    let after = Running::start(cron);
    stand.pass(30.minutes()).await;
    after.stop().await;
    let runs = log.take();
    let of = |id: &str| runs.iter().filter(|run| run.starts_with(id)).cloned().collect::<Vec<_>>();
    assert_eq!(of("old"), ["old 11:30 late", "old 12:30 late", "old 13:30 late", "old 14:30"]);
    assert_eq!(of("new"), ["new 14:30"]);
}

#[tokio::test]
async fn a_cursor_that_is_lost_with_the_store_floods_nothing() {
    let (stand, log) = (Stand::new(), Log::default());
    let all = CatchUp::All { max: 1_000, window: 48.hours() };
    let mut cron = stand.cron();
    noting(&mut cron, every(1.minutes()).id("each").catch_up(all), &log);
    let before = Running::start(cron);
    stand.pass(3.minutes()).await;
    before.stop().await;
    stand.clock.advance(3.hours());
    log.take();
    // the store comes back empty
    let store = Arc::new(stand.clock.clone());
    let empty = MemoryCronLock::with_config("stand", CronLockConfig::default(), store).unwrap();
    let mut cron = Cron::new(empty);
    cron.clock(Arc::new(stand.clock.clone()));
    noting(&mut cron, every(1.minutes()).id("each").catch_up(all), &log);
    let after = Running::start(cron);
    stand.pass(3.minutes() + 1.seconds()).await;
    let report = after.stop().await;
    assert_eq!(log.take(), ["each 14:04", "each 14:05", "each 14:06"]);
    assert_eq!((report.missed_ticks, report.missed_runs), (0, 0));
}

#[tokio::test]
async fn a_tick_of_every_five_minutes_is_not_lost_with_its_minute() {
    let (stand, log) = (Stand::new(), Log::default());
    let start = || {
        let mut cron = stand.cron();
        let log = log.clone();
        cron.on_tick(move |tick| {
            let log = log.clone();
            async move {
                if tick.every(5.minutes()) {
                    log.push(tick.at.format("%H:%M").to_string());
                }
            }
        });
        Running::start(cron)
    };
    let before = start();
    stand.pass(9.minutes() + 1.seconds()).await;
    before.stop().await;
    stand.clock.advance(2.minutes());
    let after = start();
    stand.pass(9.minutes() + 1.seconds()).await;
    after.stop().await;
    // 11:10 fell into the deploy
    assert_eq!(log.take(), ["11:05", "11:12", "11:15", "11:20"]);
}

#[tokio::test]
async fn if_all_instances_die_in_a_tick_the_next_to_start_takes_it_over() {
    let (stand, log) = (Stand::new(), Log::default());
    // gone for a while, so that the tick answers for more than itself
    let mut first = die_in_the_tick_after_a_gap(&stand, &log).await;
    first.kill().await;
    stand.clock.advance(10.minutes());
    let mut cron = stand.cron();
    noting(&mut cron, half_past(CatchUp::Latest), &log);
    let second = Running::start(cron);
    settle_down().await;
    stand.pass(2.minutes()).await;
    let report = second.stop().await;
    assert_eq!(log.take(), ["half 12:30 late"]);
    assert_eq!((report.takeovers, report.claimed), (1, 3));
    let record = stand.records().await.into_iter().find(|record| record.attempt == 2).unwrap();
    assert_eq!((record.state, record.crashes), (TickState::Done, 1));
}

#[tokio::test]
async fn what_nobody_took_over_in_time_is_made_up_for_by_the_next_tick_and_once() {
    let (stand, log) = (Stand::new(), Log::default());
    let mut first = die_in_the_tick_after_a_gap(&stand, &log).await;
    first.kill().await;
    // too late to be claimed again
    stand.clock.advance(75.minutes());
    let mut cron = stand.cron();
    noting(&mut cron, half_past(CatchUp::All { max: 9, window: 9.hours() }), &log);
    let second = Running::start(cron);
    stand.pass(5.minutes()).await;
    second.stop().await;
    // 12:30 was the dead tick's, 13:30 and 14:30 came after it
    assert_eq!(log.take(), ["half 12:30 late", "half 13:30 late"]);
}

/// 11:00 to 11:40 an instance runs, to 12:40 none, and the one that wins 12:41 dies in it.
async fn die_in_the_tick_after_a_gap(stand: &Stand, log: &Log) -> Running {
    let mut cron = stand.cron();
    noting(&mut cron, half_past(CatchUp::Latest), log);
    let before = Running::start(cron);
    stand.pass(40.minutes()).await;
    before.stop().await;
    assert_eq!(log.take(), ["half 11:30"]);
    stand.clock.advance(60.minutes());
    let mut cron = stand.cron();
    let hang = half_past(CatchUp::Latest);
    cron.schedule(hang, |_tick| std::future::pending::<()>()).unwrap();
    let first = Running::start(cron);
    stand.pass(1.minutes() + 5.seconds()).await;
    assert_eq!(stand.records().await.last().unwrap().state, TickState::Claimed);
    first
}

#[tokio::test]
async fn an_outage_of_the_lock_ends_in_one_tick_that_answers_for_all() {
    let (stand, log) = (Stand::new(), Log::default());
    let mut cron = stand.cron();
    noting(&mut cron, every(1.minutes()).id("each"), &log);
    let running = Running::start(cron);
    stand.pass(2.minutes()).await;
    log.take();
    // every claim of the next twenty minutes, but the first, is refused
    stand.lock.fail("claim", [WireFault::Unanswered]);
    stand.lock.is_down.store(true, std::sync::atomic::Ordering::Relaxed);
    stand.pass(20.minutes()).await;
    stand.lock.is_down.store(false, std::sync::atomic::Ordering::Relaxed);
    stand.pass(2.minutes() + 1.seconds()).await;
    let report = running.stop().await;
    let runs = log.take();
    // the last one, and those that came after: not twenty at once
    assert!(runs.len() <= 4, "{runs:?}");
    assert!(report.missed_runs >= 17, "{report:?}");
    assert_eq!(report.missed_runs + report.runs, 24);
}

/// A lock that breaks a rule of history, and what it does to an outage.
#[tokio::test]
async fn locks_that_tell_history_wrongly_are_noticed() {
    let clock = || Arc::new(ManualClock::at(time(START)));
    let broken = |fault| move |lock| Broken { inner: Arc::new(lock), clock: clock(), fault };
    let all = CatchUp::All { max: 10, window: 4.hours() };
    let (right, _) = three_hours_away(|lock| lock, all).await;
    let (wrong, _) = three_hours_away(broken(Fault::ForgetsKnownSchedules), all).await;
    assert_ne!(wrong, right, "all schedules are new at every tick");
}

#[tokio::test]
async fn a_takeover_that_is_told_the_cursor_loses_runs() {
    let clock = || Arc::new(ManualClock::at(time(START)));
    let wrap = |lock| Broken {
        inner: Arc::new(lock),
        clock: clock(),
        fault: Fault::TakeoverSeesTheCursor,
    };
    let (stand, log) = (Stand::with(wrap), Log::default());
    let mut first = die_in_the_tick_after_a_gap(&stand, &log).await;
    first.kill().await;
    stand.clock.advance(10.minutes());
    let mut cron = stand.cron();
    noting(&mut cron, half_past(CatchUp::Latest), &log);
    let second = Running::start(cron);
    stand.pass(2.minutes()).await;
    second.stop().await;
    assert!(log.take().is_empty(), "so the rule matters");
}
