//! Between records and the bytes that hold them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use standfast_core::redis::{Reply, Request};
use standfast_core::{Error, ErrorKind, Fence, Id128, JobId, Reason, Result};

use crate::owner::Owner;
use crate::record::{FormerOwner, TickRecord, TickState};
use crate::settle::Settlement;

pub(super) const BACKEND: &str = "redis";

/// The version this library writes and the only one there has been.
const LAYOUT: u8 = 1;

/// What a script answers: the word that says what it is, and the rest.
pub(super) struct Answer {
    pub(super) word: String,
    rest: std::vec::IntoIter<Reply>,
    operation: &'static str,
}

impl Answer {
    pub(super) fn read(reply: Reply, operation: &'static str) -> Result<Self> {
        let mut rest = reply.into_array(operation)?.into_iter();
        let word = rest.next().unwrap_or(Reply::Nil).into_text(operation)?;
        Ok(Self { word, rest, operation })
    }

    fn next(&mut self) -> Reply {
        self.rest.next().unwrap_or(Reply::Nil)
    }

    pub(super) fn time(&mut self) -> Result<DateTime<Utc>> {
        let micros = self.next().into_int(self.operation)?;
        DateTime::from_timestamp_micros(micros).ok_or_else(|| corrupt(self.operation))
    }

    pub(super) fn optional_time(&mut self) -> Result<Option<DateTime<Utc>>> {
        let Some(reply) = self.next().into_option() else { return Ok(None) };
        let micros = reply.into_int(self.operation)?;
        DateTime::from_timestamp_micros(micros).map(Some).ok_or_else(|| corrupt(self.operation))
    }

    /// The record of the tick due at `at`.
    pub(super) fn record(&mut self, at: DateTime<Utc>) -> Result<TickRecord> {
        let raw = self.next().into_bytes(self.operation)?;
        Ok(read_record(at, &raw, self.operation)?.0)
    }

    /// The error that any other answer is.
    pub(super) fn error(&mut self) -> Result<Error> {
        Ok(match self.word.as_str() {
            "corrupt" => corrupt(self.operation),
            "newer" => newer(self.operation, self.next().into_int(self.operation)?),
            _ => Error::new(ErrorKind::Unexpected, BACKEND, self.operation)
                .with_detail("an answer that is none"),
        })
    }
}

fn corrupt(operation: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, BACKEND, operation)
        .with_detail("bytes at the name of a tick record or of the cursor that are none")
}

fn newer(operation: &'static str, layout: i64) -> Error {
    Error::new(ErrorKind::Unsupported, BACKEND, operation)
        .with_reason(Reason::NewerVersion)
        .with_detail(format!("a record of layout {layout}, this library reads up to {LAYOUT}"))
}

/// How a tick ended: the state, the error and the jobs.
pub(super) fn push_settlement(request: &mut Request, settlement: &Settlement) {
    match settlement {
        Settlement::Abandon => request.push("1").push("").push(""),
        Settlement::Fail { error } => request.push("5").push(error).push(""),
        Settlement::Finish { jobs } => {
            let jobs: Vec<u8> = jobs.iter().flat_map(|job| Id128::from(*job).to_bytes()).collect();
            request.push("3").push("").push(jobs)
        }
    };
}

/// The answer of `TIME`.
pub(super) fn clock(reply: Reply, operation: &'static str) -> Result<DateTime<Utc>> {
    let [seconds, micros] = reply.into_fields(operation)?;
    let (seconds, micros) = (seconds.into_int(operation)?, micros.into_int(operation)?);
    DateTime::from_timestamp_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
        .ok_or_else(|| corrupt(operation))
}

/// The answer of `records.lua`.
pub(super) struct Page {
    pub(super) records: Vec<TickRecord>,
    pub(super) last: Option<DateTime<Utc>>,
    pub(super) looked_at: usize,
}

pub(super) fn read_page(reply: Reply, operation: &'static str) -> Result<Page> {
    let [time, ticks, raw] = reply.into_fields(operation)?;
    let now = clock(time, operation)?;
    let (ticks, raw) = (ticks.into_array(operation)?, raw.into_array(operation)?);
    let mut page = Page { records: Vec::new(), last: None, looked_at: ticks.len() };
    for (tick, raw) in ticks.into_iter().zip(raw) {
        let at = DateTime::from_timestamp_micros(tick.into_int(operation)?)
            .ok_or_else(|| corrupt(operation))?;
        page.last = Some(at);
        let Some(raw) = raw.into_option() else { continue };
        let (record, kept_until) = read_record(at, &raw.into_bytes(operation)?, operation)?;
        if kept_until > now {
            page.records.push(record);
        }
    }
    Ok(page)
}

/// The record of the tick due at `at`, and until when it is kept.
fn read_record(
    at: DateTime<Utc>,
    raw: &[u8],
    operation: &'static str,
) -> Result<(TickRecord, DateTime<Utc>)> {
    match raw.first() {
        Some(&layout) if layout > LAYOUT => Err(newer(operation, layout.into())),
        Some(&LAYOUT) => parse(at, raw).ok_or_else(|| corrupt(operation)),
        _ => Err(corrupt(operation)),
    }
}

fn parse(at: DateTime<Utc>, raw: &[u8]) -> Option<(TickRecord, DateTime<Utc>)> {
    let mut raw = Bytes(raw);
    let [_layout, state, formers] = raw.take()?;
    let fence = Fence::new(raw.number()?);
    let previous = raw.optional_time()?;
    let (first_claimed_at, claimed_at, lease_until) = (raw.time()?, raw.time()?, raw.time()?);
    let finished_at = raw.optional_time()?;
    let kept_until = raw.time()?;
    let (attempt, crashes) = (raw.short()?, raw.short()?);
    let _claim: [u8; 16] = raw.take()?;
    let incarnation = Id128::from_bytes(raw.take()?);
    let owner = Owner::from_parts(raw.text()?, incarnation);
    let error = raw.text()?;
    let jobs = raw.block()?;
    let (schedules, known) = (names(&raw.text()?), names(&raw.text()?));
    let mut former_owners = Bytes(raw.block()?);
    let state = match state {
        1 => TickState::Abandoned,
        2 => TickState::Claimed,
        3 => TickState::Done,
        4 => TickState::Exhausted,
        5 => TickState::Failed,
        _ => return None,
    };
    let (jobs, rest) = jobs.as_chunks();
    if !rest.is_empty() || !raw.0.is_empty() {
        return None;
    }
    let mut record = TickRecord::first(at, owner, fence, claimed_at, lease_until);
    record.previous = previous;
    record.known = known;
    record.schedules = schedules;
    record.state = state;
    record.attempt = attempt;
    record.crashes = crashes;
    record.first_claimed_at = first_claimed_at;
    record.finished_at = finished_at;
    record.error = (state == TickState::Failed).then_some(error);
    record.jobs = jobs.iter().map(|job| JobId::from(Id128::from_bytes(*job))).collect();
    for _ in 0..formers {
        record.former.push(former_owners.former()?);
    }
    former_owners.0.is_empty().then_some((record, kept_until))
}

fn names(joined: &str) -> BTreeSet<String> {
    joined.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn short(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn time(&mut self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(i64::try_from(self.number()?).ok()?)
    }

    /// 0 is none.
    fn optional_time(&mut self) -> Option<Option<DateTime<Utc>>> {
        let time = self.time()?;
        Some((time != DateTime::UNIX_EPOCH).then_some(time))
    }

    /// What follows its length.
    fn block(&mut self) -> Option<&'a [u8]> {
        let size = usize::try_from(self.short()?).ok()?;
        let (block, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(block)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.block()?.to_vec()).ok()
    }

    fn former(&mut self) -> Option<FormerOwner> {
        let fence = Fence::new(self.number()?);
        let (claimed_at, lease_until) = (self.time()?, self.time()?);
        let incarnation = Id128::from_bytes(self.take()?);
        let [size] = self.take()?;
        let (name, rest) = self.0.split_at_checked(size.into())?;
        self.0 = rest;
        let owner = Owner::from_parts(std::str::from_utf8(name).ok()?, incarnation);
        Some(FormerOwner { owner, fence, claimed_at, lease_until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator: what it makes is the same in every run.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0 >> 33
        }
    }

    fn plain() -> Vec<u8> {
        let mut raw = vec![LAYOUT, 3, 0];
        for number in [7_u64, 0, 1, 2, 3, 4, 5] {
            raw.extend(number.to_be_bytes());
        }
        raw.extend([0; 4 + 4 + 16 + 16]);
        for block in [&b"web"[..], b"", &[9; 16], b"a,b", b"", b""] {
            raw.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            raw.extend(block);
        }
        raw
    }

    #[test]
    fn a_record_is_read_and_nothing_but_a_record() {
        let (raw, at) = (plain(), DateTime::UNIX_EPOCH);
        let (record, kept_until) = read_record(at, &raw, "test").unwrap();
        assert_eq!((record.owner.name(), record.fence.get()), ("web", 7));
        assert_eq!(record.schedules.len(), 2);
        assert_eq!(record.jobs.len(), 1);
        assert_eq!(kept_until.timestamp_micros(), 5);
        for end in 0..raw.len() {
            assert!(read_record(at, &raw[..end], "test").is_err(), "cut at {end}");
        }
        let longer = [&raw[..], b"x"].concat();
        assert_eq!(read_record(at, &longer, "test").unwrap_err().kind(), ErrorKind::Corrupt);
        let error = read_record(at, &[LAYOUT + 1], "test").unwrap_err();
        assert_eq!(error.reason(), Some(Reason::NewerVersion));
    }

    #[test]
    fn whatever_bytes_are_stored_reading_them_ends() {
        let (mut noise, mut unreadable) = (Noise(7), 0);
        for _ in 0..100_000 {
            let mut raw = plain();
            for _ in 0..1 + noise.next() % 3 {
                let place = (noise.next() % raw.len() as u64) as usize;
                raw[place] = noise.next() as u8;
            }
            unreadable += u32::from(read_record(DateTime::UNIX_EPOCH, &raw, "test").is_err());
        }
        assert!((10_000..90_000).contains(&unreadable), "{unreadable}: both happen");
    }
}
