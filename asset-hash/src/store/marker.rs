//! What `sets/<id>.txt` says.

use serde::Deserialize;
use serde_json::value::RawValue;
use standfast_core::{Error, ErrorKind, Id128, Reason, Result};

use super::failed;
use crate::digest::{AssetId, Digest};
use crate::manifest::Manifest;

/// How it is with a set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Marker {
    /// All files are there, and stay.
    Live(Listed),
    /// All files are there; they will be deleted after the grace period, unless somebody makes it
    /// live again.
    Tombstone(Listed),
    /// Files are being deleted. What is there now may be gone in a moment, so whoever wants the set
    /// writes all of them anew before it is live.
    Condemned,
}

/// What is in a set, and how it was published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Listed {
    pub(super) manifest: Manifest,
    /// The digest of the headers that its files have.
    pub(super) profile: Digest,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Stored {
    state: String,
    profile: Option<Digest>,
    manifest: Option<Box<RawValue>>,
}

const VERSION: u32 = 1;

impl Marker {
    /// The set that can be used, if it can.
    pub(super) fn listed(&self) -> Option<&Listed> {
        match self {
            Self::Live(listed) | Self::Tombstone(listed) => Some(listed),
            Self::Condemned => None,
        }
    }

    pub(super) fn into_listed(self) -> Option<Listed> {
        match self {
            Self::Live(listed) | Self::Tombstone(listed) => Some(listed),
            Self::Condemned => None,
        }
    }

    /// The text of one write of the marker. No two are equal: where versions name contents, a
    /// condition would else hold for a marker that was another one in between.
    pub(super) fn encode(&self) -> String {
        self.encode_as(Id128::random())
    }

    fn encode_as(&self, write: Id128) -> String {
        let head = |state| format!("\"v\":{VERSION},\"write\":\"{write}\",\"state\":\"{state}\"");
        let with = |state, Listed { manifest, profile }: &Listed| {
            let (head, manifest) = (head(state), manifest.to_json());
            format!("{{{head},\"profile\":\"{profile}\",\"manifest\":{manifest}}}\n")
        };
        match self {
            Self::Live(listed) => with("live", listed),
            Self::Tombstone(listed) => with("tombstone", listed),
            Self::Condemned => format!("{{{}}}\n", head("condemned")),
        }
    }

    /// # Errors
    ///
    /// `Corrupt` for what is no marker, `Checksum` for one of another set or that was tampered
    /// with, `Unsupported` with [`Reason::NewerVersion`].
    pub(super) fn decode(id: AssetId, text: &[u8]) -> Result<Self> {
        let corrupt = |why: &str| refused(ErrorKind::Corrupt, id, why);
        let no_marker = |error| corrupt("is no marker").with_source(error);
        let Version { v } = serde_json::from_slice(text).map_err(no_marker)?;
        if v > VERSION {
            let why = format!("is of version {v}, at most {VERSION} is known");
            return Err(refused(ErrorKind::Unsupported, id, &why).with_reason(Reason::NewerVersion));
        }
        let stored: Stored = serde_json::from_slice(text).map_err(no_marker)?;
        if stored.state == "condemned" {
            return Ok(Self::Condemned);
        }
        let (Some(profile), Some(raw)) = (stored.profile, stored.manifest) else {
            return Err(corrupt("has no manifest"));
        };
        let manifest = Manifest::from_json(raw.get().as_bytes())?;
        if manifest.id() != id {
            return Err(refused(ErrorKind::Checksum, id, "is that of another set"));
        }
        let listed = Listed { manifest, profile };
        match stored.state.as_str() {
            "live" => Ok(Self::Live(listed)),
            "tombstone" => Ok(Self::Tombstone(listed)),
            _ => Err(corrupt("is in no known state")),
        }
    }
}

fn refused(kind: ErrorKind, id: AssetId, why: &str) -> Error {
    failed(kind, "read", format!("the marker of set {id} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalSet;

    fn listed() -> Listed {
        let set = LocalSet::embedded(&[("a", b"1")]).unwrap();
        Listed { manifest: set.into_manifest(), profile: Digest::of(b"p") }
    }

    #[test]
    fn a_marker_survives_its_text() {
        let id = listed().manifest.id();
        let all = [Marker::Live(listed()), Marker::Tombstone(listed()), Marker::Condemned];
        for marker in all {
            let text = marker.encode();
            assert_eq!(Marker::decode(id, text.as_bytes()).unwrap(), marker);
        }
    }

    #[test]
    fn what_was_tampered_with_is_told_from_what_is_new() {
        let id = listed().manifest.id();
        let text = Marker::Live(listed()).encode();
        let kind = |id, text: &str| Marker::decode(id, text.as_bytes()).unwrap_err().kind();
        assert_eq!(kind(id, &text.replace("\"size\":1", "\"size\":2")), ErrorKind::Checksum);
        assert_eq!(kind(Digest::of(b"").id(), &text), ErrorKind::Checksum);
        assert_eq!(kind(id, &text.replace("live", "alive")), ErrorKind::Corrupt);
        assert_eq!(kind(id, "{\"v\":1,\"state\":\"live\"}"), ErrorKind::Corrupt);
        assert_eq!(kind(id, "<html>"), ErrorKind::Corrupt);
        assert_eq!(kind(id, "{\"v\":2}"), ErrorKind::Unsupported);
    }

    #[test]
    fn the_golden_marker_is_read_by_todays_code() {
        let golden = include_bytes!("../../tests/golden/marker-v1.json");
        let marker = Marker::decode(listed().manifest.id(), golden).unwrap();
        assert_eq!(marker, Marker::Live(listed()));
        let write = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(marker.encode_as(write).as_bytes(), golden);
        assert_ne!(marker.encode(), marker.encode());
    }
}
