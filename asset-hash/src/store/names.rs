//! What things are called in a store.
//!
//! | key | what |
//! |---|---|
//! | `commits/<commit>.txt` | the id of the commit's set and a line feed; written last |
//! | `sets/<id>.txt` | the marker: all files of the set are there; written after them |
//! | `<id>/<path>` | the files |
//! | `channels/<name>.json` | which set is live, and which were before |
//! | `pins/<id>.txt` | sets that are never collected, and why |
//! | `gc/last.txt` | when somebody last collected; tells the time of the store |

use std::fmt;
use std::str::FromStr;

use standfast_blobstore::BlobKey;
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::failed;
use crate::digest::AssetId;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $type(String);

        impl $type {
            /// The name of this text.
            ///
            /// # Errors
            ///
            /// `Invalid` with [`Reason::InvalidName`] unless it is 1 to 128 of `A-Z a-z 0-9 . _ + -`
            /// and begins with none of the signs.
            pub fn new(text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                if is_name(&text) {
                    return Ok(Self(text));
                }
                let shown: String = text.chars().take(80).collect();
                let detail = format!("{shown:?} cannot name a {}", $what);
                Err(failed(ErrorKind::Invalid, "name", detail).with_reason(Reason::InvalidName))
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
    };
}

name! {
    /// What a build was made of: the hash or tag of a commit, a number of a build.
    ///
    /// ```
    /// use standfast_asset_hash::Commit;
    ///
    /// let commit: Commit = "9fceb02d0ae598e95dc970b74767f19372d61af8".parse()?;
    /// assert!(Commit::new("v1.2.0").is_ok() && Commit::new("../x").is_err());
    /// # Ok::<_, standfast_core::Error>(())
    /// ```
    Commit, "commit"
}

name! {
    /// Where a set is live: `production`, `staging`.
    ///
    /// ```
    /// use standfast_asset_hash::Channel;
    ///
    /// let channel = Channel::new("production")?;
    /// assert_eq!(channel.as_str(), "production");
    /// # Ok::<_, standfast_core::Error>(())
    /// ```
    Channel, "channel"
}

fn is_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}

/// What somebody calls a set by.
///
/// ```
/// use standfast_asset_hash::{Channel, Commit, SetName};
///
/// let by_commit: SetName = Commit::new("v1")?.into();
/// let by_channel: SetName = Channel::new("production")?.into();
/// assert_eq!(format!("{by_commit}, {by_channel}"), "commit v1, channel production");
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SetName {
    /// The set that is live there.
    Channel(Channel),
    /// The set that the commit is bound to.
    Commit(Commit),
    /// The set itself.
    Id(AssetId),
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(name) => write!(f, "channel {name}"),
            Self::Commit(name) => write!(f, "commit {name}"),
            Self::Id(id) => write!(f, "set {id}"),
        }
    }
}

impl From<Channel> for SetName {
    fn from(name: Channel) -> Self {
        Self::Channel(name)
    }
}

impl From<Commit> for SetName {
    fn from(name: Commit) -> Self {
        Self::Commit(name)
    }
}

impl From<AssetId> for SetName {
    fn from(id: AssetId) -> Self {
        Self::Id(id)
    }
}

pub(super) const COMMITS: &str = "commits/";
pub(super) const SETS: &str = "sets/";
pub(super) const CHANNELS: &str = "channels/";
pub(super) const PINS: &str = "pins/";
pub(super) const CLOCK: &str = "gc/clock.txt";

pub(super) fn key(text: &str) -> BlobKey {
    // invariant: made of ids, checked names and paths of a manifest, whose length leaves room
    BlobKey::new(text).expect("names of a store are keys")
}

pub(super) fn pointer(commit: &Commit) -> BlobKey {
    key(&format!("{COMMITS}{commit}.txt"))
}

pub(super) fn marker(id: AssetId) -> BlobKey {
    key(&format!("{SETS}{id}.txt"))
}

pub(super) fn file(id: AssetId, path: &str) -> BlobKey {
    key(&format!("{id}/{path}"))
}

pub(super) fn channel(name: &Channel) -> BlobKey {
    key(&format!("{CHANNELS}{name}.json"))
}

pub(super) fn pin(id: AssetId) -> BlobKey {
    key(&format!("{PINS}{id}.txt"))
}

/// Which set a commit's pointer names.
pub(super) fn pointed(key: &BlobKey, text: &[u8]) -> Result<AssetId> {
    let id = std::str::from_utf8(text).ok().and_then(|text| text.trim_end().parse().ok());
    id.ok_or_else(|| failed(ErrorKind::Corrupt, "read", format!("{key} does not name a set")))
}

/// What stands between a folder and an ending, if it reads as that.
pub(super) fn inner<T: FromStr>(key: &BlobKey, folder: &str, ending: &str) -> Option<T> {
    key.as_str().strip_prefix(folder)?.strip_suffix(ending)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        for text in ["", "a/b", ".", "..", ".x", "-x", "a b", "\u{e9}", &"x".repeat(129)] {
            let error = Commit::new(text).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::InvalidName), "{text:?}");
        }
        assert!(Channel::new("eu-west_1.blue+2").is_ok());
    }

    #[test]
    fn keys_are_read_back() {
        let id = Digest::of(b"").id();
        let commit = Commit::new("v1").unwrap();
        assert_eq!(inner(&pointer(&commit), COMMITS, ".txt"), Some(commit));
        assert_eq!(inner(&marker(id), SETS, ".txt"), Some(id));
        assert_eq!(inner::<AssetId>(&key("sets/readme.txt"), SETS, ".txt"), None);
    }
}
