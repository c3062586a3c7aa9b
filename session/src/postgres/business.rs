use std::fmt;

use async_trait::async_trait;
use chrono::DateTime;
use serde::de::DeserializeOwned;
use sqlx::{PgPool, Postgres, Row as _, Transaction};
use standfast_core::{BusinessRef, Error, ErrorKind, Health, HealthCheck, Result};

use super::error::{failed, unsure};
use super::session::health;
use super::{BACKEND, lazy, now, schema};
use crate::business::{
    Append, At, BusinessCapabilities, BusinessEvent, BusinessMeta, BusinessState, BusinessStore,
    Changes, EventHash, EventKind, Expected, Head, Lookup, MAX_EVENT, SINCE, check, check_name,
};

/// Business sessions in PostgreSQL. Feature `postgres`.
///
/// Call [`migrate`](Self::migrate) once, at a deploy. An append is one transaction that locks the
/// business session, so its events have one order; a trigger refuses to change or remove them.
///
/// # What if something dies?
///
/// Before the commit nothing has happened; after it the event, its number and the state are there.
/// Whoever does not know which repeats the append under the same origin and step.
///
/// ```no_run
/// use standfast_core::BusinessRef;
/// use standfast_session::PostgresBusinessStore;
/// use standfast_session::business::{Actor, BusinessMeta, BusinessStore, Changes, Expected};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = PostgresBusinessStore::from_url("postgres://app@db.internal/shop")?;
/// store.migrate().await?;
/// let (order, meta) = (BusinessRef::new("order-17"), BusinessMeta::new("req-1", "a", Actor::System));
/// store.append(&order, Expected::NoStream, &Changes::new().set("state", "placed"), &meta).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PostgresBusinessStore {
    pool: PgPool,
}

impl PostgresBusinessStore {
    /// Business sessions in the database that `url` names. No I/O: the first call connects.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none; the message does not repeat it.
    pub fn from_url(url: &str) -> Result<Self> {
        Ok(Self::from_parts(lazy(url)?))
    }

    /// Business sessions in the database of `pool`. No I/O.
    pub fn from_parts(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Makes the tables, or brings them to the version of this library. Safe to call from any
    /// number of processes at once, and again.
    ///
    /// # Errors
    ///
    /// `Unsupported` with [`Reason::NewerVersion`](standfast_core::Reason::NewerVersion) for tables
    /// of a newer release; `Denied`; `Unavailable`.
    pub async fn migrate(&self) -> Result<()> {
        schema::migrate(&self.pool, "business", schema::BUSINESS).await
    }

    async fn add(
        &self,
        business: &BusinessRef,
        expected: Expected,
        kind: EventKind,
        changes: &Changes,
        meta: &BusinessMeta,
        operation: &'static str,
    ) -> Result<Append> {
        check(business, &kind, changes, meta, MAX_EVENT)?;
        let mut change = self.pool.begin().await.map_err(failed(operation))?;
        let (mut state, hash) = lock(&mut change, business, operation).await?;
        let known: Option<String> = sqlx::query_scalar(
            "SELECT body FROM standfast_business_event \
             WHERE business = $1 AND origin = $2 AND step = $3",
        )
        .bind(business.as_str())
        .bind(&meta.origin)
        .bind(&meta.step)
        .fetch_optional(&mut *change)
        .await
        .map_err(failed(operation))?;
        if let Some(known) = known {
            let event: BusinessEvent = read(&known, operation)?;
            let seq = event.seq;
            return Ok(match event.is_of(&kind, changes, meta) {
                true => Append::Appended { seq, repeated: true },
                false => Append::Mismatch { seq },
            });
        }
        let current = state.seq;
        if state.closed.is_some() {
            return Ok(Append::Closed { seq: current });
        }
        if let Some(after) = expected.missed(current) {
            let since = events(&mut *change, business, after, SINCE, operation).await?;
            return Ok(Append::Conflict { current, since });
        }
        let now: i64 = sqlx::query_scalar(concat!("SELECT ", now!()))
            .fetch_one(&mut *change)
            .await
            .map_err(failed(operation))?;
        let now = DateTime::from_timestamp_micros(now).unwrap_or_default();
        let event = Head { state: &state, hash }.next(kind, changes, meta, now)?;
        state.apply(&event);
        insert(&mut change, &event, operation).await?;
        sqlx::query(
            "UPDATE standfast_business SET seq = $2, hash = $3, state = $4 WHERE business = $1",
        )
        .bind(business.as_str())
        .bind(event.seq.cast_signed())
        .bind(event.hash.to_string())
        .bind(write(&state, operation)?)
        .execute(&mut *change)
        .await
        .map_err(failed(operation))?;
        change.commit().await.map_err(unsure(operation))?;
        Ok(Append::Appended { seq: event.seq, repeated: false })
    }
}

/// Where a business session stands, locked until `change` ends. One that is not there yet is made,
/// and goes again with a transaction that appends nothing.
async fn lock(
    change: &mut Transaction<'static, Postgres>,
    business: &BusinessRef,
    operation: &'static str,
) -> Result<(BusinessState, EventHash)> {
    let nothing = BusinessState::new(business.clone());
    sqlx::query("INSERT INTO standfast_business VALUES ($1, 0, $2, $3) ON CONFLICT DO NOTHING")
        .bind(business.as_str())
        .bind(EventHash::FIRST.to_string())
        .bind(write(&nothing, operation)?)
        .execute(&mut **change)
        .await
        .map_err(failed(operation))?;
    let row =
        sqlx::query("SELECT hash, state FROM standfast_business WHERE business = $1 FOR UPDATE")
            .bind(business.as_str())
            .fetch_one(&mut **change)
            .await
            .map_err(failed(operation))?;
    let hash: String = row.try_get("hash").map_err(failed(operation))?;
    let state: String = row.try_get("state").map_err(failed(operation))?;
    Ok((read(&state, operation)?, hash.parse().map_err(|_| corrupt(operation))?))
}

async fn insert(
    change: &mut Transaction<'static, Postgres>,
    event: &BusinessEvent,
    operation: &'static str,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO standfast_business_event \
         (business, seq, origin, step, actor, request, session, at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(event.business.as_str())
    .bind(event.seq.cast_signed())
    .bind(&event.origin)
    .bind(&event.step)
    .bind(event.actor.to_string())
    .bind(&event.request_id)
    .bind(event.session.map(|session| session.to_string()))
    .bind(event.at.timestamp_micros())
    .bind(write(event, operation)?)
    .execute(&mut **change)
    .await
    .map_err(failed(operation))?;
    Ok(())
}

async fn events(
    from: impl sqlx::PgExecutor<'_>,
    business: &BusinessRef,
    after: u64,
    max: usize,
    operation: &'static str,
) -> Result<Vec<BusinessEvent>> {
    let bodies: Vec<String> = sqlx::query_scalar(
        "SELECT body FROM standfast_business_event WHERE business = $1 AND seq > $2 \
         ORDER BY seq LIMIT $3",
    )
    .bind(business.as_str())
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::try_from(max).unwrap_or(i64::MAX))
    .fetch_all(from)
    .await
    .map_err(failed(operation))?;
    bodies.iter().map(|body| read(body, operation)).collect()
}

fn corrupt(operation: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, BACKEND, operation).with_detail("a row that is no event")
}

fn read<T: DeserializeOwned>(body: &str, operation: &'static str) -> Result<T> {
    serde_json::from_str(body).map_err(|error| corrupt(operation).with_source(error))
}

fn write(value: &impl serde::Serialize, operation: &'static str) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Invalid, BACKEND, operation).with_source(error))
}

#[async_trait]
impl BusinessStore for PostgresBusinessStore {
    fn capabilities(&self) -> BusinessCapabilities {
        let mut capabilities = BusinessCapabilities::new(MAX_EVENT);
        capabilities.is_shared = true;
        capabilities.is_durable = true;
        capabilities
    }

    async fn append(
        &self,
        business: &BusinessRef,
        expected: Expected,
        changes: &Changes,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        let kind = EventKind::Changed;
        self.add(business, expected, kind, changes, meta, "business.append").await
    }

    async fn close(
        &self,
        business: &BusinessRef,
        reason: &str,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        let kind = EventKind::Closed { reason: reason.to_owned() };
        let nothing = Changes::new();
        self.add(business, Expected::Any, kind, &nothing, meta, "business.close").await
    }

    async fn state_at(&self, business: &BusinessRef, at: At) -> Result<Option<BusinessState>> {
        const OPERATION: &str = "business.state_at";
        const PAGE: usize = 500;
        check_name(business)?;
        if at == At::Latest {
            let state: Option<String> = sqlx::query_scalar(
                "SELECT state FROM standfast_business WHERE business = $1 AND seq > 0",
            )
            .bind(business.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed(OPERATION))?;
            return state.map(|state| read(&state, OPERATION)).transpose();
        }
        // events do not change, so pages read one after the other agree
        let mut state = BusinessState::new(business.clone());
        loop {
            let page = events(&self.pool, business, state.seq, PAGE, OPERATION).await?;
            for event in &page {
                if !at.includes(event) {
                    return Ok((state.seq > 0).then_some(state));
                }
                state.apply(event);
            }
            if page.len() < PAGE {
                return Ok((state.seq > 0).then_some(state));
            }
        }
    }

    async fn history(
        &self,
        business: &BusinessRef,
        after: u64,
        max: usize,
    ) -> Result<Vec<BusinessEvent>> {
        check_name(business)?;
        events(&self.pool, business, after, max, "business.history").await
    }

    async fn find(&self, what: &Lookup, max: usize) -> Result<Vec<BusinessEvent>> {
        const OPERATION: &str = "business.find";
        let (question, value) = match what {
            Lookup::Actor(actor) => (
                "SELECT body FROM standfast_business_event WHERE actor = $1 \
                 ORDER BY stored DESC LIMIT $2",
                actor.to_string(),
            ),
            Lookup::Request(request) => (
                "SELECT body FROM standfast_business_event WHERE request = $1 \
                 ORDER BY stored DESC LIMIT $2",
                request.clone(),
            ),
            Lookup::Session(session) => (
                "SELECT body FROM standfast_business_event WHERE session = $1 \
                 ORDER BY stored DESC LIMIT $2",
                session.to_string(),
            ),
        };
        let bodies: Vec<String> = sqlx::query_scalar(question)
            .bind(value)
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(failed(OPERATION))?;
        bodies.iter().map(|body| read(body, OPERATION)).collect()
    }
}

#[async_trait]
impl HealthCheck for PostgresBusinessStore {
    async fn health(&self) -> Health {
        health(&self.pool, "postgres business sessions", "standfast_business").await
    }
}

impl fmt::Debug for PostgresBusinessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.pool.connect_options();
        f.debug_struct("PostgresBusinessStore")
            .field("host", &options.get_host())
            .field("database", &options.get_database())
            .finish_non_exhaustive()
    }
}
