//! What a signed URL carries: `<version>.<key id>.<payload>.<mac>`.
//!
//! The payload is a list of fields, each a tag, a length and a value, by ascending tag (equal tags
//! only for attributes). Method, store and key are not in it: the signature covers them.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::{LenBound, SignRequest, SignedMethod};
use crate::checksum::Sha256Digest;
use crate::key::BlobKey;
use crate::meta::Visibility;

const VERSION: &str = "1";

const EXPIRES_AT: u8 = 1;
const CONTENT_TYPE: u8 = 2;
const DISPOSITION: u8 = 3;
const AT_MOST: u8 = 4;
const EXACTLY: u8 = 5;
const SHA256: u8 = 6;
const ONCE: u8 = 7;
const BLOB_EXPIRES_IN: u8 = 8;
const PUBLIC: u8 = 9;
const HEADER: u8 = 10;
const METADATA: u8 = 11;

pub(super) struct Token<'a> {
    pub(super) key: &'a str,
    pub(super) payload: Vec<u8>,
    pub(super) mac: [u8; 32],
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('.');
        let [version, key, payload, mac] = [(); 4].map(|()| parts.next());
        if version != Some(VERSION) || parts.next().is_some() {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(payload?).ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac?).ok()?.try_into().ok()?;
        Some(Self { key: key?, payload, mac })
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = URL_SAFE_NO_PAD.encode(&self.payload);
        let mac = URL_SAFE_NO_PAD.encode(self.mac);
        write!(f, "{VERSION}.{}.{payload}.{mac}", self.key)
    }
}

pub(super) fn encode(request: &SignRequest, expires_at: DateTime<Utc>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |tag: u8, value: &[u8]| {
        // invariant: attributes are checked before, so every value is far below 64 KiB
        let len = u16::try_from(value.len()).expect("attributes are small");
        out.push(tag);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(value);
    };
    field(EXPIRES_AT, &expires_at.timestamp_micros().to_be_bytes());
    if let Some(value) = &request.content_type {
        field(CONTENT_TYPE, value.as_bytes());
    }
    if let Some(value) = &request.disposition {
        field(DISPOSITION, value.as_bytes());
    }
    match request.len {
        Some(LenBound::AtMost(len)) => field(AT_MOST, &len.to_be_bytes()),
        Some(LenBound::Exactly(len)) => field(EXACTLY, &len.to_be_bytes()),
        None => {}
    }
    if let Some(sha256) = request.sha256 {
        field(SHA256, &sha256.to_bytes());
    }
    if request.once {
        field(ONCE, &[]);
    }
    if let Some(span) = request.blob_expires_in {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        field(BLOB_EXPIRES_IN, &micros.to_be_bytes());
    }
    if request.visibility == Visibility::Public {
        field(PUBLIC, &[]);
    }
    for (name, value) in request.attributes.headers() {
        field(HEADER, format!("{name}:{value}").as_bytes());
    }
    for (name, value) in &request.attributes.metadata {
        field(METADATA, format!("{name}:{value}").as_bytes());
    }
    out
}

/// What the payload says and until when; `None` for anything that [`encode`] does not write.
pub(super) fn decode(
    method: SignedMethod,
    key: &BlobKey,
    mut payload: &[u8],
    now: DateTime<Utc>,
) -> Option<(SignRequest, DateTime<Utc>)> {
    let mut request = SignRequest::new(method, key.clone(), Duration::ZERO);
    let mut expires_at = None;
    let mut before = 0;
    while let Some((&tag, rest)) = payload.split_first() {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        if tag < before || (tag == before && tag < HEADER) {
            return None;
        }
        (payload, before) = (rest, tag);
        let text = || String::from_utf8(value.to_vec()).ok();
        let number = || value.try_into().ok().map(u64::from_be_bytes);
        match tag {
            EXPIRES_AT => {
                let micros = i64::from_be_bytes(value.try_into().ok()?);
                expires_at = Some(DateTime::from_timestamp_micros(micros)?);
            }
            CONTENT_TYPE => request.content_type = Some(text()?),
            DISPOSITION => request.disposition = Some(text()?),
            AT_MOST => request.len = Some(LenBound::AtMost(number()?)),
            EXACTLY => request.len = Some(LenBound::Exactly(number()?)),
            SHA256 => request.sha256 = Some(Sha256Digest::from_bytes(value.try_into().ok()?)),
            ONCE => request.once = true,
            BLOB_EXPIRES_IN => request.blob_expires_in = Some(Duration::from_micros(number()?)),
            PUBLIC => request.visibility = Visibility::Public,
            HEADER => {
                let text = text()?;
                let (name, value) = text.split_once(':')?;
                if !request.attributes.set_header(name, value.to_owned()) {
                    return None;
                }
            }
            METADATA => {
                let text = text()?;
                let (name, value) = text.split_once(':')?;
                request.attributes.metadata.insert(name.to_owned(), value.to_owned());
            }
            _ => return None,
        }
    }
    let expires_at = expires_at?;
    request.expires_in = (expires_at - now).to_std().unwrap_or_default();
    Some((request, expires_at))
}
