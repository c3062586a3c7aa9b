//! Between sessions and the hashes that hold them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};
use standfast_core::redis::{Reply, Request};
use standfast_core::{Error, ErrorKind, Reason, Result, SessionRef};

use super::BACKEND;
use crate::field::{Field, FieldName, FieldValue};
use crate::init::Timeouts;
use crate::limits::SessionLimits;
use crate::outcome::Conflict;
use crate::patch::{FieldOp, Patch};
use crate::snapshot::{SessionSummary, Snapshot, Via};
use crate::stored::{number, pack, read_field};
use crate::token::{Access, VerifierHash};

/// The version this library writes and the only one there has been.
const LAYOUT: u8 = 1;

/// Longer lives of fields are shortened to this, 31 years, which no session reaches.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// What a script answers: the word that says what it is, and the rest.
pub(super) struct Answer {
    pub(super) word: String,
    rest: std::vec::IntoIter<Reply>,
    operation: &'static str,
}

impl Answer {
    pub(super) fn read(reply: Reply, operation: &'static str) -> Result<Self> {
        let (word, rest) = match reply {
            Reply::Bytes(done) => (
                "done".to_owned(),
                unpack_done(&done).ok_or_else(|| {
                    Error::new(ErrorKind::Corrupt, BACKEND, operation)
                        .with_detail("an answer that is none")
                })?,
            ),
            other => {
                let mut rest = other.into_array(operation)?;
                let word = if rest.is_empty() { Reply::Nil } else { rest.remove(0) };
                (word.into_text(operation)?, rest)
            }
        };
        Ok(Self { word, rest: rest.into_iter(), operation })
    }

    pub(super) fn next(&mut self) -> Reply {
        self.rest.next().unwrap_or(Reply::Nil)
    }

    /// The version and the end of the session.
    pub(super) fn done(&mut self) -> Result<(u64, DateTime<Utc>)> {
        let version = self.next().into_int(self.operation)?;
        let ends = self.next().into_int(self.operation)?;
        Ok((u64::try_from(version).unwrap_or_default(), time(ends, self.operation)?))
    }

    pub(super) fn conflict(&mut self) -> Result<Conflict> {
        let name = self.next().into_text(self.operation)?;
        let field = FieldName::from_stored(&name)?;
        let there = match self.next().into_option() {
            None => None,
            Some(raw) => Some(read_field(&raw.into_bytes(self.operation)?)),
        };
        Ok(Conflict::new(field, there.map(|field| (field.revision, field.value))))
    }

    /// The error that any other answer is.
    pub(super) fn error(&mut self, limits: &SessionLimits) -> Result<Error> {
        let operation = self.operation;
        let error = |kind| Error::new(kind, BACKEND, operation);
        Ok(match self.word.as_str() {
            "corrupt" => corrupt(self.operation),
            "newer" => newer(self.operation, self.next().into_int(self.operation)?),
            "invalid" => {
                let name = self.next().into_text(self.operation)?;
                let what = self.next().into_text(self.operation)?;
                error(ErrorKind::Invalid).with_detail(format!("field `{name}` {what}"))
            }
            "large" => {
                let name = self.next().into_text(self.operation)?;
                let size = self.next().into_int(self.operation)?;
                let (what, most) = match name.as_str() {
                    "" => ("the session".to_owned(), limits.max_session),
                    name => (format!("field `{name}`"), limits.max_field),
                };
                error(ErrorKind::TooLarge)
                    .with_detail(format!("{what} has {size} bytes, at most {most}"))
            }
            "many" => {
                let count = self.next().into_int(self.operation)?;
                let most = limits.max_fields;
                error(ErrorKind::TooLarge)
                    .with_detail(format!("the session has {count} fields, at most {most}"))
            }
            _ => error(ErrorKind::Unexpected).with_detail("an answer that is none"),
        })
    }
}

/// Version, end, and whether it was written: in one string, because an array of them costs the server
/// three times as much.
fn unpack_done(done: &[u8]) -> Option<Vec<Reply>> {
    let (version, rest) = number(done)?;
    let (ends, rest) = number(rest)?;
    let [written] = rest else { return None };
    let int = |number: u64| i64::try_from(number).ok().map(Reply::Int);
    Some(vec![int(version)?, int(ends)?, Reply::Int((*written).into())])
}

pub(super) fn corrupt(operation: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, BACKEND, operation)
        .with_detail("a hash at the name of a session that is none")
}

fn newer(operation: &'static str, layout: i64) -> Error {
    Error::new(ErrorKind::Unsupported, BACKEND, operation)
        .with_reason(Reason::NewerVersion)
        .with_detail(format!("a session of layout {layout}, this library reads up to {LAYOUT}"))
}

/// The first argument of each script that changes a session: the limits, of how many changes the
/// patch is, the hash of the secret that is shown, and the letters of the changes. See
/// `session.lua`.
pub(super) fn head(limits: &SessionLimits, shown: Option<VerifierHash>, patch: &Patch) -> Vec<u8> {
    let changes = patch.iter().count();
    let mut head = Vec::with_capacity(48 + changes);
    for number in [limits.max_session, limits.max_field, limits.max_fields, changes] {
        head.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
    }
    head.extend(shown.iter().flat_map(|shown| shown.to_bytes()));
    head.extend(patch.iter().map(|(_, change)| {
        let letter = match &change.op {
            FieldOp::Set(_) => b'S',
            FieldOp::Remove => b'R',
            FieldOp::PutIfAbsent(_) => b'P',
            FieldOp::CompareAndSet { value: Some(_), .. } => b'C',
            FieldOp::CompareAndSet { value: None, .. } => b'D',
            FieldOp::Increment(_) => b'I',
            FieldOp::SetMembers { .. } => b'M',
            FieldOp::Append { .. } => b'A',
        };
        if change.expires_in.is_some() { letter.to_ascii_lowercase() } else { letter }
    }));
    head
}

/// Microseconds as digits.
pub(super) fn micros(span: Duration) -> String {
    span.min(LONGEST).as_micros().to_string()
}

/// The names, then the operands; see `patch.lua`.
pub(super) fn push_patch(request: &mut Request, patch: &Patch) {
    for (name, _) in patch {
        request.push(name.as_str());
    }
    for (_, change) in patch {
        if let Some(span) = change.expires_in {
            request.push(micros(span));
        }
        match &change.op {
            FieldOp::Remove => {}
            FieldOp::Set(value) | FieldOp::PutIfAbsent(value) => {
                request.push(value);
            }
            FieldOp::CompareAndSet { seen, value } => {
                request.push(seen.map(|seen| seen.to_string()).unwrap_or_default());
                if let Some(value) = value {
                    request.push(value);
                }
            }
            FieldOp::Increment(by) => {
                request.push(by.to_be_bytes());
            }
            FieldOp::SetMembers { add, remove } => {
                request.push(pack(add)).push(pack(remove));
            }
            FieldOp::Append { values, keep } => {
                request.push(pack(values)).push(keep.to_string());
            }
        }
    }
}

pub(super) fn time(micros: i64, operation: &'static str) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| corrupt(operation))
}

fn now(reply: Reply, operation: &'static str) -> Result<DateTime<Utc>> {
    let [seconds, micros] = reply.into_fields(operation)?;
    let (seconds, micros) = (seconds.into_int(operation)?, micros.into_int(operation)?);
    time(seconds.saturating_mul(1_000_000).saturating_add(micros), operation)
}

/// The field `~`.
struct Record {
    created_at: DateTime<Utc>,
    touched_at: DateTime<Utc>,
    timeouts: Timeouts,
    version: u64,
}

impl Record {
    fn read(raw: &[u8], operation: &'static str) -> Result<Self> {
        let layout = *raw.first().ok_or_else(|| corrupt(operation))?;
        if layout > LAYOUT {
            return Err(newer(operation, layout.into()));
        }
        let read = || {
            let (layout, rest) = raw.split_first()?;
            let (created, rest) = number(rest)?;
            let (absolute, rest) = number(rest)?;
            let (idle, rest) = number(rest)?;
            let (touched, rest) = number(rest)?;
            let (version, rest) = number(rest)?;
            let time = |micros| DateTime::from_timestamp_micros(i64::try_from(micros).ok()?);
            let timeouts =
                Timeouts::new(Duration::from_micros(idle), Duration::from_micros(absolute));
            timeouts.validate().ok()?;
            (*layout == LAYOUT && rest.len() == 8).then_some(Self {
                created_at: time(created)?,
                touched_at: time(touched)?,
                timeouts,
                version,
            })
        };
        read().ok_or_else(|| corrupt(operation))
    }

    fn expires_at(&self) -> DateTime<Utc> {
        self.timeouts.expires_at(self.created_at, self.touched_at)
    }
}

/// What a reading of a session comes to.
pub(super) enum Loaded {
    Absent,
    Found(Box<Snapshot>),
    Refused,
}

/// The answer to `HGETALL`, with the time.
pub(super) fn read_session(
    reply: Reply,
    access: &Access,
    operation: &'static str,
) -> Result<Loaded> {
    let [now, all] = reply.into_fields(operation)?;
    let now = time(now.into_int(operation)?, operation)?;
    let mut all = all.into_array(operation)?.into_iter();
    if all.len() == 0 {
        return Ok(Loaded::Absent);
    }
    let (mut record, mut current, mut previous, mut principal) = (None, None, None, None);
    let mut fields = BTreeMap::new();
    while let (Some(name), Some(value)) = (all.next(), all.next()) {
        let (name, value) = (name.into_bytes(operation)?, value.into_bytes(operation)?);
        match name.as_slice() {
            b"~" => record = Some(value),
            b"~h" => current = Some(value),
            b"~p" => previous = Some(value),
            b"~u" => principal = Some(value),
            name => {
                let name = std::str::from_utf8(name).ok();
                // a name that this version does not know belongs to one that does
                let Some(name) = name.and_then(|name| FieldName::from_stored(name).ok()) else {
                    continue;
                };
                let field = take_field(value);
                if field.is_live(now) {
                    fields.insert(name, field);
                }
            }
        }
    }
    let record = Record::read(&record.ok_or_else(|| corrupt(operation))?, operation)?;
    let expires_at = record.expires_at();
    if expires_at <= now {
        return Ok(Loaded::Absent);
    }
    let Some(via) = via(access, current.as_deref(), previous.as_deref(), now) else {
        return Ok(Loaded::Refused);
    };
    let ends_at = record.created_at + record.timeouts.absolute;
    let mut snapshot = Snapshot::new(access.session(), record.version, record.created_at, ends_at);
    snapshot.touched_at = record.touched_at;
    snapshot.expires_at = expires_at;
    snapshot.principal = match principal {
        None => None,
        Some(name) => Some(String::from_utf8(name).map_err(|_| corrupt(operation))?),
    };
    snapshot.via = via;
    snapshot.now = now;
    snapshot.fields = fields;
    Ok(Loaded::Found(Box::new(snapshot)))
}

/// A stored field, of which bytes, the most common kind, are not copied.
fn take_field(raw: Vec<u8>) -> Field {
    match raw.split_first() {
        Some((b'b', rest)) => match number(rest) {
            Some((revision, payload)) => {
                let head = raw.len() - payload.len();
                let mut bytes = Bytes::from(raw);
                bytes.advance(head);
                Field::new(FieldValue::Bytes(bytes), revision)
            }
            None => read_field(&raw),
        },
        _ => read_field(&raw),
    }
}

fn via(
    access: &Access,
    current: Option<&[u8]>,
    previous: Option<&[u8]>,
    now: DateTime<Utc>,
) -> Option<Via> {
    let Access::Bearer { verifier, .. } = access else { return Some(Via::Trusted) };
    let is = |hash: &[u8]| {
        <[u8; 32]>::try_from(hash).is_ok_and(|hash| VerifierHash::from_bytes(hash) == *verifier)
    };
    if current.is_some_and(is) {
        return Some(Via::Current);
    }
    let (hash, until) = previous?.split_last_chunk()?;
    let until = DateTime::from_timestamp_micros(i64::from_be_bytes(*until))?;
    (is(hash) && until > now).then_some(Via::Previous)
}

/// The answer of `look.lua`: the line of a session, if it lives and is this principal's.
pub(super) fn read_line(
    reply: Reply,
    session: SessionRef,
    principal: &str,
    operation: &'static str,
) -> Result<Option<SessionSummary>> {
    let [clock, record, owner, there] = reply.into_fields(operation)?;
    let now = now(clock, operation)?;
    let Some(record) = record.into_option() else {
        return if there.into_int(operation)? == 0 { Ok(None) } else { Err(corrupt(operation)) };
    };
    let record = Record::read(&record.into_bytes(operation)?, operation)?;
    let Some(owner) = owner.into_option() else { return Ok(None) };
    if owner.into_bytes(operation)? != principal.as_bytes() || record.expires_at() <= now {
        return Ok(None);
    }
    let Record { created_at, touched_at, .. } = record;
    Ok(Some(SessionSummary::new(session, created_at, touched_at, record.expires_at())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Noise, rounds};
    use crate::token::SessionToken;

    #[test]
    fn whatever_bytes_are_stored_reading_them_ends() {
        let mut noise = Noise::new(7);
        let (mut unreadable, mut all) = (0, 0);
        for _ in rounds(200_000) {
            let size = noise.below(40);
            let mut raw: Vec<u8> = (0..size).map(|_| noise.byte()).collect();
            if let Some(first) = raw.first_mut() {
                *first = b"bclsBCLSxz~"[noise.below(11) as usize];
            }
            let field = read_field(&raw);
            assert_eq!(take_field(raw.clone()), field);
            unreadable += u64::from(matches!(field.value, FieldValue::Unreadable(_)));
            all += 1;
            let _ = Record::read(&raw, "test").is_ok();
        }
        println!("{all} values, {unreadable} of them unreadable");
        assert!((all / 20..all - all / 20).contains(&unreadable), "{unreadable}: both happen");
    }

    /// What a session that a reading finds comes to, where it is what a change has left after the
    /// time was read, or ended after that.
    #[test]
    fn a_session_that_changes_after_the_time_was_read_is_judged_by_it() {
        const NOW: u64 = 1_800_000_000_000_000;
        const IDLE: u64 = 1_800_000_000;
        const ABSOLUTE: u64 = 28_800_000_000;
        let (old, new, stranger) =
            (SessionToken::random(), SessionToken::random(), SessionToken::random());
        let read = |created: u64, touched: u64, grace: u64, token: &SessionToken| {
            let mut record = vec![LAYOUT];
            for number in [created, ABSOLUTE, IDLE, touched, 3] {
                record.extend(number.to_be_bytes());
            }
            record.extend([0; 8]);
            let previous = [&old.verifier_hash().to_bytes()[..], &grace.to_be_bytes()].concat();
            let words = [
                b"~".to_vec(),
                record,
                b"~h".to_vec(),
                new.verifier_hash().to_bytes().to_vec(),
                b"~p".to_vec(),
                previous,
            ];
            let words = Reply::Array(words.map(Reply::Bytes).to_vec());
            let reply = Reply::Array(vec![Reply::Int(NOW.cast_signed()), words]);
            match read_session(reply, &Access::bearer(token), "test").unwrap() {
                Loaded::Absent => "absent",
                Loaded::Refused => "refused",
                Loaded::Found(snapshot) => {
                    assert_eq!(snapshot.now.timestamp_micros(), NOW.cast_signed());
                    match snapshot.via {
                        Via::Current => "current",
                        Via::Previous => "previous",
                        Via::Trusted => "trusted",
                    }
                }
            }
        };
        let began = NOW - 60_000_000;
        // touched, or created, after the time
        assert_eq!(read(began, NOW + 1, 0, &new), "current");
        assert_eq!(read(NOW + 1, NOW + 1, 0, &new), "current");
        assert_eq!(read(NOW + 1, NOW + 1, 0, &stranger), "refused");
        // ended by then, or after it
        assert_eq!(read(NOW - IDLE, NOW - IDLE, 0, &new), "absent");
        assert_eq!(read(NOW - IDLE, NOW - IDLE + 1, 0, &new), "current");
        // rotated after the time, with a grace and without, and a grace that had ended by then
        assert_eq!(read(began, NOW + 1, NOW + 30_000_001, &old), "previous");
        assert_eq!(read(began, NOW + 1, NOW + 1, &old), "previous");
        assert_eq!(read(began, NOW + 1, NOW, &old), "refused");
        assert_eq!(read(began, NOW + 1, NOW + 1, &stranger), "refused");
        // ended by somebody
        let gone = Reply::Array(vec![Reply::Int(NOW.cast_signed()), Reply::Array(vec![])]);
        let gone = read_session(gone, &Access::bearer(&new), "test").unwrap();
        assert!(matches!(gone, Loaded::Absent));
    }

    /// A session as the server answers it, with a few bytes, fields or numbers that are others.
    #[test]
    fn whatever_is_in_a_hash_reading_it_ends() {
        let mut noise = Noise::new(11);
        let (token, now) = (SessionToken::random(), 1_800_000_000_000_000_u64);
        let visitor = Access::bearer(&token);
        let mut record = vec![LAYOUT];
        for number in [now, 28_800_000_000, 1_800_000_000, now, 3] {
            record.extend(number.to_be_bytes());
        }
        record.extend([0; 8]);
        let hash = token.verifier_hash().to_bytes().to_vec();
        let field = [&b"b"[..], &[0, 0, 0, 0, 0, 0, 0, 3], b"tea"].concat();
        let counter = [&b"c"[..], &[0; 16]].concat();
        let (mut found, mut failed, mut all) = (0, 0, 0);
        for _ in rounds(50_000) {
            let mut words = vec![
                b"~".to_vec(),
                record.clone(),
                b"~h".to_vec(),
                hash.clone(),
                b"cart".to_vec(),
                field.clone(),
                b"n".to_vec(),
                counter.clone(),
                b"~p".to_vec(),
                [&hash[..], &now.to_be_bytes()[..]].concat(),
                b"f:01".to_vec(),
                field.clone(),
                b"b:order".to_vec(),
                field.clone(),
            ];
            for _ in 0..noise.below(5) {
                let word = noise.below(words.len() as u64) as usize;
                let at = noise.below(words[word].len().max(1) as u64) as usize;
                match noise.below(5) {
                    0 => words[word].truncate(at),
                    1 => words[word].push(noise.byte()),
                    2 => drop(words.swap_remove(word)),
                    _ => {
                        if let Some(byte) = words[word].get_mut(at) {
                            *byte = noise.byte();
                        }
                    }
                }
                if words.is_empty() {
                    break;
                }
            }
            let words = Reply::Array(words.into_iter().map(Reply::Bytes).collect());
            let reply = Reply::Array(vec![Reply::Int(1_800_000_000_000_017), words]);
            match read_session(reply, &visitor, "test") {
                Ok(Loaded::Found(_)) => found += 1,
                Ok(_) => {}
                Err(error) => {
                    let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported];
                    assert!(kinds.contains(&error.kind()), "{error:?}");
                    failed += 1;
                }
            }
            all += 1;
        }
        println!("{all} sessions, {found} of them found, {failed} refused");
        assert!(found > all / 20 && failed > all / 20, "{found} and {failed} of {all}");
    }
}
