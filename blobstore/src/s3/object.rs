//! What is kept beside the bytes of an object: headers of S3, the application's metadata, and one
//! entry of our own, `x-amz-meta-standfast`, whose first field is the version of the layout.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::{Error, ErrorKind, Id128, Reason, Result, to_micros};

use super::clock::http_date;
use super::error::BACKEND;
use super::request::Answer;
use crate::checksum::{Crc64, Sha256Digest};
use crate::key::BlobKey;
use crate::meta::{Attributes, BlobMeta, Version, Visibility};

/// The name of our entry in the metadata.
pub(super) const ENTRY: &str = "standfast";
const LAYOUT: &str = "1";

/// What S3 says of an object that was stored without a type; SeaweedFS would guess one.
pub(super) const NO_TYPE: &str = "binary/octet-stream";

/// When a blob ends, as it is written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    Never,
    At(DateTime<Utc>),
    /// So long after the service stored it: for uploads by others, whose time nobody knows yet.
    After(TimeDelta),
}

/// Our entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Names the put that wrote it, for whoever must know whether a put of theirs arrived.
    pub(super) write: Id128,
    /// When it was put; `None` for an upload by others.
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) ends: Ends,
    pub(super) crc64: Option<Crc64>,
    pub(super) sha256: Option<Sha256Digest>,
    /// Whether the put gave a media type.
    pub(super) typed: bool,
    /// The metadata without values: not every service keeps a header without one.
    pub(super) empty: Vec<String>,
}

impl Entry {
    pub(super) fn encode(&self) -> String {
        let mut out = format!("{LAYOUT};w={}", self.write);
        let mut field = |text: String| {
            out.push(';');
            out.push_str(&text);
        };
        if let Some(at) = self.at {
            field(format!("at={}", at.timestamp_micros()));
        }
        match self.ends {
            Ends::Never => {}
            Ends::At(at) => field(format!("until={}", at.timestamp_micros())),
            Ends::After(span) => {
                field(format!("for={}", span.num_microseconds().unwrap_or(i64::MAX)));
            }
        }
        if let Some(crc64) = self.crc64 {
            field(format!("crc64nvme={crc64}"));
        }
        if let Some(sha256) = self.sha256 {
            field(format!("sha256={sha256}"));
        }
        if !self.typed {
            field("untyped".into());
        }
        if !self.empty.is_empty() {
            field(format!("empty={}", self.empty.join(",")));
        }
        out
    }

    pub(super) fn decode(text: &str, key: &str) -> Result<Self> {
        let corrupt = || {
            Error::new(ErrorKind::Corrupt, BACKEND, "blob.get")
                .with_detail(format!("{key:?}: its entry {ENTRY} cannot be read"))
        };
        let mut fields = text.split(';').map(|field| field.split_once('=').unwrap_or((field, "")));
        match fields.next() {
            Some((LAYOUT, "")) => {}
            Some((newer, "")) if newer.parse::<u32>().is_ok() => {
                return Err(Error::new(ErrorKind::Unsupported, BACKEND, "blob.get")
                    .with_reason(Reason::NewerVersion)
                    .with_detail(format!("{key:?} was stored with layout {newer}")));
            }
            _ => return Err(corrupt()),
        }
        let micros = |value: &str| value.parse::<i64>().map_err(|_| corrupt());
        let instant =
            |value: &str| DateTime::from_timestamp_micros(micros(value)?).ok_or_else(corrupt);
        let mut write = None;
        let mut entry = Self {
            write: Id128::from_bytes([0; 16]),
            at: None,
            ends: Ends::Never,
            crc64: None,
            sha256: None,
            typed: true,
            empty: Vec::new(),
        };
        for (name, value) in fields {
            match name {
                "w" => write = value.parse().ok(),
                "at" => entry.at = Some(instant(value)?),
                "until" => entry.ends = Ends::At(instant(value)?),
                "for" => entry.ends = Ends::After(TimeDelta::microseconds(micros(value)?)),
                "crc64nvme" => entry.crc64 = Some(value.parse()?),
                "sha256" => entry.sha256 = Some(value.parse()?),
                "untyped" => entry.typed = false,
                "empty" => entry.empty = value.split(',').map(str::to_owned).collect(),
                _ => return Err(corrupt()),
            }
        }
        entry.write = write.ok_or_else(corrupt)?;
        Ok(entry)
    }
}

/// What the service says of an object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) meta: BlobMeta,
    /// As the service gave it, with its quotes.
    pub(super) etag: String,
    /// When the service stored it, in whole seconds.
    pub(super) stored: DateTime<Utc>,
    /// Which put wrote it, if it was one of ours.
    pub(super) write: Option<Id128>,
}

impl Object {
    /// What an answer says of the object of `key`, of whose bytes it may hold a part.
    pub(super) fn from_answer(key: &BlobKey, public: bool, answer: &Answer) -> Result<Self> {
        let text = |name: &str| answer.headers.get(name).map(str::to_owned);
        let mut attributes = Attributes {
            cache_control: text("cache-control"),
            content_disposition: text("content-disposition"),
            content_encoding: text("content-encoding"),
            content_language: text("content-language"),
            content_type: text("content-type"),
            ..Attributes::default()
        };
        let mut metadata: BTreeMap<_, _> = answer.metadata().collect();
        let stored = answer.headers.get("last-modified").and_then(http_date).unwrap_or_default();
        let etag = answer.etag();
        let size = answer.range().map_or(0, |(_, size)| size);
        let entry = metadata.remove(ENTRY);
        let entry = entry.map(|entry| Entry::decode(&entry, key.as_str())).transpose()?;
        attributes.metadata = metadata;
        let mut meta = BlobMeta::new(key.clone(), size, Version::new(""), stored);
        meta.crc64 = answer.headers.get("x-amz-checksum-crc64nvme").and_then(crc64_of);
        if let Some(entry) = &entry {
            meta.modified_at = entry.at.unwrap_or(stored);
            meta.expires_at = match entry.ends {
                Ends::Never => None,
                Ends::At(at) => Some(at),
                Ends::After(span) => stored.checked_add_signed(span).map(to_micros),
            };
            meta.crc64 = entry.crc64.or(meta.crc64);
            meta.sha256 = entry.sha256;
            let guessed = entry.at.is_none() && attributes.content_type.as_deref() == Some(NO_TYPE);
            if !entry.typed || guessed {
                attributes.content_type = None;
            }
            for name in &entry.empty {
                attributes.metadata.insert(name.clone(), String::new());
            }
        }
        meta.version = version(&etag, meta.expires_at);
        meta.attributes = attributes;
        meta.visibility = if public { Visibility::Public } else { Visibility::Private };
        Ok(Self { meta, etag, stored, write: entry.map(|entry| entry.write) })
    }
}

impl Object {
    /// Whether it was there at `since` and all the time from then on. An upload in parts is dated
    /// when it began, so of those nobody knows.
    pub(super) fn is_older_than(&self, since: DateTime<Utc>) -> bool {
        !self.etag.contains('-') && self.stored + TimeDelta::seconds(2) < since
    }
}

/// The version of an object: its ETag, and when it ends, so that who compares knows without asking
/// that an expired one matches nothing.
pub(super) fn version(etag: &str, ends: Option<DateTime<Utc>>) -> Version {
    let etag = etag.trim_matches('"');
    match ends {
        None => Version::new(etag),
        Some(at) => Version::new(format!("{etag}~{}", at.timestamp_micros())),
    }
}

/// The ETag in a version, quoted, unless the version can be none of a live object.
pub(super) fn etag_of(version: &Version, now: DateTime<Utc>) -> Option<String> {
    let text = version.as_str();
    let (etag, ends) = match text.rsplit_once('~') {
        Some((etag, ends)) => (etag, ends.parse().ok().and_then(DateTime::from_timestamp_micros)),
        None => (text, None),
    };
    let sendable = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',');
    let possible = !etag.is_empty() && etag != "*" && etag.bytes().all(sendable);
    (possible && ends.is_none_or(|at| now < at)).then(|| format!("\"{etag}\""))
}

/// The checksum as S3 writes it.
pub(super) fn crc64_text(crc64: Crc64) -> String {
    STANDARD.encode(crc64.to_u64().to_be_bytes())
}

fn crc64_of(text: &str) -> Option<Crc64> {
    let bytes = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(Crc64::from_u64(u64::from_be_bytes(bytes)))
}

/// The digest as S3 writes it.
pub(super) fn sha256_text(sha256: Sha256Digest) -> String {
    STANDARD.encode(sha256.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_its_text() {
        let at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        let full = Entry {
            write: Id128::from_bytes([7; 16]),
            at: Some(at),
            ends: Ends::At(at),
            crc64: Some(Crc64::of(b"1")),
            sha256: Some(Sha256Digest::of(b"1")),
            typed: false,
            empty: vec!["a".into(), "b.c".into()],
        };
        let after = Entry { at: None, ends: Ends::After(TimeDelta::seconds(5)), ..full.clone() };
        let plain =
            Entry { ends: Ends::Never, crc64: None, sha256: None, typed: true, ..after.clone() };
        for entry in [full, after, plain] {
            let text = entry.encode();
            assert!(text.len() <= 220, "{}", text.len());
            assert_eq!(Entry::decode(&text, "k").unwrap(), entry);
        }
    }

    #[test]
    fn a_newer_layout_is_left_alone() {
        let newer = Entry::decode("2;w=7", "k").unwrap_err();
        assert_eq!(newer.reason(), Some(Reason::NewerVersion));
        let w = Id128::from_bytes([7; 16]);
        for broken in ["", "x", "1", "1;w=7", &format!("1;w={w};at=x"), &format!("1;w={w};q=1")] {
            assert_eq!(Entry::decode(broken, "k").unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn an_expired_version_matches_nothing() {
        let now = DateTime::from_timestamp_micros(1_000_000).unwrap();
        let ahead = version("\"ab-2\"", Some(now + TimeDelta::seconds(1)));
        assert_eq!(etag_of(&ahead, now).as_deref(), Some("\"ab-2\""));
        assert_eq!(etag_of(&version("\"ab\"", Some(now)), now), None);
        assert_eq!(etag_of(&version("\"ab\"", None), now).as_deref(), Some("\"ab\""));
        for odd in ["", "*", "a\"b", "a b", "a\r\nb"] {
            assert_eq!(etag_of(&Version::new(odd), now), None, "{odd:?}");
        }
    }
}
