use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, Row as _, Transaction};
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Id128, Result, SessionRef, Verdict};

use super::error::{failed, unsure};
use super::{BACKEND, lazy, now, schema};
use crate::field::{Field, FieldName};
use crate::handler::SessionHandler;
use crate::init::{PrincipalChange, Rotation, RotationKind, SessionInit, Timeouts};
use crate::limits::{SessionCapabilities, SessionLimits};
use crate::memory::apply::{Applied, apply};
use crate::outcome::{
    CommitOutcome, Conflict, CreateOutcome, DestroyOutcome, LoadOutcome, RotateOutcome, Swept,
    TouchOutcome,
};
use crate::patch::Patch;
use crate::snapshot::{SessionSummary, Snapshot, Via};
use crate::stored::{read_field, write_field};
use crate::token::{Access, VerifierHash};

/// Sessions in PostgreSQL: the classic choice, where there is a database anyway. Feature `postgres`.
///
/// Call [`migrate`](Self::migrate) once, at a deploy; see the module in the source for the tables.
/// A change is one transaction that locks its session; the clock is the server's. Call
/// [`sweep`](SessionHandler::sweep) on a schedule, since nothing expires by itself.
///
/// # What if something dies?
///
/// - The process, or the connection, before the commit: nothing has happened. During it: the call
///   fails as `OutcomeUnknown`.
/// - The server: calls fail as `Unavailable` until it is back; what was committed is there.
///
/// ```no_run
/// use standfast_session::{PostgresSessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler = PostgresSessionHandler::from_url("postgres://app@db.internal/shop")?;
/// handler.migrate().await?;
/// let token = handler.start(&SessionInit::new()).await?.token;
/// # let _ = token;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PostgresSessionHandler {
    pool: PgPool,
    limits: SessionLimits,
}

/// A row, and the time at which it was read.
struct Entry {
    verifier: VerifierHash,
    previous: Option<(VerifierHash, DateTime<Utc>)>,
    timeouts: Timeouts,
    created: DateTime<Utc>,
    touched: DateTime<Utc>,
    version: u64,
    principal: Option<String>,
    fields: BTreeMap<FieldName, Field>,
    now: DateTime<Utc>,
}

/// What came of looking a session up.
enum Found {
    Absent,
    Entry(Box<Entry>, Via),
    Refused,
}

const SELECT: &str = concat!(
    "SELECT verifier, previous, previous_until, idle, absolute, created, touched, version, \
     principal, fields, ",
    now!(),
    " AS now FROM standfast_session WHERE session = $1"
);

impl PostgresSessionHandler {
    /// Sessions in the database that `url` names. No I/O: the first call connects.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none; the message does not repeat it.
    pub fn from_url(url: &str) -> Result<Self> {
        Ok(Self::from_parts(lazy(url)?, SessionLimits::default()))
    }

    /// Sessions in the database of `pool`, with these limits. No I/O.
    pub fn from_parts(pool: PgPool, limits: SessionLimits) -> Self {
        Self { pool, limits }
    }

    /// Makes the tables, or brings them to the version of this library. Safe to call from any
    /// number of processes at once, and again.
    ///
    /// # Errors
    ///
    /// `Unsupported` with [`Reason::NewerVersion`](standfast_core::Reason::NewerVersion) for tables
    /// of a newer release; `Denied`; `Unavailable`.
    pub async fn migrate(&self) -> Result<()> {
        schema::migrate(&self.pool, "session", schema::SESSION).await
    }

    async fn begin(&self, operation: &'static str) -> Result<Transaction<'static, Postgres>> {
        self.pool.begin().await.map_err(failed(operation))
    }
}

fn key(session: SessionRef) -> Vec<u8> {
    Id128::from(session).to_bytes().to_vec()
}

fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

fn span(span: Duration) -> i64 {
    // invariant: spans are checked to be at most 400 days
    i64::try_from(span.as_micros()).expect("400 days at most")
}

/// Reads the row of a session, and locks it until `change` ends.
async fn lock(
    change: &mut Transaction<'static, Postgres>,
    access: &Access,
    operation: &'static str,
) -> Result<Found> {
    let row = sqlx::query(concat!(
        "SELECT verifier, previous, previous_until, idle, absolute, created, touched, version, \
         principal, fields, ",
        now!(),
        " AS now FROM standfast_session WHERE session = $1 FOR UPDATE"
    ))
    .bind(key(access.session()))
    .fetch_optional(&mut **change)
    .await
    .map_err(failed(operation))?;
    find(row, access, operation)
}

fn find(row: Option<PgRow>, access: &Access, operation: &'static str) -> Result<Found> {
    let Some(row) = row else { return Ok(Found::Absent) };
    let entry = Entry::read(&row, operation)?;
    if entry.expires_at() <= entry.now {
        return Ok(Found::Absent);
    }
    Ok(match entry.via(access) {
        Some(via) => Found::Entry(Box::new(entry), via),
        None => Found::Refused,
    })
}

impl Entry {
    fn read(row: &PgRow, operation: &'static str) -> Result<Self> {
        let corrupt = || {
            Error::new(ErrorKind::Corrupt, BACKEND, operation)
                .with_detail("a row that is no session")
        };
        let time = |name| -> Result<DateTime<Utc>> {
            let micros: i64 = row.try_get(name).map_err(failed(operation))?;
            DateTime::from_timestamp_micros(micros).ok_or_else(corrupt)
        };
        let span = |name| -> Result<Duration> {
            let micros: i64 = row.try_get(name).map_err(failed(operation))?;
            Ok(Duration::from_micros(u64::try_from(micros).map_err(|_| corrupt())?))
        };
        let hash = |bytes: Vec<u8>| {
            <[u8; 32]>::try_from(bytes).map(VerifierHash::from_bytes).map_err(|_| corrupt())
        };
        let previous: Option<Vec<u8>> = row.try_get("previous").map_err(failed(operation))?;
        let previous = match previous {
            None => None,
            Some(bytes) => Some((hash(bytes)?, time("previous_until")?)),
        };
        let timeouts = Timeouts::new(span("idle")?, span("absolute")?);
        timeouts.validate().map_err(|_| corrupt())?;
        let version: i64 = row.try_get("version").map_err(failed(operation))?;
        let fields: Vec<u8> = row.try_get("fields").map_err(failed(operation))?;
        Ok(Self {
            verifier: hash(row.try_get("verifier").map_err(failed(operation))?)?,
            previous,
            timeouts,
            created: time("created")?,
            touched: time("touched")?,
            version: u64::try_from(version).map_err(|_| corrupt())?,
            principal: row.try_get("principal").map_err(failed(operation))?,
            fields: unpack(&fields).ok_or_else(corrupt)?,
            now: time("now")?,
        })
    }

    fn expires_at(&self) -> DateTime<Utc> {
        self.timeouts.expires_at(self.created, self.touched)
    }

    fn via(&self, access: &Access) -> Option<Via> {
        let Access::Bearer { verifier, .. } = access else { return Some(Via::Trusted) };
        if *verifier == self.verifier {
            return Some(Via::Current);
        }
        let is = self.previous.is_some_and(|(old, until)| old == *verifier && until > self.now);
        is.then_some(Via::Previous)
    }

    /// Applies a patch; the conflict if there is one, and then nothing has changed.
    fn apply(&mut self, patch: &Patch, limits: &SessionLimits) -> Result<Option<Conflict>> {
        if patch.is_empty() {
            return Ok(None);
        }
        match apply(&self.fields, patch, self.version + 1, self.now, limits)? {
            Applied::Conflict(conflict) => return Ok(Some(conflict)),
            Applied::Changed(fields) => self.fields = fields,
        }
        self.version += 1;
        Ok(None)
    }

    /// The clock may have gone back; the time of the touch does not.
    fn touch(&mut self) {
        self.touched = self.touched.max(self.now);
    }

    fn is_touch_due(&self, via: Via) -> bool {
        let since = (self.now - self.touched).to_std().unwrap_or_default();
        via != Via::Trusted && since >= self.timeouts.touch_interval()
    }

    /// Writes everything back and commits.
    async fn store(
        &self,
        mut change: Transaction<'static, Postgres>,
        session: SessionRef,
        operation: &'static str,
    ) -> Result<()> {
        let (previous, until) = self.previous.unzip();
        sqlx::query(
            "UPDATE standfast_session SET verifier = $2, previous = $3, previous_until = $4, \
             touched = $5, expires = $6, version = $7, principal = $8, fields = $9 \
             WHERE session = $1",
        )
        .bind(key(session))
        .bind(self.verifier.to_bytes().to_vec())
        .bind(previous.map(|hash| hash.to_bytes().to_vec()))
        .bind(until.map(micros))
        .bind(micros(self.touched))
        .bind(micros(self.expires_at()))
        .bind(self.version.cast_signed())
        .bind(&self.principal)
        .bind(pack(&self.fields))
        .execute(&mut *change)
        .await
        .map_err(failed(operation))?;
        change.commit().await.map_err(unsure(operation))
    }
}

fn pack(fields: &BTreeMap<FieldName, Field>) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, field) in fields {
        for part in [name.as_str().as_bytes(), &write_field(field)] {
            // invariant: limits keep fields below 4 GiB
            let size = u32::try_from(part.len()).expect("limits are far below 4 GiB");
            packed.extend(size.to_be_bytes());
            packed.extend_from_slice(part);
        }
    }
    packed
}

fn unpack(mut packed: &[u8]) -> Option<BTreeMap<FieldName, Field>> {
    let mut part = || -> Option<&[u8]> {
        let (size, rest) = packed.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        packed = rest;
        Some(part)
    };
    let mut fields = BTreeMap::new();
    while let Some(name) = part() {
        let name = FieldName::from_stored(std::str::from_utf8(name).ok()?).ok()?;
        fields.insert(name, read_field(part()?));
    }
    packed.is_empty().then_some(fields)
}

#[async_trait]
impl SessionHandler for PostgresSessionHandler {
    fn capabilities(&self) -> SessionCapabilities {
        let mut capabilities = SessionCapabilities::new(self.limits);
        capabilities.is_shared = true;
        capabilities.is_durable = true;
        capabilities
    }

    async fn create(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
    ) -> Result<CreateOutcome> {
        const OPERATION: &str = "session.create";
        init.validate(&self.limits)?;
        let mut change = self.begin(OPERATION).await?;
        let now: i64 = sqlx::query_scalar(concat!("SELECT ", now!()))
            .fetch_one(&mut *change)
            .await
            .map_err(failed(OPERATION))?;
        let now = DateTime::from_timestamp_micros(now).unwrap_or_default();
        let fields = match apply(&BTreeMap::new(), &init.patch, 1, now, &self.limits)? {
            Applied::Changed(fields) => fields,
            Applied::Conflict(conflict) => {
                let field = conflict.field;
                return Err(Error::new(ErrorKind::Invalid, BACKEND, OPERATION)
                    .with_detail(format!("field `{field}` does not exist in a new session")));
            }
        };
        let expires_at = init.timeouts.expires_at(now, now);
        // what has ended and was not swept yet is no obstacle
        let made = sqlx::query(
            "INSERT INTO standfast_session AS it \
             (session, verifier, idle, absolute, created, touched, expires, version, principal, fields) \
             VALUES ($1, $2, $3, $4, $5, $5, $6, 1, $7, $8) \
             ON CONFLICT (session) DO UPDATE SET verifier = excluded.verifier, previous = NULL, \
             previous_until = NULL, idle = excluded.idle, absolute = excluded.absolute, \
             created = excluded.created, touched = excluded.touched, expires = excluded.expires, \
             version = 1, principal = excluded.principal, fields = excluded.fields \
             WHERE it.expires <= $5",
        )
        .bind(key(session))
        .bind(verifier.to_bytes().to_vec())
        .bind(span(init.timeouts.idle))
        .bind(span(init.timeouts.absolute))
        .bind(micros(now))
        .bind(micros(expires_at))
        .bind(&init.principal)
        .bind(pack(&fields))
        .execute(&mut *change)
        .await
        .map_err(failed(OPERATION))?;
        if made.rows_affected() == 0 {
            return Ok(CreateOutcome::Exists);
        }
        change.commit().await.map_err(unsure(OPERATION))?;
        Ok(CreateOutcome::Created { version: 1, expires_at })
    }

    async fn load(&self, access: &Access) -> Result<LoadOutcome> {
        const OPERATION: &str = "session.load";
        let row = sqlx::query(SELECT)
            .bind(key(access.session()))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed(OPERATION))?;
        let (entry, via) = match find(row, access, OPERATION)? {
            Found::Absent => return Ok(LoadOutcome::Absent),
            Found::Refused => return Ok(LoadOutcome::Refused),
            Found::Entry(entry, via) => (entry, via),
        };
        let (ends_at, expires_at) = (entry.created + entry.timeouts.absolute, entry.expires_at());
        let mut snapshot = Snapshot::new(access.session(), entry.version, entry.created, ends_at);
        snapshot.touched_at = entry.touched;
        snapshot.expires_at = expires_at;
        snapshot.principal = entry.principal;
        snapshot.via = via;
        snapshot.now = entry.now;
        snapshot.fields = entry.fields;
        snapshot.fields.retain(|_, field| field.is_live(entry.now));
        Ok(LoadOutcome::Found(Box::new(snapshot)))
    }

    async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome> {
        const OPERATION: &str = "session.commit";
        self.limits.check(patch)?;
        let mut change = self.begin(OPERATION).await?;
        let (mut entry, via) = match lock(&mut change, access, OPERATION).await? {
            Found::Absent => return Ok(CommitOutcome::Gone),
            Found::Refused => return Ok(CommitOutcome::Refused),
            Found::Entry(entry, via) => (entry, via),
        };
        if let Some(conflict) = entry.apply(patch, &self.limits)? {
            return Ok(CommitOutcome::Conflict(conflict));
        }
        let is_due = entry.is_touch_due(via);
        if via != Via::Trusted && (is_due || !patch.is_empty()) {
            entry.touch();
        }
        if is_due || !patch.is_empty() {
            entry.store(change, access.session(), OPERATION).await?;
        }
        let (version, expires_at) = (entry.version, entry.expires_at());
        Ok(CommitOutcome::Committed { version, expires_at })
    }

    async fn rotate(
        &self,
        access: &Access,
        rotation: &Rotation,
        patch: &Patch,
    ) -> Result<RotateOutcome> {
        const OPERATION: &str = "session.rotate";
        rotation.validate()?;
        self.limits.check(patch)?;
        let mut change = self.begin(OPERATION).await?;
        let session = access.session();
        // whoever shows it, it is looked at: the answer to an earlier call may have been lost
        let found = lock(&mut change, &Access::trusted(session), OPERATION).await?;
        let Found::Entry(mut entry, _) = found else { return Ok(RotateOutcome::Gone) };
        let Access::Bearer { .. } = access else { return Ok(RotateOutcome::Refused) };
        if entry.verifier == rotation.verifier {
            let (version, expires_at) = (entry.version, entry.expires_at());
            return Ok(RotateOutcome::Rotated { version, expires_at });
        }
        let Some(via) = entry.via(access) else { return Ok(RotateOutcome::Refused) };
        if via == Via::Previous && matches!(rotation.kind, RotationKind::Renewal { .. }) {
            return Ok(RotateOutcome::Superseded);
        }
        if let Some(conflict) = entry.apply(patch, &self.limits)? {
            return Ok(RotateOutcome::Conflict(conflict));
        }
        let old = std::mem::replace(&mut entry.verifier, rotation.verifier);
        entry.previous = None;
        match &rotation.kind {
            RotationKind::Renewal { grace } => entry.previous = Some((old, entry.now + *grace)),
            RotationKind::Privilege(PrincipalChange::Keep) => {}
            RotationKind::Privilege(PrincipalChange::Clear) => entry.principal = None,
            RotationKind::Privilege(PrincipalChange::Set(principal)) => {
                entry.principal = Some(principal.clone());
            }
        }
        entry.touch();
        entry.store(change, session, OPERATION).await?;
        let (version, expires_at) = (entry.version, entry.expires_at());
        Ok(RotateOutcome::Rotated { version, expires_at })
    }

    async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
        const OPERATION: &str = "session.touch";
        let mut change = self.begin(OPERATION).await?;
        let (mut entry, via) = match lock(&mut change, access, OPERATION).await? {
            Found::Absent => return Ok(TouchOutcome::Gone),
            Found::Refused => return Ok(TouchOutcome::Refused),
            Found::Entry(entry, via) => (entry, via),
        };
        if !entry.is_touch_due(via) {
            return Ok(TouchOutcome::Fresh { expires_at: entry.expires_at() });
        }
        entry.touch();
        entry.store(change, access.session(), OPERATION).await?;
        Ok(TouchOutcome::Touched { expires_at: entry.expires_at() })
    }

    async fn destroy(&self, access: &Access) -> Result<DestroyOutcome> {
        const OPERATION: &str = "session.destroy";
        let mut change = self.begin(OPERATION).await?;
        match lock(&mut change, access, OPERATION).await? {
            Found::Absent => return Ok(DestroyOutcome::Gone),
            Found::Refused => return Ok(DestroyOutcome::Refused),
            Found::Entry(..) => {}
        }
        sqlx::query("DELETE FROM standfast_session WHERE session = $1")
            .bind(key(access.session()))
            .execute(&mut *change)
            .await
            .map_err(failed(OPERATION))?;
        change.commit().await.map_err(unsure(OPERATION))?;
        Ok(DestroyOutcome::Destroyed)
    }

    async fn sessions_of(&self, principal: &str, limit: usize) -> Result<Vec<SessionSummary>> {
        const OPERATION: &str = "session.sessions_of";
        SessionLimits::check_principal(principal)?;
        let rows = sqlx::query(concat!(
            "SELECT session, created, touched, expires FROM standfast_session \
             WHERE principal = $1 AND expires > ",
            now!(),
            " ORDER BY created DESC, session LIMIT $2"
        ))
        .bind(principal)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(failed(OPERATION))?;
        rows.iter()
            .map(|row| {
                let session: Vec<u8> = row.try_get("session").map_err(failed(OPERATION))?;
                let session = <[u8; 16]>::try_from(session).unwrap_or_default();
                let time = |name| -> Result<DateTime<Utc>> {
                    let micros: i64 = row.try_get(name).map_err(failed(OPERATION))?;
                    Ok(DateTime::from_timestamp_micros(micros).unwrap_or_default())
                };
                let session = SessionRef::from(Id128::from_bytes(session));
                let (created, touched) = (time("created")?, time("touched")?);
                Ok(SessionSummary::new(session, created, touched, time("expires")?))
            })
            .collect()
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        const OPERATION: &str = "session.sweep";
        // rows that somebody works on are left for the next call
        let removed = sqlx::query(concat!(
            "DELETE FROM standfast_session WHERE session IN (SELECT session \
             FROM standfast_session WHERE expires <= ",
            now!(),
            " ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED)"
        ))
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await
        .map_err(failed(OPERATION))?
        .rows_affected();
        let removed = usize::try_from(removed).unwrap_or(usize::MAX);
        Ok(Swept::new(removed, max > 0 && removed == max))
    }
}

#[async_trait]
impl HealthCheck for PostgresSessionHandler {
    async fn health(&self) -> Health {
        health(&self.pool, "postgres sessions", "standfast_session").await
    }
}

/// Asks whether the table can be read.
pub(super) async fn health(pool: &PgPool, what: &str, table: &str) -> Health {
    let began = tokio::time::Instant::now().into_std();
    let question = format!("SELECT 1 FROM {table} LIMIT 1");
    let verdict = match sqlx::query(&question).execute(pool).await {
        Ok(_) => Verdict::Healthy,
        Err(error) => Verdict::Failing(failed("session.health")(error).to_string()),
    };
    Health::since(what, began, verdict)
}

impl fmt::Debug for PostgresSessionHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the options of the pool have the password in them
        let options = self.pool.connect_options();
        f.debug_struct("PostgresSessionHandler")
            .field("host", &options.get_host())
            .field("database", &options.get_database())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldValue;
    use crate::noise::{Noise, rounds};

    #[test]
    fn whatever_bytes_are_stored_reading_them_ends() {
        let mut noise = Noise::new(5);
        let field = |value| Field::new(value, 3);
        let name = |name| FieldName::from_stored(name).unwrap();
        let fields = BTreeMap::from([
            (name("cart"), field(FieldValue::Bytes("tea".into()))),
            (name("n"), field(FieldValue::Counter(-1))),
            (name("seen"), field(FieldValue::List(vec!["a".into(), "".into()]))),
        ]);
        let good = pack(&fields);
        assert_eq!(unpack(&good).unwrap(), fields);
        let (mut read, mut all) = (0, 0);
        for _ in rounds(100_000) {
            let mut packed = good.clone();
            for _ in 0..noise.below(4) {
                let at = noise.below(packed.len().max(1) as u64) as usize;
                match noise.below(3) {
                    0 => packed.truncate(at),
                    1 => packed.insert(at, noise.byte()),
                    _ => {
                        if let Some(byte) = packed.get_mut(at) {
                            *byte = noise.byte();
                        }
                    }
                }
            }
            read += u64::from(unpack(&packed).is_some());
            all += 1;
        }
        println!("{all} rows, {read} of them readable");
        assert!((all / 20..all - all / 20).contains(&read), "{read} of {all}: both happen");
    }
}
