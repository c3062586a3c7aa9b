//! Every gap and overlap of ten zones from 2024 to 2030, against an independent implementation: the
//! time zones of jiff, and the rules of Vixie cron applied minute by minute.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};
use standfast_cron_lock::{ClockChange, Schedule, cron, daily_at};

/// Half-hour changes, changes at midnight and into the next day, both hemispheres; and none whose
/// rules the two tz databases have in different releases.
const ZONES: [&str; 10] = [
    "Africa/Cairo",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/St_Johns",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Europe/Helsinki",
    "Europe/London",
    "Pacific/Chatham",
];

/// A change of the clocks, by jiff.
struct Change {
    at: Timestamp,
    /// By how many minutes they are put forward.
    minutes: i32,
}

fn changes(zone: &TimeZone) -> Vec<Change> {
    let (from, until): (Timestamp, Timestamp) =
        ("2024-01-01T00:00Z".parse().unwrap(), "2031-01-01T00:00Z".parse().unwrap());
    let mut before = zone.to_offset(from);
    let mut changes = Vec::new();
    for transition in zone.following(from).take_while(|change| change.timestamp() < until) {
        let minutes = (transition.offset().seconds() - before.seconds()) / 60;
        before = transition.offset();
        if minutes != 0 {
            changes.push(Change { at: transition.timestamp(), minutes });
        }
    }
    changes
}

fn utc(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(at.as_second(), 0).unwrap()
}

/// When a time of day is due in the days around a change, by the rules for fixed times.
fn fixed(zone: &TimeZone, change: &Change, hour: i8, minute: i8) -> BTreeSet<DateTime<Utc>> {
    let day = zone.to_datetime(change.at).date();
    let due = (-3..=3).map(|days: i64| {
        let time = day.checked_add(days.days()).unwrap().at(hour, minute, 0, 0);
        match zone.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(time).unwrap(),
            // the first time
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(time).unwrap(),
            // as soon as the clocks have changed
            AmbiguousOffset::Gap { .. } => change.at,
        }
    });
    within(change, due.map(utc))
}

/// When an interval is due: whenever the wall shows it.
fn interval(
    zone: &TimeZone,
    change: &Change,
    shows: impl Fn(civil::DateTime) -> bool,
) -> BTreeSet<DateTime<Utc>> {
    let minutes = (-2 * 1440..=2 * 1440).map(|minute: i64| change.at + minute.minutes());
    within(change, minutes.filter(|at| shows(zone.to_datetime(*at))).map(utc))
}

fn within(change: &Change, due: impl Iterator<Item = DateTime<Utc>>) -> BTreeSet<DateTime<Utc>> {
    let (from, until) = range(change);
    due.filter(|at| *at > from && *at <= until).collect()
}

fn range(change: &Change) -> (DateTime<Utc>, DateTime<Utc>) {
    let day = TimeDelta::hours(24);
    (utc(change.at) - day, utc(change.at) + day)
}

fn ours(schedule: &Schedule, change: &Change) -> BTreeSet<DateTime<Utc>> {
    let (from, until) = range(change);
    schedule.occurrences(from, until).unwrap().collect()
}

#[test]
fn fixed_times_are_due_once_in_every_gap_and_overlap() {
    let (mut gaps, mut overlaps) = (0, 0);
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        let changes = changes(&zone);
        assert!(changes.len() >= 14, "{name}: {}", changes.len());
        for change in changes {
            if change.minutes > 0 {
                gaps += 1
            } else {
                overlaps += 1
            }
            // what the wall shows from two hours before to two hours after, and at noon
            let before = zone.to_datetime(change.at - 1.second());
            let first = i64::from(before.hour()) * 4 + i64::from(before.minute()) / 15 - 8;
            for quarter in (first..first + 17).chain([48]) {
                let quarter = i8::try_from(quarter.rem_euclid(96)).unwrap();
                let (hour, minute) = (quarter / 4, quarter % 4 * 15);
                let wanted = fixed(&zone, &change, hour, minute);
                let time = format!("{hour:02}:{minute:02}");
                let daily = daily_at(&time).tz(name).id("a");
                assert_eq!(ours(&daily, &change), wanted, "{name} {time} around {}", change.at);
                let expression = format!("{minute} {hour} * * *");
                let same = cron(&expression).tz(name).id("a");
                assert_eq!(
                    ours(&same, &change),
                    wanted,
                    "{name} {expression} around {}",
                    change.at
                );
            }
        }
    }
    println!("{gaps} gaps and {overlaps} overlaps in {} zones", ZONES.len());
    assert!(gaps >= 70 && overlaps >= 70);
}

#[test]
fn intervals_follow_elapsed_time_through_every_gap_and_overlap() {
    type Shows = fn(civil::DateTime) -> bool;
    let intervals: [(&str, Shows); 4] = [
        ("*/15 * * * *", |time| time.minute() % 15 == 0),
        ("30 * * * *", |time| time.minute() == 30),
        ("*/20 1-3 * * *", |time| time.minute() % 20 == 0 && (1..=3).contains(&time.hour())),
        ("7 */2 * * *", |time| time.minute() == 7 && time.hour() % 2 == 0),
    ];
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        for change in changes(&zone) {
            for (expression, shows) in intervals {
                let schedule = cron(expression).tz(name).id("a");
                let wanted = interval(&zone, &change, shows);
                assert_eq!(
                    ours(&schedule, &change),
                    wanted,
                    "{name} {expression} at {}",
                    change.at
                );
            }
        }
    }
}

#[test]
fn a_run_whose_gap_reaches_into_the_next_day_is_not_lost() {
    // the clocks of Nuuk go from 23:00 on Saturday to midnight
    let saturday = cron("30 23 * * SAT").tz("America/Nuuk").id("a");
    let after = "2026-03-28T12:00:00Z".parse().unwrap();
    let next = saturday.next_after(after).unwrap().unwrap();
    assert_eq!(next.to_rfc3339(), "2026-03-29T01:00:00+00:00");
}

#[test]
fn a_simulation_tells_of_every_change() {
    let range = || "2024-01-01T00:00:00Z".parse().unwrap().."2031-01-01T00:00:00Z".parse().unwrap();
    let count = |schedule: &Schedule, zone: &str| {
        let mut counts = [0; 4];
        for change in schedule.simulate(zone, range()).unwrap().filter_map(|run| run.change) {
            let all = [
                ClockChange::Skipped,
                ClockChange::OnceOfTwo,
                ClockChange::RepeatedFirst,
                ClockChange::RepeatedSecond,
            ];
            counts[all.iter().position(|known| *known == change).unwrap()] += 1;
        }
        counts
    };
    assert_eq!(count(&daily_at("03:30").id("a"), "Europe/Helsinki"), [7, 7, 0, 0]);
    assert_eq!(count(&cron("30 3 * * *").id("a"), "Europe/Helsinki"), [7, 7, 0, 0]);
    assert_eq!(count(&cron("30 * * * *").id("a"), "Europe/Helsinki"), [0, 0, 7, 7]);
    assert_eq!(count(&daily_at("12:00").id("a"), "Europe/Helsinki"), [0; 4]);
    assert_eq!(count(&daily_at("03:30").id("a"), "UTC"), [0; 4]);
}

/// Ticks cut time into windows anywhere, also in the middle of what is skipped or repeated.
#[test]
fn wherever_time_is_cut_everything_is_due_once() {
    let mut dice = 7_u64;
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        for change in changes(&zone).iter().take(4) {
            let (from, until) = range(change);
            for expression in ["*/10 * * * *", "30 * * * *", "0,30 0,1,2,3 * * *", "45 23 * * *"] {
                let schedule = cron(expression).tz(name).id("a");
                let whole: Vec<_> = schedule.occurrences(from, until).unwrap().collect();
                let (mut pieces, mut start) = (Vec::new(), from);
                while start < until {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let seconds = i64::try_from(dice >> 33).unwrap() % 3_000 + 1;
                    let end = (start + TimeDelta::seconds(seconds)).min(until);
                    pieces.extend(schedule.occurrences(start, end).unwrap());
                    start = end;
                }
                assert_eq!(pieces, whole, "{name} {expression} around {}", change.at);
            }
        }
    }
}
