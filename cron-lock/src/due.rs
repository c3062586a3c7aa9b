//! What a tick calls for: a pure function of the tick, of what was known before it, and of the
//! schedule. A takeover, which sees the same tick, computes the same.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::schedule::{CatchUp, Schedule};

/// The stretch of time that a tick answers for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The tick before it, if any.
    pub(crate) previous: Option<DateTime<Utc>>,
    /// The tick.
    pub(crate) at: DateTime<Utc>,
    /// The distance between ticks.
    pub(crate) resolution: Duration,
    /// The store's time when it was won.
    pub(crate) now: DateTime<Utc>,
}

/// A run that is to be started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) due: DateTime<Utc>,
    pub(crate) is_backfill: bool,
}

/// Everything that was due in a window.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Due {
    /// What is to be started, oldest first.
    pub(crate) runs: Vec<Run>,
    /// What was due while no tick was won, and is not made up for.
    pub(crate) missed: Vec<DateTime<Utc>>,
    /// What is past its starting deadline.
    pub(crate) late: Vec<DateTime<Utc>>,
}

/// Occurrences that are looked at in one window. Where there are more, after a very long outage of
/// a very frequent schedule, the oldest are neither run nor counted.
const MOST: usize = 100_000;

/// The runs of `schedule` in `window`; `is_known` is whether the tick before evaluated it.
pub(crate) fn evaluate(schedule: &Schedule, window: &Window, is_known: bool) -> Due {
    let one_tick = window.at - span(window.resolution);
    let after = match window.previous {
        // what is new makes up for nothing, nor does anything after the store lost its memory
        Some(previous) if is_known => previous.min(one_tick),
        _ => one_tick,
    };
    let mut due = Due::default();
    let (mut punctual, mut backlog) = (Vec::new(), Vec::new());
    for occurrence in started_within(schedule, after, window.at) {
        let starts_at = schedule.starts_at(occurrence);
        if schedule.deadline().is_some_and(|span| window.now - starts_at > self::span(span)) {
            due.late.push(occurrence);
        } else if starts_at > one_tick {
            punctual.push(occurrence);
        } else {
            backlog.push(occurrence);
        }
    }
    // a recurrence of the caller's may be denser than any schedule that is checked
    let excess = punctual.len().saturating_sub(CatchUp::LIMIT);
    due.missed.extend(punctual.drain(..excess));
    let made_up = match schedule.policy() {
        CatchUp::Skip => 0,
        CatchUp::Latest => usize::from(punctual.is_empty()),
        CatchUp::All { max, window: within } => {
            let oldest = window.at - span(within);
            max.min(backlog.iter().filter(|at| schedule.starts_at(**at) >= oldest).count())
        }
    };
    let dropped = backlog.len().saturating_sub(made_up);
    due.missed.extend(backlog.drain(..dropped));
    let run = |is_backfill| move |due| Run { due, is_backfill };
    due.runs.extend(backlog.into_iter().map(run(true)));
    due.runs.extend(punctual.into_iter().map(run(false)));
    due
}

/// The occurrences that start, after their jitter, within `(after, until]`, in order of when they
/// were due; the newest of them.
fn started_within(
    schedule: &Schedule,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let mut from = after - span(schedule.longest_jitter());
    loop {
        let mut found = Vec::new();
        let mut is_too_many = false;
        let mut last = from;
        while let Some(next) = schedule.next(last).filter(|next| *next <= until) {
            last = next;
            let starts_at = schedule.starts_at(next);
            if starts_at > after && starts_at <= until {
                found.push(next);
            }
            is_too_many = found.len() > MOST;
            if is_too_many {
                break;
            }
        }
        if !is_too_many {
            return found;
        }
        from += (until - from) / 2;
    }
}

fn span(span: Duration) -> TimeDelta {
    // invariant: what is longer than any calendar reaches back to its beginning
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX / 4).min(LONGEST)
}

/// Longer than any configured span, and short enough that times can be moved by it.
const LONGEST: TimeDelta = TimeDelta::days(366 * 100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Span, custom, daily_at, every};

    const AT: &str = "2026-03-01T12:00:00Z";

    fn window(minutes_before: i64) -> Window {
        let at: DateTime<Utc> = AT.parse().unwrap();
        let previous = Some(at - TimeDelta::minutes(minutes_before));
        Window { previous, at, resolution: 1.minutes(), now: at }
    }

    fn times(runs: &[Run]) -> Vec<String> {
        runs.iter().map(|run| run.due.format("%H:%M").to_string()).collect()
    }

    #[test]
    fn after_three_hours_each_policy_does_what_it_says() {
        let hourly = every(1.hours()).id("s");
        let at_half = custom(|after: DateTime<Utc>| {
            let half = TimeDelta::minutes(30);
            every(1.hours()).next(after - half).map(|at| at + half)
        });
        for (schedule, policy, runs, missed) in [
            // due at the tick itself, and at 09:00 (excluded), 10:00 and 11:00 before
            (&hourly, CatchUp::Skip, vec!["12:00"], 2),
            (&hourly, CatchUp::Latest, vec!["12:00"], 2),
            (
                &hourly,
                CatchUp::All { max: 9, window: 9.hours() },
                vec!["10:00", "11:00", "12:00"],
                0,
            ),
            (&hourly, CatchUp::All { max: 9, window: 90.minutes() }, vec!["11:00", "12:00"], 1),
            (&hourly, CatchUp::All { max: 1, window: 9.hours() }, vec!["11:00", "12:00"], 1),
            // due before it only
            (&at_half, CatchUp::Skip, vec![], 3),
            (&at_half, CatchUp::Latest, vec!["11:30"], 2),
            (&at_half, CatchUp::All { max: 2, window: 9.hours() }, vec!["10:30", "11:30"], 1),
        ] {
            let due = evaluate(&schedule.clone().catch_up(policy), &window(180), true);
            assert_eq!(times(&due.runs), runs, "{policy:?}");
            assert_eq!((due.missed.len(), due.late.len()), (missed, 0), "{policy:?}");
            let one_tick = window(1).previous.unwrap();
            assert!(due.runs.iter().all(|run| run.is_backfill == (run.due <= one_tick)));
        }
    }

    #[test]
    fn what_is_new_and_what_follows_a_lost_cursor_makes_up_for_nothing() {
        let schedule = every(1.minutes()).catch_up(CatchUp::All { max: 1_000, window: 9.hours() });
        let nothing_before = Window { previous: None, ..window(180) };
        for (window, is_known) in [(window(180), false), (nothing_before, true)] {
            let due = evaluate(&schedule, &window, is_known);
            assert_eq!(times(&due.runs), ["12:00"]);
            assert!(due.missed.is_empty());
        }
    }

    #[test]
    fn consecutive_windows_run_everything_once() {
        let schedule = every(1.minutes()).id("s").jitter(7.minutes());
        let start = window(0).at;
        let mut seen = Vec::new();
        for minute in 1..200 {
            let at = start + TimeDelta::minutes(minute);
            let previous = Some(at - TimeDelta::minutes(1));
            let window = Window { previous, at, resolution: 1.minutes(), now: at };
            let due = evaluate(&schedule, &window, true);
            assert!(due.missed.is_empty() && due.late.is_empty());
            seen.extend(due.runs.iter().map(|run| run.due));
        }
        seen.sort_unstable();
        let wanted: Vec<_> = (1..150).map(|minute| start + TimeDelta::minutes(minute)).collect();
        let unique = seen.iter().filter(|at| wanted.contains(at)).count();
        assert_eq!(unique, wanted.len());
        let before = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), before);
    }

    #[test]
    fn what_is_past_its_starting_deadline_is_late() {
        let schedule = daily_at("11:00").id("s").starting_deadline(2.hours());
        assert_eq!(evaluate(&schedule, &window(180), true).runs.len(), 1);
        let claimed_late = Window { now: window(0).at + TimeDelta::minutes(61), ..window(180) };
        let due = evaluate(&schedule, &claimed_late, true);
        assert_eq!((due.runs.len(), due.late.len()), (0, 1));
    }

    #[test]
    fn years_of_outage_are_bounded_and_the_newest_count() {
        let schedule = every(1.seconds()).catch_up(CatchUp::All { max: 3, window: 9.hours() });
        let due = evaluate(&schedule, &window(60 * 24 * 366 * 3), true);
        // sixty within the tick, and three before it
        assert_eq!(due.runs.len(), 63);
        assert_eq!(due.runs.last().unwrap().due, window(0).at);
        assert!(due.missed.len() < MOST);
    }
}
