//! The tables, by version.

use sqlx::{Executor as _, PgPool};
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::BACKEND;
use super::error::{failed, unsure};

pub(super) const SESSION: &[&str] = &["
    CREATE TABLE standfast_session (
        session bytea PRIMARY KEY,
        verifier bytea NOT NULL,
        previous bytea,
        previous_until bigint,
        idle bigint NOT NULL,
        absolute bigint NOT NULL,
        created bigint NOT NULL,
        touched bigint NOT NULL,
        expires bigint NOT NULL,
        version bigint NOT NULL,
        principal text,
        fields bytea NOT NULL
    );
    CREATE INDEX standfast_session_principal ON standfast_session (principal, created DESC)
        WHERE principal IS NOT NULL;
    CREATE INDEX standfast_session_expires ON standfast_session (expires);
"];

pub(super) const BUSINESS: &[&str] = &["
    CREATE TABLE standfast_business (
        business text PRIMARY KEY,
        seq bigint NOT NULL,
        hash text NOT NULL,
        state text NOT NULL
    );
    CREATE TABLE standfast_business_event (
        business text NOT NULL,
        seq bigint NOT NULL,
        origin text NOT NULL,
        step text NOT NULL,
        actor text NOT NULL,
        request text,
        session text,
        at bigint NOT NULL,
        body text NOT NULL,
        stored bigint GENERATED ALWAYS AS IDENTITY,
        PRIMARY KEY (business, seq),
        UNIQUE (business, origin, step)
    );
    CREATE INDEX standfast_business_event_actor ON standfast_business_event (actor, stored DESC);
    CREATE INDEX standfast_business_event_request ON standfast_business_event (request, stored DESC)
        WHERE request IS NOT NULL;
    CREATE INDEX standfast_business_event_session ON standfast_business_event (session, stored DESC)
        WHERE session IS NOT NULL;
    CREATE FUNCTION standfast_business_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'what has happened is neither changed nor removed';
    END $$;
    CREATE TRIGGER standfast_business_keep BEFORE UPDATE OR DELETE OR TRUNCATE
        ON standfast_business_event FOR EACH STATEMENT EXECUTE FUNCTION standfast_business_keep();
"];

/// Brings the tables of `area` to the version of this library, one version in a transaction each.
///
/// Died at any point: the versions that were committed are there, the rest is for the next call.
/// Any number of processes may call it at once: one does it, the others wait and find it done.
pub(super) async fn migrate(pool: &PgPool, area: &str, steps: &[&'static str]) -> Result<()> {
    const OPERATION: &str = "postgres.migrate";
    loop {
        let mut change = pool.begin().await.map_err(failed(OPERATION))?;
        // no other number means anything here; it only has to be the same in all processes
        sqlx::query("SELECT pg_advisory_xact_lock(7310579)")
            .execute(&mut *change)
            .await
            .map_err(failed(OPERATION))?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS standfast_schema (area text PRIMARY KEY, version int NOT NULL)",
        )
        .execute(&mut *change)
        .await
        .map_err(failed(OPERATION))?;
        let version: i32 = sqlx::query_scalar(
            "SELECT coalesce(max(version), 0) FROM standfast_schema WHERE area = $1",
        )
        .bind(area)
        .fetch_one(&mut *change)
        .await
        .map_err(failed(OPERATION))?;
        let done = usize::try_from(version).unwrap_or_default();
        if done > steps.len() {
            let newest = steps.len();
            return Err(Error::new(ErrorKind::Unsupported, BACKEND, OPERATION)
                .with_reason(Reason::NewerVersion)
                .with_detail(format!("tables of version {done}, this library knows {newest}")));
        }
        let Some(&step) = steps.get(done) else { return Ok(()) };
        (&mut *change).execute(step).await.map_err(failed(OPERATION))?;
        sqlx::query(
            "INSERT INTO standfast_schema VALUES ($1, $2)
             ON CONFLICT (area) DO UPDATE SET version = excluded.version",
        )
        .bind(area)
        .bind(version + 1)
        .execute(&mut *change)
        .await
        .map_err(failed(OPERATION))?;
        change.commit().await.map_err(unsure(OPERATION))?;
    }
}
