use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use standfast_core::{Error, ErrorKind, Reason, Result};

/// The name of a blob: 1 to 896 bytes of UTF-8, made of segments between slashes.
///
/// A key is kept byte for byte: it is never normalised, escaped or shortened. What a backend could
/// not keep is refused here, before any I/O and alike for all backends: an empty key; more than
/// 896 bytes; a control character; an empty segment, so also a slash at either end; a segment `.`
/// or `..`; a segment of more than 255 bytes; and the first segment `.standfast`.
///
/// Keys sort by their bytes, which is the order of every listing.
///
/// ```
/// use standfast_blobstore::BlobKey;
///
/// let key: BlobKey = "reports/März 7%.html".parse()?;
/// assert_eq!(key.as_str(), "reports/März 7%.html");
/// assert!("reports/../passwd".parse::<BlobKey>().is_err());
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BlobKey(Arc<str>);

impl BlobKey {
    /// The most bytes of a key. S3 takes 1,024; the rest is left for a prefix of the store.
    pub const MAX_LEN: usize = 896;

    /// The most bytes between two slashes.
    pub const MAX_SEGMENT: usize = 255;

    /// The first segment that the stores keep for themselves.
    pub const RESERVED: &str = ".standfast";

    /// A key with this text.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`] for a text that breaks the rules above.
    pub fn new(key: impl AsRef<str>) -> Result<Self> {
        let key = key.as_ref();
        match flaw(key) {
            None => Ok(Self(key.into())),
            Some(flaw) => Err(Error::new(ErrorKind::Invalid, "blobstore", "blob.key")
                .with_reason(Reason::InvalidName)
                .with_detail(format!("{:?} {flaw}", abridged(key)))),
        }
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The texts between the slashes.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

fn flaw(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("is empty");
    }
    if key.len() > BlobKey::MAX_LEN {
        return Some("is longer than 896 bytes");
    }
    if key.chars().any(char::is_control) {
        return Some("has a control character");
    }
    for (at, segment) in key.split('/').enumerate() {
        match segment {
            "" => return Some("has an empty segment"),
            "." | ".." => return Some("has a segment of dots"),
            BlobKey::RESERVED if at == 0 => return Some("is reserved"),
            _ if segment.len() > BlobKey::MAX_SEGMENT => {
                return Some("has a segment longer than 255 bytes");
            }
            _ => {}
        }
    }
    None
}

fn abridged(key: &str) -> String {
    key.chars().take(80).collect()
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for BlobKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for BlobKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobKey {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self> {
        Self::new(key)
    }
}

impl TryFrom<&str> for BlobKey {
    type Error = Error;

    fn try_from(key: &str) -> Result<Self> {
        Self::new(key)
    }
}

impl TryFrom<String> for BlobKey {
    type Error = Error;

    fn try_from(key: String) -> Result<Self> {
        Self::new(key)
    }
}

/// What [`Blobs`](crate::Blobs) takes as a key: a [`BlobKey`], or text that is checked when the
/// operation runs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{BlobKey, Blobs, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// assert!(!blobs.exists("a").await?);
/// assert!(!blobs.exists(format!("a/{}", 7)).await?);
/// assert!(!blobs.exists(&BlobKey::new("a/7")?).await?);
/// assert!(blobs.exists("a//7").await.is_err());
/// # Ok(()) }
/// ```
pub trait IntoKey {
    /// The key, or why the text is none.
    fn into_key(self) -> Result<BlobKey>;
}

impl IntoKey for BlobKey {
    fn into_key(self) -> Result<BlobKey> {
        Ok(self)
    }
}

impl IntoKey for &BlobKey {
    fn into_key(self) -> Result<BlobKey> {
        Ok(self.clone())
    }
}

impl IntoKey for &str {
    fn into_key(self) -> Result<BlobKey> {
        BlobKey::new(self)
    }
}

impl IntoKey for String {
    fn into_key(self) -> Result<BlobKey> {
        BlobKey::new(self)
    }
}

impl IntoKey for &String {
    fn into_key(self) -> Result<BlobKey> {
        BlobKey::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_backend_could_keep_is_refused() {
        let wrong = [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/./b",
            "a/../b",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            ".standfast",
            ".standfast/a",
            &"k".repeat(256),
            &"k/".repeat(448),
            &format!("{}k", "k/".repeat(448)),
        ];
        for key in wrong {
            let error = BlobKey::new(key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{key:?}");
            assert_eq!(error.reason(), Some(Reason::InvalidName), "{key:?}");
        }
    }

    #[test]
    fn everything_else_is_a_key_as_it_stands() {
        let right = [
            "a",
            "a b",
            "%2e%2e",
            "a+b?c#d\\e\"f'<g>&h",
            "😀/~",
            "...",
            ".a",
            "a/.standfast",
            &"k".repeat(255),
            &format!("{}k", "k".repeat(127) + "/").repeat(7)[..896],
        ];
        for key in right {
            assert_eq!(BlobKey::new(key).unwrap().as_str(), key);
        }
    }
}
