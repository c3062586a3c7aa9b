//! What is kept beside the bytes: an extended attribute of the file.
//!
//! `getfattr -e hex -n user.sf <file>` shows it. An inode of ext4 with its usual 256 bytes has room
//! for attributes of 88 bytes, of which each needs 16 and its name for itself. What does not fit
//! gives every blob a block of its own, and a put takes a sixth more time. So the layout is binary,
//! and the name short: with up to four letters a value has 68 bytes, with `standfast` it had 60. A
//! plain blob takes about 36; the rest is for a media type, or a SHA-256. Where the system labels
//! files, as SELinux does, those labels take part of the room.
//!
//! ```text
//! layout      1 byte: 1
//! flags       number: which of the following there is, and whether the blob is public
//! version     16 bytes of an id; or text, if TEXT says so
//! size        number
//! modified    number: microseconds since 1970, as two's complement
//! expires     number: microseconds since the line before, likewise
//! CRC-64      8 bytes, the lowest first
//! SHA-256     32 bytes
//! headers     each a text, in the order of HEADERS
//! metadata    number of entries; each a name and a value, both text, by ascending names
//! ```
//!
//! A number has seven bits in each byte, the lowest first, and in each byte but the last the
//! highest bit; it takes as few bytes as it can. A text is the number of its bytes, and they.

use std::fs::File;

use chrono::{DateTime, Utc};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use standfast_core::{Error, ErrorKind, Id128, Reason, Result};

use super::error::BACKEND;
use crate::checksum::{Crc64, Sha256Digest};
use crate::key::BlobKey;
use crate::meta::{BlobMeta, Version, Visibility};

const NAME: &str = "user.sf";
const LAYOUT: u8 = 1;

/// More than the longest attributes take, and what ext4 with its usual blocks still keeps.
const MAX: usize = 3840;

const CRC64: u64 = 1;
const EXPIRES: u64 = 1 << 1;
const PUBLIC: u64 = 1 << 2;
const SHA256: u64 = 1 << 3;
const TEXT: u64 = 1 << 4;
const METADATA: u64 = 1 << 5;
/// The flags of headers by their HTTP names. The commonest comes first: up to it, flags are a byte.
const HEADERS: [(&str, u64); 5] = [
    ("content-type", 1 << 6),
    ("cache-control", 1 << 7),
    ("content-disposition", 1 << 8),
    ("content-encoding", 1 << 9),
    ("content-language", 1 << 10),
];
const KNOWN: u64 = (1 << 11) - 1;

pub(super) fn store(file: &File, meta: &BlobMeta) -> std::io::Result<()> {
    Ok(fsetxattr(file, NAME, &encode(meta), XattrFlags::empty())?)
}

/// What is known of the blob under `key` whose open file is `file`, of `size` bytes.
pub(super) fn load(file: &File, key: &BlobKey, size: u64) -> Result<BlobMeta> {
    let mut buffer = [0; MAX];
    let len = fgetxattr(file, NAME, &mut buffer).map_err(|errno| {
        corrupt(key, "its attributes are missing; was it copied without them?")
            .with_source(std::io::Error::from(errno))
    })?;
    let meta = decode(&buffer[..len], key)?;
    if meta.size == size {
        return Ok(meta);
    }
    Err(corrupt(key, &format!("{} bytes were stored and {size} are there", meta.size)))
}

/// Whether the file system keeps attributes as long as ours may be.
pub(super) fn probe(file: &File) -> rustix::io::Result<()> {
    fsetxattr(file, NAME, &[b'x'; MAX - 256], XattrFlags::empty())
}

fn encode(meta: &BlobMeta) -> Vec<u8> {
    let id = meta.version.as_str().parse::<Id128>().ok();
    let headers = HEADERS.map(|(wanted, flag)| {
        let found = meta.attributes.headers().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (flag, value))
    });
    let headers = headers.into_iter().flatten();
    let metadata = &meta.attributes.metadata;
    let flags = [
        (CRC64, meta.crc64.is_some()),
        (EXPIRES, meta.expires_at.is_some()),
        (PUBLIC, meta.visibility == Visibility::Public),
        (SHA256, meta.sha256.is_some()),
        (TEXT, id.is_none()),
        (METADATA, !metadata.is_empty()),
    ];
    let flags = flags.into_iter().filter_map(|(flag, there)| there.then_some(flag));
    let modified = meta.modified_at.timestamp_micros();

    let mut out = Out(Vec::with_capacity(128));
    out.bytes(&[LAYOUT]);
    out.number(flags.chain(headers.clone().map(|(flag, _)| flag)).sum());
    match id {
        Some(id) => out.bytes(&id.to_bytes()),
        None => out.text(meta.version.as_str()),
    }
    out.number(meta.size);
    out.number(modified as u64);
    if let Some(at) = meta.expires_at {
        out.number(at.timestamp_micros().wrapping_sub(modified) as u64);
    }
    if let Some(crc64) = meta.crc64 {
        out.bytes(&crc64.to_u64().to_le_bytes());
    }
    if let Some(sha256) = meta.sha256 {
        out.bytes(&sha256.to_bytes());
    }
    headers.for_each(|(_, value)| out.text(value));
    if !metadata.is_empty() {
        out.number(metadata.len() as u64);
    }
    for (name, value) in metadata {
        out.text(name);
        out.text(value);
    }
    out.0
}

fn decode(bytes: &[u8], key: &BlobKey) -> Result<BlobMeta> {
    match bytes {
        [LAYOUT, rest @ ..] => parse(rest, key).map_err(|flaw| corrupt(key, flaw)),
        [newer, ..] if *newer > LAYOUT => {
            Err(Error::new(ErrorKind::Unsupported, BACKEND, "blob.get")
                .with_reason(Reason::NewerVersion)
                .with_detail(format!("{key:?} was stored with layout {newer}")))
        }
        _ => Err(corrupt(key, "its attributes have no layout")),
    }
}

/// What stands behind the layout, or what is wrong with it.
fn parse(bytes: &[u8], key: &BlobKey) -> Result<BlobMeta, &'static str> {
    let mut rest = Rest(bytes);
    let flags = rest.number()?;
    if flags & !KNOWN != 0 {
        return Err("its attributes have unknown flags");
    }
    let has = |flag| flags & flag != 0;
    let version = match has(TEXT) {
        true => Version::new(rest.text()?),
        false => Version::new(Id128::from_bytes(rest.array()?).to_string()),
    };
    let size = rest.number()?;
    let modified = rest.number()? as i64;
    let mut meta = BlobMeta::new(key.clone(), size, version, instant(modified)?);
    if has(EXPIRES) {
        meta.expires_at = Some(instant(modified.wrapping_add(rest.number()? as i64))?);
    }
    if has(PUBLIC) {
        meta.visibility = Visibility::Public;
    }
    if has(CRC64) {
        meta.crc64 = Some(Crc64::from_u64(u64::from_le_bytes(rest.array()?)));
    }
    if has(SHA256) {
        meta.sha256 = Some(Sha256Digest::from_bytes(rest.array()?));
    }
    for (name, flag) in HEADERS {
        if has(flag) {
            let known = meta.attributes.set_header(name, rest.text()?.to_owned());
            debug_assert!(known, "{name} is a header that blobs have");
        }
    }
    let metadata = &mut meta.attributes.metadata;
    for _ in 0..if has(METADATA) { rest.number()? } else { 0 } {
        let (name, value) = (rest.text()?, rest.text()?);
        if metadata.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
            return Err("its metadata is out of order");
        }
        metadata.insert(name.to_owned(), value.to_owned());
    }
    if rest.0.is_empty() { Ok(meta) } else { Err("its attributes are followed by other bytes") }
}

fn instant(micros: i64) -> Result<DateTime<Utc>, &'static str> {
    DateTime::from_timestamp_micros(micros).ok_or("its attributes have a time that is none")
}

struct Out(Vec<u8>);

impl Out {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    const SHORT: &'static str = "its attributes are cut short";

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Self::SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let whole = value >> shift == bits;
                let shortest = byte != 0 || shift == 0;
                return if whole && shortest { Ok(value) } else { break };
            }
        }
        Err("its attributes have a number that is none")
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let len = usize::try_from(self.number()?).map_err(|_| Self::SHORT)?;
        let (text, rest) = self.0.split_at_checked(len).ok_or(Self::SHORT)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| "its attributes have a text that is none")
    }
}

fn corrupt(key: &BlobKey, detail: &str) -> Error {
    Error::new(ErrorKind::Corrupt, BACKEND, "blob.get").with_detail(format!("{key:?}: {detail}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use standfast_core::{Clock as _, SystemClock};

    use super::*;
    use crate::Attributes;

    /// What a put gives without a word.
    fn plain() -> BlobMeta {
        let key = BlobKey::new("k").unwrap();
        let version = Version::new(Id128::derive("test", &[]).to_string());
        let mut meta = BlobMeta::new(key, 10 << 10, version, SystemClock.now());
        meta.crc64 = Some(Crc64::of(b"1"));
        meta
    }

    fn full() -> BlobMeta {
        let mut meta = plain();
        meta.version = Version::new("v");
        meta.expires_at = Some(meta.modified_at + Duration::from_secs(7));
        meta.visibility = Visibility::Public;
        meta.sha256 = Some(Sha256Digest::of(b"1"));
        let value = "v=".repeat(127);
        meta.attributes = Attributes::default()
            .with_cache_control(format!("{value}1"))
            .with_content_disposition(format!("{value}2"))
            .with_content_encoding(format!("{value}3"))
            .with_content_language(format!("{value}4"))
            .with_content_type(format!("{value}5"))
            .with_metadata("a", "");
        for at in 0..63 {
            let value = "w=".repeat(if at < 50 { 8 } else { 7 });
            meta.attributes = meta.attributes.with_metadata(format!("k{at:03}"), value);
        }
        meta
    }

    fn comes_back(meta: &BlobMeta) {
        assert_eq!(decode(&encode(meta), &meta.key).unwrap(), *meta);
    }

    #[test]
    fn the_longest_attributes_fit_and_come_back() {
        let meta = full();
        meta.attributes.check().unwrap();
        let len = encode(&meta).len();
        assert!(len <= MAX - 256, "{len}");
        comes_back(&meta);
    }

    #[test]
    fn the_extremes_come_back() {
        comes_back(&plain());
        let mut meta = plain();
        for version in ["", "v", "\"é\"", &"a".repeat(31), &"A".repeat(32), &"v".repeat(300)] {
            meta.version = Version::new(version);
            comes_back(&meta);
        }
        for size in [0, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX >> 1, u64::MAX] {
            meta.size = size;
            comes_back(&meta);
        }
        let times = [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC];
        let times = times.map(standfast_core::to_micros);
        for (modified_at, until) in times.iter().flat_map(|a| times.iter().map(move |b| (a, b))) {
            (meta.modified_at, meta.expires_at) = (*modified_at, Some(*until));
            comes_back(&meta);
        }
        meta.crc64 = None;
        comes_back(&meta);
        for flag in 0..5 {
            let value = || Some("v".to_owned());
            let mut attributes = Attributes::default();
            match flag {
                0 => attributes.cache_control = value(),
                1 => attributes.content_disposition = value(),
                2 => attributes.content_encoding = value(),
                3 => attributes.content_language = value(),
                _ => attributes.content_type = value(),
            }
            meta.attributes = attributes;
            comes_back(&meta);
        }
    }

    #[test]
    fn the_layout_stays_as_it_is() {
        let mut meta = plain();
        meta.version = Version::new("000102030405060708090a0b0c0d0e0f");
        meta.size = 300;
        meta.modified_at = DateTime::from_timestamp_micros(1000).unwrap();
        meta.expires_at = DateTime::from_timestamp_micros(999);
        meta.crc64 = Some(Crc64::from_u64(0x0123_4567_89ab_cdef));
        meta.attributes = Attributes::default().with_content_type("a/b").with_metadata("n", "");
        let mut expected = vec![1, 0x63];
        expected.extend(0..16);
        expected.extend([0xac, 2, 0xe8, 7]);
        expected.extend([[0xff; 9].as_slice(), &[1]].concat());
        expected.extend([0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 1]);
        expected.extend(b"\x03a/b\x01\x01n\x00");
        assert_eq!(encode(&meta), expected);
    }

    /// Behind the fields of an inode of 256 bytes are 96 for attributes. Their header takes 4, their
    /// end 4, the entry 16 and the name, which is filled up to 4, as is the value. A plain blob, of
    /// any size and with any expiry, takes 56 at most, so that it would fit with a longer name, too.
    #[test]
    fn what_is_usual_fits_into_an_inode() {
        let room = 96 - 4 - 4 - 16 - NAME.trim_start_matches("user.").len().next_multiple_of(4);
        assert_eq!(room, 68);
        let mut meta = plain();
        meta.size = u64::MAX;
        assert!(encode(&meta).len() <= 56, "{}", encode(&meta).len());
        meta.size = 1 << 40;
        meta.expires_at = Some(meta.modified_at + Duration::from_secs(100 * 365 * 86_400));
        meta.visibility = Visibility::Public;
        assert!(encode(&meta).len() <= 56, "{}", encode(&meta).len());
        let mut meta = plain();
        meta.size = 1 << 20;
        meta.expires_at = Some(meta.modified_at + Duration::from_secs(30 * 86_400));
        meta.attributes = Attributes::default().with_content_type("text/html; charset=utf-8");
        assert!(encode(&meta).len() <= room, "{}", encode(&meta).len());
        let mut meta = plain();
        meta.sha256 = Some(Sha256Digest::of(b"1"));
        assert!(encode(&meta).len() <= room, "{}", encode(&meta).len());
    }

    #[test]
    fn a_newer_layout_is_left_alone() {
        for newer in [2, 255] {
            let error = decode(&[newer, 0xff], &full().key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert_eq!(error.reason(), Some(Reason::NewerVersion));
        }
    }

    fn is_corrupt(bytes: &[u8]) {
        let error = decode(bytes, &full().key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{bytes:x?}: {error}");
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_corrupt() {
        for meta in [plain(), full()] {
            let mut bytes = encode(&meta);
            (0..bytes.len()).for_each(|len| is_corrupt(&bytes[..len]));
            bytes.push(0);
            is_corrupt(&bytes);
        }
    }

    #[test]
    fn what_was_never_written_is_corrupt() {
        let with = |flags: &[u8], rest: &[u8]| is_corrupt(&[&[LAYOUT], flags, rest].concat());
        is_corrupt(&[0; 40]);
        with(&[0x80, 0x10], &[0; 18]); // a flag of nobody's
        with(&[0x80, 0], &[0; 18]); // a number longer than it must be
        let id = [7; 16];
        with(&[0], &[id.as_slice(), &[0xff; 9], &[2, 0]].concat()); // the 65th bit
        with(&[0], &[id.as_slice(), &[0xff; 11], &[0]].concat()); // a number without end
        with(&[0], &[id.as_slice(), &[0], &[0xff; 8], &[0x7f]].concat()); // no such time
        with(&[TEXT as u8], &[2, 0xc3, 0x28, 0, 0]); // no UTF-8
        with(&[TEXT as u8], &[[0xff; 9].as_slice(), &[1], &[0; 8]].concat()); // a huge text
        let entries = |entries: &[u8]| {
            with(&[METADATA as u8], &[id.as_slice(), &[0, 0], entries].concat());
        };
        entries(&[2, 1, b'b', 0, 1, b'a', 0]);
        entries(&[2, 1, b'a', 0, 1, b'a', 0]);
        entries(&[0xff, 0xff, 0xff, 0xff, 0x7f, 1, b'a', 0]);
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_says_something_else() {
        let mut expiring = plain();
        expiring.expires_at = Some(expiring.modified_at);
        for meta in [plain(), expiring, full()] {
            let written = encode(&meta);
            for (at, bit) in (0..written.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut bytes = written.clone();
                bytes[at] ^= 1 << bit;
                // nothing of what was read was made up or left out
                match decode(&bytes, &meta.key) {
                    Ok(read) => assert_eq!(encode(&read), bytes, "bit {bit} of byte {at}"),
                    Err(error) => assert!(
                        error.kind() == ErrorKind::Corrupt
                            || error.reason() == Some(Reason::NewerVersion),
                        "{error}"
                    ),
                }
            }
        }
    }
}
