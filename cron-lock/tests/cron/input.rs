//! Bad input is refused where it is given, and says why.

use standfast_core::{ErrorKind, Result};
use standfast_cron_lock::{
    CatchUp, Cron, CronConfig, CronLockConfig, MemoryCronLock, Owner, Schedule, Span, at, cron,
    custom, daily_at, every,
};

fn reason<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

#[tokio::test]
async fn schedules_that_cannot_work_are_refused_with_the_reason() {
    let minute = 1.minutes();
    let wrong: Vec<(Schedule, &str)> = vec![
        (cron("60 * * * *").id("a"), "column 1"),
        (cron("0 0 30 2 *").id("a"), "column 5: there is no such date"),
        (cron("0 0 * *").id("a"), "4 fields, not 5 to 7"),
        (daily_at("24:00").id("a"), "no such time of day"),
        (daily_at("2:30").id("a"), "neither HH:MM nor HH:MM:SS"),
        (daily_at("02:30").tz("Europe/Helsingfors").id("a"), "zone \"Europe/Helsingfors\""),
        (daily_at("02:30").tz("+02:00").id("a"), "zone \"+02:00\""),
        (every(0.seconds()).id("a"), "period 0ns"),
        (every(90.seconds()).id("a"), "no multiple of the ticks' 60s"),
        (every(30.seconds()).id("a"), "no multiple of the ticks' 60s"),
        (cron("*/10 * * * * *").id("a"), "more often than the ticks' 60s"),
        (every(minute), "schedule id \"\""),
        (every(minute).id("not a name"), "schedule id \"not a name\""),
        (every(minute).id("x".repeat(81)), "schedule id"),
        (every(minute).id("a").jitter(25.hours()), "jitter 90000s"),
        (every(minute).id("a").starting_deadline(0.seconds()), "starting deadline"),
        (every(minute).id("a").catch_up(CatchUp::All { max: 0, window: minute }), "catch-up of 0"),
        (every(minute).id("a").catch_up(CatchUp::All { max: 1_001, window: minute }), "1001"),
        (
            every(minute).id("a").catch_up(CatchUp::All { max: 1, window: 0.seconds() }),
            "within 0ns",
        ),
        (every(minute).id("taken"), "two schedules of the id `taken`"),
        // the first thing that is wrong counts
        (daily_at("25:00").tz("Nowhere").id(""), "no such time of day"),
    ];
    for (schedule, why) in wrong {
        let mut cron = Cron::new(MemoryCronLock::new("input").unwrap());
        cron.schedule(every(minute).id("taken"), |_tick| async {}).unwrap();
        let shown = format!("{schedule:?}");
        let told = reason(cron.schedule(schedule, |_tick| async {}).map(drop));
        assert!(told.contains(why), "{shown}\n told {told:?}, not {why:?}");
    }
}

#[test]
fn schedules_that_can_work_are_not() {
    let config = CronLockConfig::default();
    for schedule in [
        cron("0 2 * * *"),
        cron("0,30 0 12 1 1 * 2030"),
        daily_at("23:59:59").tz("America/Argentina/Buenos_Aires"),
        every(7.minutes()).jitter(24.hours()),
        every(1.minutes()).starting_deadline(1.seconds()),
        at("2026-03-01T11:30:17Z".parse().unwrap()),
        custom(|_after| None),
    ] {
        let shown = format!("{schedule:?}");
        let checked = schedule.id("a").check(&config);
        // twice in one minute is more than one tick can tell apart
        assert_eq!(checked.is_err(), shown.contains("0,30"), "{shown}");
    }
}

#[test]
fn a_schedule_that_is_wrong_says_so_whatever_it_is_asked() {
    let wrong = daily_at("nonsense").id("a");
    let now = "2026-03-01T11:30:17Z".parse().unwrap();
    assert!(reason(wrong.next_after(now)).contains("nonsense"));
    assert!(reason(wrong.occurrences(now, now).map(drop)).contains("nonsense"));
    assert!(reason(wrong.simulate("UTC", now..now)).contains("nonsense"));
    assert!(reason(daily_at("02:30").simulate("Nowhere", now..now)).contains("Nowhere"));
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_reason() {
    type Change = fn(&mut CronConfig);
    let wrong: [(&str, Change); 9] = [
        ("the owner has no name", |c| c.owner = Owner::new("")),
        ("the owner has no name", |c| c.owner = Owner::new(" ")),
        ("records are forgotten after 604800s", |c| c.lease = 7.days()),
        ("lease 0ns", |c| c.lease = 0.seconds()),
        ("lease 601s, at most 600s", |c| c.lease = 601.seconds()),
        ("less than half the lease of 30s", |c| c.deadline = 15.seconds()),
        ("deadline 0ns", |c| c.deadline = 0.seconds()),
        ("call timeout 15s", |c| c.call_timeout = 15.seconds()),
        ("spread 60s: less than the ticks' 60s", |c| c.spread = 60.seconds()),
    ];
    for (why, change) in wrong {
        let mut config = CronConfig::default();
        change(&mut config);
        let told = reason(Cron::with_config(MemoryCronLock::new("input").unwrap(), config));
        assert!(told.contains(why), "{told:?} is not {why:?}");
    }
}

#[test]
fn the_defaults_fit_any_lock() {
    let mut config = CronLockConfig::default();
    for (resolution, max_lease) in [(1, 1), (100, 300), (1_000, 10_000), (60_000, 600_000)] {
        config.resolution = std::time::Duration::from_millis(resolution);
        config.max_lease = std::time::Duration::from_millis(max_lease);
        let clock = std::sync::Arc::new(standfast_core::SystemClock);
        let lock = MemoryCronLock::with_config("input", config.clone(), clock).unwrap();
        let mut cron = Cron::new(lock);
        cron.schedule(every(1.minutes()).id("a"), |_tick| async {}).unwrap();
    }
}
