//! From times on the wall to instants, across the changes of the clocks.
//!
//! The rules are those of Vixie cron, which OCPS follows. A *fixed* time that the clocks skip is
//! due at the first instant after the gap, and one that they show twice is due the first time only.
//! An *interval*, one with a `*` among seconds, minutes or hours, follows elapsed time: nothing in
//! the gap, and both passes of what is repeated.

use std::fmt::Debug;

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A recurrence of times on the wall, knowing nothing of zones.
pub(crate) trait Wall: Debug + Send + Sync {
    /// The first time after this one.
    fn next_after(&self, after: NaiveDateTime) -> Option<NaiveDateTime>;

    /// Whether it names times of day, rather than an interval.
    fn is_fixed(&self) -> bool;

    /// What people call it.
    fn describe(&self) -> String;

    /// Whether it names this very time.
    fn names(&self, time: NaiveDateTime) -> bool {
        self.next_after(time - TimeDelta::seconds(1)) == Some(time)
    }
}

/// What the clocks of a zone do with a time on the wall.
pub(crate) enum Shown {
    Never,
    Once(DateTime<Utc>),
    Twice(DateTime<Utc>, DateTime<Utc>),
}

/// What the wall shows at an instant.
pub(crate) fn local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

pub(crate) fn shown(zone: Tz, time: NaiveDateTime) -> Shown {
    match zone.from_local_datetime(&time) {
        LocalResult::None => Shown::Never,
        LocalResult::Single(at) => Shown::Once(at.to_utc()),
        LocalResult::Ambiguous(first, second) => Shown::Twice(first.to_utc(), second.to_utc()),
    }
}

fn offset(zone: Tz, at: DateTime<Utc>) -> TimeDelta {
    let seconds = zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
    TimeDelta::seconds(seconds.into())
}

/// The first second after `from`, and not after `until`, whose offset differs from that at `from`.
fn change(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let before = offset(zone, from);
    if offset(zone, until) == before {
        return None;
    }
    let (mut same, mut changed) = (from.timestamp(), until.timestamp());
    while changed - same > 1 {
        let middle = same + (changed - same) / 2;
        let at = DateTime::from_timestamp(middle, 0)?;
        if offset(zone, at) == before {
            same = middle;
        } else {
            changed = middle;
        }
    }
    DateTime::from_timestamp(changed, 0)
}

/// The first instant after the gap that skips `time`.
pub(crate) fn after_the_gap(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    // no zone is further than a day from UTC, so the offset of the day before is that before the
    // gap
    let day_before = time.and_utc() - TimeDelta::hours(36);
    let within = time.and_utc() - offset(zone, day_before);
    change(zone, day_before, within)
}

/// Where the second pass begins of what the wall shows at `at`, if that is the first of two.
fn second_pass(zone: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match shown(zone, local(zone, at)) {
        Shown::Twice(first, second) if first == at => change(zone, first, second),
        _ => None,
    }
}

/// The first instant after `after` at which `wall` is due in `zone`.
pub(crate) fn next_after(wall: &dyn Wall, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !(1..=LAST_YEAR).contains(&after.year()) {
        return None;
    }
    if wall.is_fixed() { next_fixed(wall, zone, after) } else { next_interval(wall, zone, after) }
}

fn next_fixed(wall: &dyn Wall, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // later times on the wall are never due earlier, so it is enough to go on from this one; in the
    // second pass of an hour, what comes next on the wall was due in the first
    let mut time = local(zone, after);
    loop {
        time = wall.next_after(time)?;
        let due = match shown(zone, time) {
            Shown::Never => after_the_gap(zone, time)?,
            Shown::Once(due) | Shown::Twice(due, _) => due,
        };
        if due > after {
            return Some(due);
        }
    }
}

fn next_interval(wall: &dyn Wall, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut time = local(zone, after);
    let due = loop {
        time = wall.next_after(time)?;
        match shown(zone, time) {
            Shown::Never => {}
            Shown::Once(due) => break due,
            Shown::Twice(first, second) => break if first > after { first } else { second },
        }
    };
    // the wall goes back before it gets there, and shows times again that it has shown already
    match second_pass(zone, after) {
        Some(back) if back <= due => {
            let again = wall.next_after(local(zone, back) - TimeDelta::seconds(1))?;
            Some(match shown(zone, again) {
                Shown::Twice(_, second) => second,
                Shown::Once(once) => once,
                Shown::Never => due,
            })
        }
        _ => Some(due),
    }
}

/// Where the search for another occurrence ends.
const LAST_YEAR: i32 = 4_000;
