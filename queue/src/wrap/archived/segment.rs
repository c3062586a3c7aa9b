//! Segments: what they are called, what is in them, how they are read.
//!
//! ```text
//! <prefix>/segments/2026/03/01/02/20260301T023000.000000Z-20260301T023000.020000Z-<process>-<number>.v1.gz
//! ```
//!
//! The times are those of the first and the last record, which are of the same hour, so that names
//! ascend by time and a reader opens only what may hold what it looks for. A segment is a gzip
//! stream of the line `standfast-archive 1` and of records, in order; `zcat` shows it.

use std::io::{BufRead, BufReader, Cursor, Write};

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use standfast_blobstore::BlobKey;
use standfast_core::{Error, ErrorKind, Id128, Reason, Result};

use super::record::{self, Frame, Next};

/// The version this library writes, and the only one so far.
const VERSION: u16 = 1;

const TIME: &str = "%Y%m%dT%H%M%S%.6fZ";

const HOUR: &str = "%Y/%m/%d/%H";

/// What the name of a segment says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Name {
    pub(super) key: BlobKey,
    pub(super) first: DateTime<Utc>,
    pub(super) last: DateTime<Utc>,
}

impl Name {
    /// The name of the segment `number` of `process`.
    pub(super) fn new(
        prefix: &str,
        (first, last): (DateTime<Utc>, DateTime<Utc>),
        process: Id128,
        number: u64,
    ) -> Result<Self> {
        let key = BlobKey::new(format!(
            "{prefix}/segments/{}/{}-{}-{process}-{number:010}.v{VERSION}.gz",
            first.format(HOUR),
            first.format(TIME),
            last.format(TIME),
        ))?;
        Ok(Self { key, first, last })
    }

    /// The name in `key`; `None` for a blob that is no segment.
    ///
    /// # Errors
    ///
    /// `Unsupported` with `NewerVersion` for a segment of a newer library.
    pub(super) fn parse(key: &BlobKey) -> Result<Option<Self>> {
        let Some(name) = key.segments().last().and_then(|name| name.strip_suffix(".gz")) else {
            return Ok(None);
        };
        let Some((name, version)) = name.rsplit_once(".v") else { return Ok(None) };
        match version.parse::<u16>() {
            Ok(version) if version > VERSION => return Err(newer(version)),
            Ok(VERSION) => {}
            _ => return Ok(None),
        }
        let mut parts = name.split('-');
        let mut time = || {
            let time = NaiveDateTime::parse_from_str(parts.next()?, TIME).ok()?;
            Some(time.and_utc())
        };
        let (Some(first), Some(last)) = (time(), time()) else { return Ok(None) };
        Ok(Some(Self { key: key.clone(), first, last }))
    }

    /// What every segment with records of `since` or later comes behind.
    pub(super) fn before(prefix: &str, since: DateTime<Utc>) -> String {
        format!("{prefix}/segments/{}", since.format(HOUR))
    }
}

/// Whether two times may be in one segment.
pub(super) fn is_same_hour(one: DateTime<Utc>, other: DateTime<Utc>) -> bool {
    let hour = |time: DateTime<Utc>| time.timestamp().div_euclid(60 * 60);
    hour(one) == hour(other)
}

/// The bytes of a segment of these records, which are in order.
pub(super) fn seal(frames: &[Frame]) -> Bytes {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    // invariant: writing to memory does not fail
    writeln!(out, "standfast-archive {VERSION}").expect("memory takes it");
    for frame in frames {
        frame.write(&mut out).expect("memory takes it");
    }
    out.finish().expect("memory takes it").into()
}

/// Reads a segment record by record.
pub(super) struct SegmentReader {
    from: BufReader<GzDecoder<Cursor<Bytes>>>,
    is_whole: bool,
}

impl SegmentReader {
    /// `is_whole` says that these are all the bytes that were stored.
    ///
    /// # Errors
    ///
    /// `Unsupported` with `NewerVersion` for a segment of a newer library.
    pub(super) fn new(bytes: Bytes, is_whole: bool) -> Result<Option<Self>> {
        let mut from = BufReader::new(GzDecoder::new(Cursor::new(bytes)));
        let mut line = String::new();
        let version = match from.read_line(&mut line) {
            Ok(_) => line.strip_prefix("standfast-archive ").map(str::trim_end),
            Err(_) => None,
        };
        match version.and_then(|version| version.parse::<u16>().ok()) {
            Some(VERSION) => Ok(Some(Self { from, is_whole })),
            Some(version) if version > VERSION => Err(newer(version)),
            _ => Ok(None),
        }
    }

    pub(super) fn next(&mut self) -> Next {
        match record::read(&mut self.from) {
            Next::End if !self.is_whole => Next::Truncated,
            next => next,
        }
    }
}

fn newer(version: u16) -> Error {
    Error::new(ErrorKind::Unsupported, "archive", "archive.read")
        .with_reason(Reason::NewerVersion)
        .with_detail(format!("a segment of version {version}, this library reads {VERSION}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::super::record::{ArchiveEvent, ArchiveRecord};
    use super::*;
    use crate::envelope::Envelope;
    use crate::message::Priority;

    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/archive-segment-v1.gz");

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// What the golden segment holds.
    fn records() -> Vec<ArchiveRecord> {
        let wire: &[u8] = include_bytes!("../../../tests/golden/envelope-v1");
        let envelope = Envelope::decode(Bytes::from_static(wire)).unwrap();
        let sent_at = time("2026-03-01T02:30:00.000001Z");
        let sent = ArchiveRecord {
            envelope: Some(Arc::new(envelope.clone())),
            priority: Some(Priority::Low),
            group: Some("tenant 7".into()),
            ..ArchiveRecord::new(sent_at, ArchiveEvent::Sent, &envelope)
        };
        let unsent = ArchiveRecord {
            detail: Some("full".to_owned()),
            of: Some(sent_at),
            ..ArchiveRecord::new(time("2026-03-01T02:30:01Z"), ArchiveEvent::Unsent, &envelope)
        };
        let received = ArchiveRecord {
            envelope: Some(Arc::new(Envelope { body: Bytes::new(), ..envelope.clone() })),
            attempt: Some(3),
            ..ArchiveRecord::new(time("2026-03-01T02:31:00Z"), ArchiveEvent::Received, &envelope)
        };
        vec![sent, unsent, received]
    }

    fn read(bytes: impl Into<Bytes>, is_whole: bool) -> (Vec<ArchiveRecord>, u32, bool) {
        let (mut records, mut damaged) = (Vec::new(), 0);
        let Some(mut reader) = SegmentReader::new(bytes.into(), is_whole).unwrap() else {
            return (records, damaged, true);
        };
        loop {
            match reader.next() {
                Next::Record(record) => records.push(*record),
                Next::Damaged => damaged += 1,
                Next::End => return (records, damaged, false),
                Next::Truncated => return (records, damaged, true),
            }
        }
    }

    fn plain() -> Vec<u8> {
        let mut plain = Vec::new();
        GzDecoder::new(GOLDEN).read_to_end(&mut plain).unwrap();
        plain
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(plain).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn version_1_is_read_and_written_as_it_was_stored() {
        assert_eq!(read(GOLDEN, true), (records(), 0, false));
        let frames: Vec<_> = records().into_iter().map(ArchiveRecord::into_frame).collect();
        let mut written = Vec::new();
        GzDecoder::new(&seal(&frames)[..]).read_to_end(&mut written).unwrap();
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&plain()));
    }

    #[test]
    fn a_segment_that_is_cut_off_is_read_up_to_there() {
        for len in 0..GOLDEN.len() {
            let (found, damaged, is_truncated) = read(&GOLDEN[..len], true);
            assert_eq!(found, records()[..found.len()], "cut off at {len}");
            assert!(is_truncated || found.len() == 3, "cut off at {len}, and that is told");
            assert_eq!(damaged, 0, "cut off at {len}");
        }
        // the compressor does not hold back whole records until the very end of a long segment
        let many: Vec<_> = (0..5_000)
            .map(|number| {
                let envelope = Envelope::new("mail", format!("{number}").repeat(50));
                ArchiveRecord {
                    envelope: Some(Arc::new(envelope.clone())),
                    ..ArchiveRecord::new(
                        time("2026-03-01T02:30:00Z"),
                        ArchiveEvent::Sent,
                        &envelope,
                    )
                }
                .into_frame()
            })
            .collect();
        let whole = seal(&many);
        let (found, _, is_truncated) = read(whole.slice(..whole.len() / 2), true);
        assert!(is_truncated && found.len() > 1_500, "{} of 5,000 records", found.len());
        assert!(read(GOLDEN, false).2, "what the store could not read to its end is told");
    }

    #[test]
    fn a_damaged_record_is_told_and_the_next_one_read() {
        let plain = plain();
        for at in 0..plain.len() {
            let mut wrong = plain.clone();
            wrong[at] ^= 1;
            let Ok(reader) = SegmentReader::new(packed(&wrong).into(), true) else { continue };
            drop(reader);
            let (found, damaged, is_truncated) = read(packed(&wrong), true);
            assert!(damaged > 0 || is_truncated, "byte {at} is wrong, and nobody is told");
            for record in found {
                assert!(records().contains(&record), "byte {at} is wrong and was believed");
            }
        }
        let mut wrong = plain.clone();
        let body = plain.windows(9).position(|bytes| bytes == b"any bytes").unwrap();
        wrong[body] ^= 1;
        assert_eq!(read(packed(&wrong), true), (records()[1..].to_vec(), 1, false));
    }

    #[test]
    fn lengths_that_cannot_be_are_not_believed() {
        for line in ["0000000000000000 99999999999 0\n{}\n\n", "x\n", "0 0 0 0\n", "1 2\n"] {
            let segment = packed(format!("standfast-archive 1\n{line}").as_bytes());
            assert_eq!(read(segment, true), (Vec::new(), 0, true), "{line:?}");
        }
        assert!(read(&b"no gzip at all"[..], true).2);
    }

    #[test]
    fn a_newer_version_is_refused_by_name_and_by_content() {
        let key = |text: &str| BlobKey::new(text).unwrap();
        let newer = Name::parse(&key("a/segments/2026/03/01/02/x.v2.gz")).unwrap_err();
        assert_eq!(newer.reason(), Some(Reason::NewerVersion));
        let content = SegmentReader::new(packed(b"standfast-archive 2\n...").into(), true);
        assert_eq!(content.err().unwrap().reason(), Some(Reason::NewerVersion));
        for other in ["a/segments/x", "a/segments/x.gz", "a/segments/y-z.v1.gz", "a/b.v0.gz"] {
            assert_eq!(Name::parse(&key(other)).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn a_name_says_what_is_in_the_segment_and_sorts_by_time() {
        let (one, two) = (time("2026-03-01T02:30:00.000001Z"), time("2026-03-01T02:59:59.999999Z"));
        let process = Id128::from_bytes([0xab; 16]);
        let name = Name::new("a/b", (one, two), process, 7).unwrap();
        let process = "ab".repeat(16);
        assert_eq!(
            name.key.as_str(),
            format!(
                "a/b/segments/2026/03/01/02/20260301T023000.000001Z-20260301T025959.999999Z-\
                 {process}-0000000007.v1.gz"
            ),
        );
        assert_eq!(Name::parse(&name.key).unwrap(), Some(name.clone()));
        assert!(name.key.as_str() > Name::before("a/b", one).as_str());
        assert!(name.key.as_str() < Name::before("a/b", time("2026-03-01T03:00:00Z")).as_str());
        assert!(is_same_hour(one, two) && !is_same_hour(two, time("2026-03-01T03:00:00Z")));
    }
}
