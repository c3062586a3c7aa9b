use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::key::BlobKey;
use crate::meta::{BlobMeta, Version};

/// Which keys a page shows.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, ListOptions, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// for key in ["r/1.html", "r/old/0.html", "r/2.html", "s"] {
///     blobs.put(key, "").await?;
/// }
/// let page = blobs.list_page(ListOptions::prefix("r/").with_delimiter("/")).await?;
/// assert_eq!(page.blobs.len(), 2);
/// assert_eq!(page.prefixes, ["r/old/"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Shows one prefix instead of the keys that share it up to and with this text.
    pub delimiter: Option<String>,
    /// How many keys and prefixes at most, 1,000 unless set; a store may give fewer.
    pub limit: usize,
    /// Shows only keys that begin with this text, whatever it ends in.
    pub prefix: String,
    /// Shows only keys behind this one, which need not exist.
    pub start_after: Option<String>,
    /// Goes on where an earlier page ended.
    pub token: Option<PageToken>,
}

impl ListOptions {
    /// Every key.
    pub fn all() -> Self {
        Self::prefix("")
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { delimiter: None, limit: 1000, prefix: prefix.into(), start_after: None, token: None }
    }

    /// Sets the text up to which keys are shown as one prefix.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = Some(delimiter.into());
        self
    }

    /// Sets how many keys and prefixes a page has at most.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the key behind which the page begins.
    #[must_use]
    pub fn with_start_after(mut self, key: impl Into<String>) -> Self {
        self.start_after = Some(key.into());
        self
    }

    /// Goes on where an earlier page ended.
    #[must_use]
    pub fn with_token(mut self, token: PageToken) -> Self {
        self.token = Some(token);
        self
    }
}

impl Default for ListOptions {
    fn default() -> Self {
        Self::all()
    }
}

/// Where a listing goes on: opaque, and good for as long as one cares to keep it.
///
/// ```
/// use standfast_blobstore::PageToken;
///
/// let kept = PageToken::new("1YQ").to_string();
/// assert_eq!(PageToken::new(kept), PageToken::new("1YQ"));
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct PageToken(String);

impl PageToken {
    /// The token with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a listing says of one blob.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use futures_util::TryStreamExt;
/// use standfast_blobstore::{BlobEntry, Blobs, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("r/1", "one").await?;
/// blobs.put("r/2", "three").await?;
/// let found: Vec<BlobEntry> = blobs.list("r/").try_collect().await?;
/// assert_eq!(found.iter().map(|entry| entry.size).sum::<u64>(), 8);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlobEntry {
    /// Its key.
    pub key: BlobKey,
    /// How many bytes it has.
    pub size: u64,
    /// Which content this is.
    pub version: Version,
    /// When it was put.
    pub modified_at: DateTime<Utc>,
}

impl BlobEntry {
    /// An entry for a backend to hand out.
    pub fn new(key: BlobKey, size: u64, version: Version, modified_at: DateTime<Utc>) -> Self {
        Self { key, size, version, modified_at }
    }
}

impl From<BlobMeta> for BlobEntry {
    fn from(meta: BlobMeta) -> Self {
        Self::new(meta.key, meta.size, meta.version, meta.modified_at)
    }
}

/// One page of a listing; both lists ascend by the bytes of the keys.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// # use standfast_blobstore::{Blobs, ListOptions, MemoryBlobStore};
/// # let blobs = Blobs::new(MemoryBlobStore::new());
/// # for key in ["a", "b", "c"] { blobs.put(key, "").await?; }
/// let first = blobs.list_page(ListOptions::all().with_limit(2)).await?;
/// assert_eq!(first.blobs.len(), 2);
/// let next = first.next.expect("there are three");
/// let last = blobs.list_page(ListOptions::all().with_token(next)).await?;
/// assert_eq!(last.blobs[0].key.as_str(), "c");
/// assert!(last.next.is_none());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// The blobs.
    pub blobs: Vec<BlobEntry>,
    /// What several keys have in common up to and with the delimiter, once each.
    pub prefixes: Vec<String>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<PageToken>,
}

impl Page {
    /// A page for a backend to hand out.
    pub fn new(blobs: Vec<BlobEntry>, prefixes: Vec<String>, next: Option<PageToken>) -> Self {
        Self { blobs, prefixes, next }
    }
}

/// Builds a page from keys that a backend offers in ascending order.
///
/// The backend asks for [`lower`](Pager::lower), finds the first live key that is not below it and
/// offers that; so it can skip whatever hides behind a prefix already shown.
#[derive(Debug)]
pub(crate) struct Pager {
    prefix: String,
    delimiter: Option<String>,
    limit: usize,
    lower: Vec<u8>,
    shown: usize,
    full: bool,
    page: Page,
}

const TOKEN_VERSION: &str = "1";

impl Pager {
    pub(crate) fn new(options: &ListOptions, max_page: usize) -> Result<Self> {
        let invalid = |detail: &str| {
            Error::new(ErrorKind::Invalid, "blobstore", "blob.list").with_detail(detail)
        };
        if options.limit == 0 {
            return Err(invalid("a page of no entries"));
        }
        if options.delimiter.as_deref() == Some("") {
            return Err(invalid("an empty delimiter"));
        }
        let mut lower = options.prefix.clone().into_bytes();
        if let Some(key) = &options.start_after {
            lower = lower.max(just_behind(key));
        }
        if let Some(token) = &options.token {
            let Some(text) = token.as_str().strip_prefix(TOKEN_VERSION) else {
                return Err(Error::new(ErrorKind::Unsupported, "blobstore", "blob.list")
                    .with_reason(Reason::NewerVersion)
                    .with_detail("a page token of another version"));
            };
            let from = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid("no page token"))?;
            lower = lower.max(from);
        }
        Ok(Self {
            prefix: options.prefix.clone(),
            delimiter: options.delimiter.clone(),
            limit: options.limit.min(max_page),
            lower,
            shown: 0,
            full: false,
            page: Page::default(),
        })
    }

    /// The bytes that the next key must not be below; `None` when the page is complete.
    pub(crate) fn lower(&self) -> Option<&[u8]> {
        (!self.full).then_some(&self.lower)
    }

    /// What every key must begin with.
    #[cfg_attr(not(feature = "fs"), allow(dead_code, reason = "memory looks at the key itself"))]
    pub(crate) fn prefix(&self) -> &[u8] {
        self.prefix.as_bytes()
    }

    /// Takes the first live key that is not below; whether it was wanted.
    pub(crate) fn offer(&mut self, entry: BlobEntry) {
        let key = entry.key.as_str();
        if !key.starts_with(&self.prefix) {
            self.full = true;
            return;
        }
        if self.shown == self.limit {
            self.page.next = Some(self.token());
            self.full = true;
            return;
        }
        self.shown += 1;
        let rest = &key[self.prefix.len()..];
        let cut = self.delimiter.as_ref().and_then(|text| Some(rest.find(text)? + text.len()));
        match cut {
            Some(cut) => {
                let common = &key[..self.prefix.len() + cut];
                self.lower = behind_all(common);
                self.page.prefixes.push(common.to_owned());
            }
            None => {
                self.lower = just_behind(key);
                self.page.blobs.push(entry);
            }
        }
    }

    pub(crate) fn finish(self) -> Page {
        self.page
    }

    /// How many more entries the page takes.
    #[cfg(any(feature = "object-store", feature = "s3"))]
    pub(crate) fn left(&self) -> usize {
        self.limit - self.shown
    }

    /// Takes a common prefix that the service found, if it was not shown before.
    #[cfg(any(feature = "object-store", feature = "s3"))]
    pub(crate) fn offer_common(&mut self, common: String) {
        if self.left() > 0 && behind_all(&common) > self.lower {
            self.shown += 1;
            self.lower = behind_all(&common);
            self.page.prefixes.push(common);
        }
    }

    /// Ends a full page that is not the last one.
    #[cfg(any(feature = "object-store", feature = "s3"))]
    pub(crate) fn cut(&mut self) {
        self.page.next = Some(self.token());
        self.full = true;
    }

    fn token(&self) -> PageToken {
        PageToken::new(format!("{TOKEN_VERSION}{}", URL_SAFE_NO_PAD.encode(&self.lower)))
    }
}

/// The least bytes above `key`: keys have no NUL.
fn just_behind(key: &str) -> Vec<u8> {
    let mut bytes = key.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The least bytes above everything that begins with `prefix`: no byte of UTF-8 is 255.
pub(crate) fn behind_all(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_another_version_is_refused_and_a_broken_one_too() {
        let with = |text: &str| {
            let options = ListOptions::all().with_token(PageToken::new(text));
            Pager::new(&options, 10).unwrap_err().kind()
        };
        assert_eq!(with("2YQ"), ErrorKind::Unsupported);
        assert_eq!(with("1**"), ErrorKind::Invalid);
    }
}
