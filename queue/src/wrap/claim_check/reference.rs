//! What stands in a message for a body that is elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use standfast_blobstore::{BlobKey, Sha256Digest};
use standfast_core::{Error, ErrorKind, JobId, Reason, Result};

use crate::envelope::Envelope;

/// The header that carries the reference, in an envelope whose body is empty.
pub(super) const HEADER: &str = "claim_check";

/// The version this library writes, and the only one so far.
const VERSION: u16 = 1;

/// Names a body by its content, never by a key: whoever forges one can reach nothing but bodies of
/// the same id below the prefix.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Reference {
    v: u16,
    /// The run that was sent with the body; a redrive counts on, and the body stays where it is.
    run: u32,
    sha256: String,
    len: u64,
}

impl Reference {
    pub(super) fn new(run: u32, sha256: Sha256Digest, len: usize) -> Self {
        Self { v: VERSION, run, sha256: sha256.to_string(), len: len as u64 }
    }

    /// The reference in `envelope`, if its body is elsewhere.
    ///
    /// # Errors
    ///
    /// `Unsupported` with `NewerVersion` for one of a newer library, `Corrupt` for what is none.
    pub(super) fn of(envelope: &Envelope) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Version {
            v: u16,
        }
        let header = match envelope.headers.get(HEADER) {
            Some(header) if envelope.body.is_empty() => header,
            _ => return Ok(None),
        };
        let Version { v } = Version::deserialize(header).map_err(unreadable)?;
        if v > VERSION {
            return Err(Error::new(ErrorKind::Unsupported, "claim_check", "claim.read")
                .with_reason(Reason::NewerVersion)
                .with_detail(format!("version {v}, this library reads up to {VERSION}")));
        }
        let reference = Self::deserialize(header).map_err(unreadable)?;
        reference.digest()?;
        Ok(Some(reference))
    }

    /// How many bytes the body has.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn digest(&self) -> Result<Sha256Digest> {
        self.sha256.parse().map_err(|error: Error| corrupt().with_source(error))
    }

    /// Where the body of the message `id` is. The same send has the same key, however often it is
    /// repeated; the first two digits spread the keys over directories.
    pub(super) fn key(&self, prefix: &str, id: JobId) -> Result<BlobKey> {
        let (id, digest) = (id.to_string(), self.digest()?);
        BlobKey::new(format!("{prefix}/{}/{id}-{}-{digest}", &id[..2], self.run))
    }

    /// `envelope` with this instead of its body.
    pub(super) fn stand_in(&self, envelope: &Envelope) -> Envelope {
        // invariant: the fields are numbers and text
        let header = serde_json::to_value(self).expect("a reference is JSON");
        let mut bare = Envelope { body: Bytes::new(), ..envelope.clone() };
        bare.headers.insert(HEADER.to_owned(), header);
        bare
    }
}

/// `envelope` as it was sent.
pub(super) fn whole(envelope: &Envelope, body: Bytes) -> Arc<Envelope> {
    let mut whole = Envelope { body, ..envelope.clone() };
    whole.headers.remove(HEADER);
    Arc::new(whole)
}

fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "claim_check", "claim.read")
        .with_detail("the header is no reference to a body")
}

fn unreadable(error: serde_json::Error) -> Error {
    corrupt().with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/claim-check-v1");

    #[test]
    fn version_1_is_read_and_written_as_it_was_stored() {
        let stored = Envelope::decode(Bytes::from_static(GOLDEN)).unwrap();
        let reference = Reference::of(&stored).unwrap().unwrap();
        assert_eq!(reference, Reference::new(2, Sha256Digest::of(b"hello"), 5));
        let key = reference.key("claims", stored.id).unwrap();
        let digest = Sha256Digest::of(b"hello");
        assert_eq!(key.as_str(), format!("claims/5f/5f0e0d0c0b0a09080706050403020100-2-{digest}"),);
        let sent = whole(&stored, Bytes::from_static(b"hello"));
        assert_eq!(reference.stand_in(&sent), stored);
        assert_eq!(stored.encode(), GOLDEN);
    }

    #[test]
    fn what_is_no_reference_is_told_apart() {
        let with = |header: serde_json::Value, body: &'static str| {
            let mut envelope = Envelope::new("mail", body);
            envelope.headers.insert(HEADER.to_owned(), header);
            Reference::of(&envelope)
        };
        let digest = Sha256Digest::of(b"hello").to_string();
        let right = serde_json::json!({"v": 1, "run": 1, "sha256": digest, "len": 5});
        assert!(with(right.clone(), "").unwrap().is_some());
        assert_eq!(with(right, "a body of its own").unwrap(), None);
        let newer = with(serde_json::json!({"v": 2, "whatever": []}), "").unwrap_err();
        assert_eq!(newer.reason(), Some(Reason::NewerVersion));
        for wrong in [
            serde_json::json!("claims/x"),
            serde_json::json!({"v": 1}),
            serde_json::json!({"v": 1, "run": 1, "sha256": "../../etc", "len": 5}),
        ] {
            assert_eq!(with(wrong, "").unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
