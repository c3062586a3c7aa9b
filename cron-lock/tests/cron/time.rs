//! Clocks that are wrong, and clocks that are set.

use std::sync::Arc;

use chrono::TimeDelta;
use standfast_core::{HealthCheck, Verdict};
use standfast_cron_lock::{Cron, CronConfig, CronLockConfig, MemoryCronLock, Span, every};

use crate::stand::{Gate, Log, OwnClock, Running, START, Stand, Wire, time};

/// A cron whose clock is off, on a store whose clock can be set.
struct Off {
    stand: Stand,
    store_clock: OwnClock,
    own_clock: OwnClock,
    log: Log,
    running: Running,
}

impl Off {
    fn start(skew: TimeDelta) -> Self {
        let stand = Stand::new();
        let store_clock = OwnClock::new(&stand.clock, Gate::open());
        let own_clock = OwnClock::new(&stand.clock, Gate::open());
        own_clock.set_skew(skew);
        let store = Arc::new(store_clock.clone());
        let lock = MemoryCronLock::with_config("off", CronLockConfig::default(), store).unwrap();
        let mut cron = Cron::with_config(Wire::new(lock), CronConfig::default()).unwrap();
        cron.clock(Arc::new(own_clock.clone()));
        let log = Log::default();
        let note = log.clone();
        cron.schedule(every(1.minutes()).id("each"), move |tick| {
            note.push(tick.due().format("%H:%M").to_string());
            async {}
        })
        .unwrap();
        let running = Running::start(cron);
        Self { stand, store_clock, own_clock, log, running }
    }
}

#[tokio::test]
async fn a_clock_that_is_off_changes_nothing_and_is_reported() {
    for minutes in [-10, 10] {
        let off = Off::start(TimeDelta::minutes(minutes));
        off.stand.pass(3.minutes() + 1.seconds()).await;
        assert_eq!(off.log.take(), ["11:01", "11:02", "11:03"]);
        let ahead = -minutes * 60_000;
        let verdict = Verdict::Degraded(format!("the store's clock is ahead by {ahead} ms"));
        let health = off.running.health.health().await;
        assert_eq!(health.verdict, verdict);
        assert!(health.is_usable());
    }
    let off = Off::start(TimeDelta::milliseconds(900));
    off.stand.pass(2.minutes()).await;
    assert_eq!(off.running.health.health().await.verdict, Verdict::Healthy);
}

#[tokio::test]
async fn a_clock_that_is_set_while_it_runs_changes_nothing() {
    let off = Off::start(TimeDelta::zero());
    off.stand.pass(70.seconds()).await;
    for minutes in [30, -30, 0] {
        off.own_clock.set_skew(TimeDelta::minutes(minutes));
        off.stand.pass(1.minutes()).await;
    }
    assert_eq!(off.log.take(), ["11:01", "11:02", "11:03", "11:04"]);
}

#[tokio::test]
async fn a_store_whose_clock_is_set_back_or_forward_is_followed() {
    let off = Off::start(TimeDelta::zero());
    off.stand.pass(70.seconds()).await;
    assert_eq!(off.log.take(), ["11:01"]);
    // a failover to a server whose clock is half a minute behind
    off.store_clock.set_skew(TimeDelta::seconds(-30));
    off.stand.pass(1.minutes()).await;
    // 11:01:40 by the store
    assert!(off.log.take().is_empty());
    off.stand.pass(30.seconds()).await;
    assert_eq!(off.log.take(), ["11:02"]);
    // and then to one that is ahead
    off.store_clock.set_skew(TimeDelta::minutes(5));
    off.stand.pass(3.minutes()).await;
    let runs = off.log.take();
    assert_eq!(runs.last().map(String::as_str), Some("11:10"), "{runs:?}");
}

#[tokio::test]
async fn instances_wake_up_within_the_spread() {
    let stand = Stand::new();
    let mut cron = stand.cron_with(|config| config.spread = 30.seconds());
    let log = Log::default();
    let (note, clock) = (log.clone(), stand.clock.clone());
    cron.on_tick(move |tick| {
        let now = standfast_core::Clock::now(&clock);
        note.push((now - tick.at).num_seconds().to_string());
        async {}
    });
    let running = Running::start(cron);
    stand.pass(40.minutes()).await;
    running.stop().await;
    let seconds: Vec<i64> = log.take().iter().map(|text| text.parse().unwrap()).collect();
    assert!(seconds.len() >= 39);
    assert!(seconds.iter().all(|second| (0..=31).contains(second)), "{seconds:?}");
    assert!(seconds.iter().any(|second| *second < 15) && seconds.iter().any(|s| *s >= 15));
}

#[tokio::test]
async fn a_durable_lock_is_asked_for_the_tick_that_is_going_on() {
    for is_durable in [false, true] {
        let mut stand = Stand::new();
        stand.lock.is_durable = is_durable;
        stand.clock.advance(20.seconds());
        let cron = stand.cron();
        let running = Running::start(cron);
        stand.pass(2.seconds()).await;
        let claimed: Vec<_> = stand.records().await.iter().map(|record| record.at).collect();
        assert_eq!(claimed == [time(START)], is_durable);
        running.stop().await;
    }
}
