//! Which sessions somebody has. Feature `redis`.
//!
//! The index of a principal is in another slot than the sessions, so no script changes both. The
//! order makes up for it: a session is announced first and becomes the principal's second. Whoever
//! reads the index looks at each session and counts those that say so themselves.
//!
//! - Died in between: an entry without its session, which the next reader takes off, once it is
//!   old enough that the second step cannot come any more.
//! - The second step comes late, after a pause of the process: it carries until when the
//!   announcement holds, and the script refuses it after that.
//!
//! So a session that is somebody's is always listed. The two times are those of two servers of a
//! Cluster, whose clocks may differ by a quarter of a minute without harm.

use std::time::Duration;

use futures_util::future::try_join_all;
use standfast_core::redis::{Redis, Reply, Request, Script};
use standfast_core::{Error, ErrorKind, Id128, Result, SessionRef};

use super::{BACKEND, RedisSessionHandler, codec};
use crate::init::Timeouts;
use crate::snapshot::SessionSummary;

static INDEX: Script = Script::new(include_str!("lua/index.lua"));
static FORGET: Script = Script::new(include_str!("lua/forget.lua"));
static LOOK: Script = Script::new(include_str!("lua/look.lua"));

/// How long after it was announced a session may become the principal's.
const HOLDS: Duration = Duration::from_secs(45);

/// How old an entry must be to be taken off: what it announces cannot come any more.
const SETTLED: Duration = Duration::from_secs(60);

/// How many sessions are looked at together.
const PAGE: usize = 64;

/// So many entries are no reason to tidy; from then on every sixteenth is.
const TIDY_FROM: i64 = 32;

/// The sessions of one principal.
pub(super) struct Index<'a> {
    handler: &'a RedisSessionHandler,
    redis: &'a Redis,
    principal: &'a str,
    key: String,
}

/// An entry: the session, and when it was announced.
type Entry = (SessionRef, i64);

impl<'a> Index<'a> {
    pub(super) fn of(handler: &'a RedisSessionHandler, principal: &'a str) -> Self {
        let hash = Id128::derive("standfast:session:principal", &[principal.as_bytes()]);
        let key = format!("standfast:1:session-index:{{{}.{hash}}}", handler.config.namespace);
        Self { handler, redis: &handler.redis, principal, key }
    }

    /// Announces a session; until when the second step may follow, in microseconds.
    pub(super) async fn announce(
        &self,
        session: SessionRef,
        operation: &'static str,
    ) -> Result<String> {
        let request = INDEX
            .on(operation, &[&self.key])
            .arg(session.to_string())
            .arg(codec::micros(Timeouts::LONGEST))
            .durability(self.handler.config.durability)
            .repeatable();
        let [now, count] = self.redis.call(request).await?.into_fields(operation)?;
        let (now, count) = (now.into_int(operation)?, count.into_int(operation)?);
        if count >= TIDY_FROM && count % 16 == 0 {
            self.tidy(operation).await;
        }
        let holds = i64::try_from(HOLDS.as_micros()).unwrap_or_default();
        Ok(now.saturating_add(holds).to_string())
    }

    /// Takes a session off that is gone for good. What fails here is put right by a reader.
    pub(super) async fn remove(&self, session: SessionRef, operation: &'static str) {
        let request =
            Request::command(operation, "ZREM", &self.key).arg(session.to_string()).repeatable();
        if let Err(error) = self.redis.call(request).await {
            tracing::debug!(%error, %session, "the index keeps a session that has ended");
        }
    }

    /// The live sessions, the one announced last first, until there are `limit`.
    pub(super) async fn list(
        &self,
        limit: usize,
        operation: &'static str,
    ) -> Result<Vec<SessionSummary>> {
        let mut lines = std::collections::BTreeMap::new();
        let mut start = 0;
        while lines.len() < limit {
            let entries = self.page(start, true, operation).await?;
            let count = entries.len();
            start += count;
            let stale = self.look(entries, operation, |line| {
                lines.insert(line.session, line);
            });
            let stale = stale.await?;
            if !stale.is_empty() {
                self.forget(&stale, operation).await;
            }
            if count < PAGE {
                break;
            }
        }
        let mut lines: Vec<SessionSummary> = lines.into_values().collect();
        lines.sort_by_key(|line| (std::cmp::Reverse(line.created_at), line.session));
        lines.truncate(limit);
        Ok(lines)
    }

    async fn page(
        &self,
        start: usize,
        newest: bool,
        operation: &'static str,
    ) -> Result<Vec<Entry>> {
        let mut request = Request::command(operation, "ZRANGE", &self.key);
        request.push(start.to_string()).push((start + PAGE - 1).to_string());
        if newest {
            request.push("REV");
        }
        request.push("WITHSCORES");
        let mut flat =
            self.redis.call(request.repeatable()).await?.into_array(operation)?.into_iter();
        let mut entries = Vec::new();
        while let (Some(session), Some(at)) = (flat.next(), flat.next()) {
            entries.push(entry(session, at, operation)?);
        }
        Ok(entries)
    }

    /// Hands each session that is the principal's to `found`; the entries of the others.
    async fn look(
        &self,
        entries: Vec<Entry>,
        operation: &'static str,
        mut found: impl FnMut(SessionSummary),
    ) -> Result<Vec<Entry>> {
        let looks = entries.iter().map(|(session, _)| {
            let request = LOOK.on(operation, &[self.handler.key(*session)]).repeatable();
            async move {
                let reply = self.redis.call(request).await?;
                codec::read_line(reply, *session, self.principal, operation)
            }
        });
        let mut stale = Vec::new();
        for (line, entry) in try_join_all(looks).await?.into_iter().zip(&entries) {
            match line {
                Some(line) => found(line),
                None => stale.push(*entry),
            }
        }
        Ok(stale)
    }

    /// Died before: the entries stay for the next reader.
    async fn forget(&self, stale: &[Entry], operation: &'static str) {
        let mut request = FORGET.on(operation, &[&self.key]).arg(codec::micros(SETTLED));
        for (session, at) in stale {
            request.push(session.to_string()).push(at.to_string());
        }
        if let Err(error) = self.redis.call(request.repeatable()).await {
            tracing::debug!(%error, "the index keeps sessions that have ended");
        }
    }

    /// Takes the oldest entries off that stand for nothing, so that an index that nobody reads
    /// stays about as large as what lives.
    async fn tidy(&self, operation: &'static str) {
        let looked = async {
            let entries = self.page(0, false, operation).await?;
            self.look(entries, operation, |_| {}).await
        };
        match looked.await {
            Ok(stale) if stale.is_empty() => {}
            Ok(stale) => self.forget(&stale, operation).await,
            Err(error) => tracing::debug!(%error, "the index was not tidied"),
        }
    }
}

fn entry(session: Reply, at: Reply, operation: &'static str) -> Result<Entry> {
    let session = session.into_text(operation)?.parse().map_err(|_| {
        Error::new(ErrorKind::Corrupt, BACKEND, operation)
            .with_detail("an entry of an index that is no session")
    })?;
    Ok((session, at.into_int(operation)?))
}
