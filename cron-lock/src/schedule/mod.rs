//! What is due when.

mod cron;
mod daily;
mod every;
mod occurrences;
mod policy;
mod recurrence;
mod simulate;
mod span;
pub(crate) mod wall;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use standfast_core::{Error, Id128, Reason, Result, Tick};

use crate::config::{CronLockConfig, invalid, is_name};
use every::Every;
pub use occurrences::Occurrences;
pub(crate) use policy::Question;
pub use policy::{CatchUp, StillRunning};
pub use recurrence::Recurrence;
pub use simulate::{ClockChange, SimulatedRun, Simulation};
pub use span::Span;
use wall::Wall;

/// When a job is due, and what becomes of runs that were missed, overlap or come late.
///
/// Made by [`every`], [`cron`], [`daily_at`], [`at`] or [`custom`], and given an [id](Self::id).
/// What is wrong with any part of it is told when it is given to [`Cron::schedule`] or asked for
/// anything.
///
/// Times of day are those of the [zone](Self::tz), by its name, so that its rules of the day apply.
/// Where the clocks change, what names a time of day (`daily_at`, and cron expressions without `*`
/// among seconds, minutes and hours) is due exactly once: at the end of the gap when its time is
/// skipped, the first time when its time comes twice. Everything else follows elapsed time.
///
/// ```
/// use standfast_cron_lock::{CatchUp, Span, daily_at};
///
/// let billing = daily_at("02:30")
///     .tz("Europe/Helsinki")
///     .id("billing")
///     .catch_up(CatchUp::Latest)
///     .jitter(10.minutes())
///     .starting_deadline(6.hours());
/// // on the last Sunday of March there is no half past two, and no three o'clock, either
/// let before = "2026-03-29T00:00:00Z".parse().unwrap();
/// assert_eq!(billing.next_after(before)?, Some("2026-03-29T00:30:00Z".parse().unwrap()));
/// # Ok::<_, standfast_core::Error>(())
/// ```
///
/// [`Cron::schedule`]: crate::Cron::schedule
#[derive(Clone, Debug)]
#[must_use = "a schedule does nothing until it is given to `Cron::schedule`"]
pub struct Schedule {
    id: String,
    spec: Spec,
    zone: Tz,
    catch_up: CatchUp,
    jitter: Duration,
    starting_deadline: Option<Duration>,
    still_running: Option<Question>,
    /// The first thing that was wrong.
    wrong: Option<Error>,
}

#[derive(Clone)]
enum Spec {
    At(DateTime<Utc>),
    Custom(Arc<dyn Recurrence>),
    Every(Every),
    Wall(Arc<dyn Wall>),
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Spec {
    fn describe(&self) -> String {
        match self {
            Self::At(at) => format!("at {at}"),
            Self::Custom(_) => "custom".to_owned(),
            Self::Every(every) => format!("every {:?}", every.period()),
            Self::Wall(wall) => wall.describe(),
        }
    }
}

/// Due at every whole multiple of `period` since the Unix epoch: `every(5.minutes())`.
///
/// The period has to be a multiple of the distance between ticks.
pub fn every(period: Duration) -> Schedule {
    match Every::new(period) {
        Some(every) => Schedule::new(Spec::Every(every)),
        None => Schedule::wrong(format!("period {period:?}: not a whole number of microseconds")),
    }
}

/// Due when a cron expression says so: five fields, or six with seconds, or seven with years.
///
/// As Vixie cron has it, with `L`, `W`, `#` and names. Day of month and day of week together mean
/// either of them; a `+` before the day of week means both.
pub fn cron(expression: &str) -> Schedule {
    match cron::Expression::parse(expression) {
        Ok(expression) => Schedule::new(Spec::Wall(Arc::new(expression))),
        Err(what) => Schedule::wrong(what),
    }
}

/// Due once a day, at `HH:MM` or `HH:MM:SS`.
pub fn daily_at(time: &str) -> Schedule {
    match daily::Daily::parse(time) {
        Ok(daily) => Schedule::new(Spec::Wall(Arc::new(daily))),
        Err(what) => Schedule::wrong(what),
    }
}

/// Due once.
pub fn at(instant: DateTime<Utc>) -> Schedule {
    Schedule::new(Spec::At(standfast_core::to_micros(instant)))
}

/// Due when `recurrence` says so.
pub fn custom(recurrence: impl Recurrence) -> Schedule {
    Schedule::new(Spec::Custom(Arc::new(recurrence)))
}

impl Schedule {
    fn new(spec: Spec) -> Self {
        Self {
            id: String::new(),
            spec,
            zone: Tz::UTC,
            catch_up: CatchUp::default(),
            jitter: Duration::ZERO,
            starting_deadline: None,
            still_running: None,
            wrong: None,
        }
    }

    fn wrong(what: String) -> Self {
        let mut schedule = Self::new(Spec::Custom(Arc::new(|_| None)));
        schedule.wrong = Some(invalid("schedule", what));
        schedule
    }

    fn note(&mut self, what: String) {
        self.wrong.get_or_insert_with(|| invalid("schedule", what));
    }

    /// What it is called in records, logs and job ids, by the rule `[A-Za-z0-9._-]{1,80}`. A
    /// schedule under another id is another schedule: a new one, which makes up for nothing.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// The zone whose clocks its times of day are read from, by its IANA name; UTC by default.
    pub fn tz(mut self, zone: &str) -> Self {
        match zone.parse() {
            Ok(zone) => self.zone = zone,
            Err(_) => self.note(format!("zone {zone:?}: not in the tz database {TZ_VERSION}")),
        }
        self
    }

    /// What becomes of runs that were due while no tick was won; [`CatchUp::Latest`] by default.
    pub fn catch_up(self, catch_up: CatchUp) -> Self {
        Self { catch_up, ..self }
    }

    /// Delays each run by a part of `jitter` that its id and instant decide: the same on every
    /// instance and after a takeover. It starts with the first tick after that.
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Runs that cannot be started within `span` after they were due are missed; by default,
    /// lateness is no reason.
    pub fn starting_deadline(self, span: Duration) -> Self {
        Self { starting_deadline: Some(span), ..self }
    }

    /// Runs are skipped while `still_running` says that one before still runs; by default, runs may
    /// overlap.
    ///
    /// It is asked before each run, with its tick, and answers `bool` or a `Result` of one; after
    /// an error it is asked again. Answer from where the jobs report to: a status, a row in a
    /// database.
    pub fn skip_if<F, Fut>(self, still_running: F) -> Self
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: StillRunning> + Send + 'static,
    {
        Self { still_running: Some(Question::new(still_running)), ..self }
    }

    /// The first instant after `after` at which it is due, before any jitter.
    ///
    /// # Errors
    ///
    /// `Invalid` when the schedule is.
    pub fn next_after(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        self.well_formed()?;
        Ok(self.next(after))
    }

    /// The instants after `after` and not after `until` at which it is due, before any jitter.
    ///
    /// # Errors
    ///
    /// `Invalid` when the schedule is.
    pub fn occurrences(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Occurrences<'_>> {
        self.well_formed()?;
        Ok(Occurrences::new(self, after, until))
    }

    /// When it is due and in which zone, for people.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.spec.describe(), self.zone)
    }

    /// Checks all of it against the settings of the lock whose ticks it is to follow;
    /// [`Cron::schedule`](crate::Cron::schedule) does.
    ///
    /// # Errors
    ///
    /// `Invalid`, with what is wrong with it.
    pub fn check(&self, config: &CronLockConfig) -> Result<()> {
        self.well_formed()?;
        let fail = |what: String| Err(invalid("schedule", format!("`{}`: {what}", self.id)));
        if !is_name(&self.id) {
            let error = invalid("schedule", format!("schedule id {:?}", self.id));
            return Err(error.with_reason(Reason::InvalidName));
        }
        if self.jitter > LONGEST_JITTER {
            return fail(format!("jitter {:?}, at most {LONGEST_JITTER:?}", self.jitter));
        }
        if self.starting_deadline.is_some_and(|span| span.is_zero()) {
            return fail("a starting deadline of nothing".to_owned());
        }
        if let CatchUp::All { max, window } = self.catch_up
            && (max == 0 || max > CatchUp::LIMIT || window.is_zero())
        {
            let limit = CatchUp::LIMIT;
            return fail(format!("catch-up of {max} within {window:?}: 1 to {limit}, within some"));
        }
        let resolution = config.resolution;
        match &self.spec {
            Spec::Every(every)
                if !every.period().as_micros().is_multiple_of(resolution.as_micros()) =>
            {
                fail(format!(
                    "period {:?}: no multiple of the ticks' {resolution:?}",
                    every.period()
                ))
            }
            Spec::Wall(wall) if is_denser_than(&**wall, resolution) => {
                fail(format!("{}: due more often than the ticks' {resolution:?}", wall.describe()))
            }
            _ => Ok(()),
        }
    }

    fn well_formed(&self) -> Result<()> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn name(&self) -> &str {
        &self.id
    }

    pub(crate) fn policy(&self) -> CatchUp {
        self.catch_up
    }

    pub(crate) fn longest_jitter(&self) -> Duration {
        self.jitter
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.starting_deadline
    }

    pub(crate) fn question(&self) -> Option<&Question> {
        self.still_running.as_ref()
    }

    pub(crate) fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = match &self.spec {
            Spec::At(at) => Some(*at).filter(|at| *at > after),
            Spec::Custom(recurrence) => recurrence.next_after(after),
            Spec::Every(every) => every.next_after(after),
            Spec::Wall(wall) => wall::next_after(&**wall, self.zone, after),
        };
        let is_later = next.is_none_or(|next| next > after);
        if !is_later {
            tracing::error!(schedule = %self.id, %after, "the recurrence goes back; it ends here");
        }
        next.filter(|_| is_later)
    }

    /// When the run due at `due` is to start.
    pub(crate) fn starts_at(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        let span = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        if span == 0 {
            return due;
        }
        let micros = due.timestamp_micros().to_le_bytes();
        let bits = Id128::derive("standfast:jitter:1", &[self.id.as_bytes(), &micros]).to_bytes();
        let (bits, _) = bits.split_at(8);
        let bits = bits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let delay = Duration::from_micros(bits % span);
        standfast_core::checked_add(due, delay).unwrap_or(due)
    }

    /// What the wall of its zone shows at `at`.
    pub(crate) fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        wall::local(self.zone, at)
    }
}

/// Whether two of the next thousand times are closer than `least`.
fn is_denser_than(wall: &dyn Wall, least: Duration) -> bool {
    let mut time = DateTime::UNIX_EPOCH.naive_utc() - TimeDelta::seconds(1);
    for _ in 0..1_000 {
        let Some(next) = wall.next_after(time) else { return false };
        if time > DateTime::UNIX_EPOCH.naive_utc()
            && (next - time).to_std().is_ok_and(|gap| gap < least)
        {
            return true;
        }
        time = next;
    }
    false
}

/// Which release of the tz database the zones are of.
pub(crate) const TZ_VERSION: &str = chrono_tz::IANA_TZDB_VERSION;

const LONGEST_JITTER: Duration = Duration::from_secs(24 * 60 * 60);
