//! What is kept beside the bytes: an extended attribute of the file, as lines of text.
//!
//! `getfattr -n user.standfast <file>` shows it. The first line names the version of the layout;
//! values have no control characters, so a line is a name, `=` and a value as it stands.

use std::fmt::Write as _;
use std::fs::File;

use chrono::DateTime;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::error::BACKEND;
use crate::key::BlobKey;
use crate::meta::{BlobMeta, Version, Visibility};

const NAME: &str = "user.standfast";
const LAYOUT: &str = "1";

/// More than the longest attributes take, and what ext4 with its usual blocks still keeps.
pub(super) const MAX: usize = 3840;

pub(super) fn store(file: &File, meta: &BlobMeta) -> std::io::Result<()> {
    Ok(fsetxattr(file, NAME, encode(meta).as_bytes(), XattrFlags::empty())?)
}

/// What is known of the blob under `key` whose open file is `file`, of `size` bytes.
pub(super) fn load(file: &File, key: &BlobKey, size: u64) -> Result<BlobMeta> {
    let mut buffer = [0; MAX];
    let len = fgetxattr(file, NAME, &mut buffer).map_err(|errno| {
        corrupt(key, "its attributes are missing; was it copied without them?")
            .with_source(std::io::Error::from(errno))
    })?;
    let text = std::str::from_utf8(&buffer[..len]).map_err(|_| corrupt(key, "not text"))?;
    let meta = decode(text, key)?;
    if meta.size == size {
        return Ok(meta);
    }
    Err(corrupt(key, &format!("{} bytes were stored and {size} are there", meta.size)))
}

/// Whether the file system keeps attributes as long as ours may be.
pub(super) fn probe(file: &File) -> rustix::io::Result<()> {
    fsetxattr(file, NAME, &[b'x'; MAX - 256], XattrFlags::empty())
}

fn encode(meta: &BlobMeta) -> String {
    let mut out = format!("standfast={LAYOUT}\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // invariant: a string takes everything
        writeln!(out, "{name}={value}").expect("a string takes everything");
    };
    line("version", &meta.version);
    line("size", &meta.size);
    line("at", &meta.modified_at.timestamp_micros());
    if let Some(at) = meta.expires_at {
        line("until", &at.timestamp_micros());
    }
    if meta.visibility == Visibility::Public {
        line("public", &"yes");
    }
    if let Some(crc64) = meta.crc64 {
        line("crc64nvme", &crc64);
    }
    if let Some(sha256) = meta.sha256 {
        line("sha256", &sha256);
    }
    for (name, value) in meta.attributes.headers() {
        line(name, &value);
    }
    for (name, value) in &meta.attributes.metadata {
        line(&format!("x-{name}"), value);
    }
    out
}

fn decode(text: &str, key: &BlobKey) -> Result<BlobMeta> {
    let mut lines = text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    match lines.next() {
        Some(("standfast", LAYOUT)) => {}
        Some(("standfast", newer)) => {
            return Err(Error::new(ErrorKind::Unsupported, BACKEND, "blob.get")
                .with_reason(Reason::NewerVersion)
                .with_detail(format!("{key:?} was stored with layout {newer}")));
        }
        _ => return Err(corrupt(key, "no layout")),
    }
    let instant = |value: &str| {
        let micros = value.parse().ok().and_then(DateTime::from_timestamp_micros);
        micros.ok_or_else(|| corrupt(key, "no instant"))
    };
    let (mut version, mut size, mut at) = (None, None, None);
    let placeholder = Version::new("");
    let mut meta = BlobMeta::new(key.clone(), 0, placeholder, DateTime::UNIX_EPOCH);
    for (name, value) in lines {
        match name {
            "version" => version = Some(Version::new(value)),
            "size" => size = value.parse().ok(),
            "at" => at = Some(instant(value)?),
            "until" => meta.expires_at = Some(instant(value)?),
            "public" => meta.visibility = Visibility::Public,
            "crc64nvme" => meta.crc64 = Some(value.parse()?),
            "sha256" => meta.sha256 = Some(value.parse()?),
            name => match name.strip_prefix("x-") {
                Some(name) => {
                    meta.attributes.metadata.insert(name.to_owned(), value.to_owned());
                }
                None if meta.attributes.set_header(name, value.to_owned()) => {}
                None => return Err(corrupt(key, &format!("an attribute {name:?}"))),
            },
        }
    }
    let (Some(version), Some(size), Some(at)) = (version, size, at) else {
        return Err(corrupt(key, "version, size or time is missing"));
    };
    meta.version = version;
    meta.size = size;
    meta.modified_at = at;
    Ok(meta)
}

fn corrupt(key: &BlobKey, detail: &str) -> Error {
    Error::new(ErrorKind::Corrupt, BACKEND, "blob.get").with_detail(format!("{key:?}: {detail}"))
}

#[cfg(test)]
mod tests {
    use standfast_core::SystemClock;

    use super::*;
    use crate::{Attributes, Crc64, Sha256Digest};
    use standfast_core::Clock as _;

    fn full() -> BlobMeta {
        let now = SystemClock.now();
        let mut meta = BlobMeta::new(BlobKey::new("k").unwrap(), 7, Version::new("v"), now);
        meta.expires_at = Some(now);
        meta.visibility = Visibility::Public;
        meta.crc64 = Some(Crc64::of(b"1"));
        meta.sha256 = Some(Sha256Digest::of(b"1"));
        let value = "v=".repeat(127);
        meta.attributes = Attributes::default()
            .with_cache_control(&value)
            .with_content_disposition(&value)
            .with_content_encoding(&value)
            .with_content_language(&value)
            .with_content_type(&value)
            .with_metadata("a", "");
        for at in 0..63 {
            let value = "w=".repeat(if at < 50 { 8 } else { 7 });
            meta.attributes = meta.attributes.with_metadata(format!("k{at:03}"), value);
        }
        meta
    }

    #[test]
    fn the_longest_attributes_fit_and_come_back() {
        let meta = full();
        meta.attributes.check().unwrap();
        let text = encode(&meta);
        assert!(text.len() <= MAX - 256, "{}", text.len());
        assert_eq!(decode(&text, &meta.key).unwrap(), meta);
    }

    #[test]
    fn a_newer_layout_is_left_alone() {
        let error = decode("standfast=2\nversion=v\n", &full().key).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::NewerVersion));
        for broken in ["", "x", "standfast=1\n", "standfast=1\nversion=v\nsize=1\nat=x\n"] {
            assert_eq!(decode(broken, &full().key).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
