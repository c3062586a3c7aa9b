use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use standfast_core::{Error, ErrorKind};

use crate::failed;
use crate::manifest::AssetFile;

/// A SHA-256, written as 64 lower-case hexadecimal digits.
///
/// ```
/// use standfast_asset_hash::Digest;
///
/// let empty = Digest::of(b"");
/// assert!(empty.to_string().starts_with("e3b0c442"));
/// assert_eq!(empty.to_string().parse::<Digest>()?, empty);
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The id of the set that has this digest.
    pub fn id(self) -> AssetId {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&self.0[..20]);
        AssetId(bytes)
    }

    /// The digest of a set of files in the order of their paths. Every part has a fixed length or
    /// is preceded by it, so no two sets have the same framing.
    pub(crate) fn of_set(files: &[AssetFile]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"asset-hash/1\0");
        hash.update((files.len() as u64).to_le_bytes());
        for file in files {
            // invariant: names::normalize() bounds paths far below 4 GiB
            hash.update((file.path.len() as u32).to_le_bytes());
            hash.update(&file.path);
            hash.update(file.size.to_le_bytes());
            hash.update(file.sha256.0);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map(Self)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// What names a set of assets in URLs and object names: the first 160 bits of its digest, as 40
/// lower-case hexadecimal digits. Whoever uses it compares the full digest as well.
///
/// ```
/// use standfast_asset_hash::{AssetId, Digest};
///
/// let digest = Digest::of(b"");
/// assert_eq!(digest.id().to_string(), digest.to_string()[..40]);
/// assert!("E3B0".parse::<AssetId>().is_err());
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AssetId([u8; 20]);

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl FromStr for AssetId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map(Self)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse<const N: usize>(text: &str) -> Result<[u8; N], Error> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let is_whole = text.len() == 2 * N
        && bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)).all(|(byte, pair)| {
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            }
        });
    if is_whole {
        return Ok(bytes);
    }
    let digits = 2 * N;
    Err(failed(ErrorKind::Invalid, "digest.parse", format!("not {digits} hexadecimal digits")))
}
