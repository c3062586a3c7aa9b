use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::Result;

use crate::checksum::Sha256Digest;
use crate::key::BlobKey;
use crate::meta::Attributes;
use crate::sign::{LenBound, SignRequest, SignedUrl};
use crate::store::BlobStore;

type Signing = Pin<Box<dyn Future<Output = Result<SignedUrl>> + Send>>;

/// A URL for reading a blob, signed when it is awaited.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::time::Duration;
/// use standfast_blobstore::{Blobs, MemoryBlobStore, SigningKey, UrlSigner};
///
/// let signer = UrlSigner::new("/blobs", SigningKey::random());
/// let blobs = Blobs::new(MemoryBlobStore::new().with_signer(signer));
/// let minutes = Duration::from_secs(15 * 60);
/// let shown = blobs.signed_url("r/7.html", minutes).inline().await?;
/// let saved = blobs.signed_url("r/7.html", minutes).download_as("März.html").await?;
/// assert_ne!(shown.as_str(), saved.as_str());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is signed until it is awaited"]
pub struct SignGet {
    store: Arc<dyn BlobStore>,
    request: Result<SignRequest>,
}

impl SignGet {
    pub(super) fn new(store: Arc<dyn BlobStore>, key: Result<BlobKey>, span: Duration) -> Self {
        Self { store, request: key.map(|key| SignRequest::get(key, span)) }
    }

    fn map(self, change: impl FnOnce(SignRequest) -> SignRequest) -> Self {
        Self { request: self.request.map(change), ..self }
    }

    /// Has the browser show the blob, even one that could carry scripts: they do not run, because
    /// the routes serve it in a sandbox.
    pub fn inline(self) -> Self {
        self.map(|request| request.with_disposition("inline"))
    }

    /// Has the browser save the blob under this name.
    pub fn download_as(self, name: &str) -> Self {
        self.map(|request| request.with_disposition(attachment(name)))
    }

    /// Serves this media type instead of the stored one.
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.map(|request| request.with_content_type(value))
    }
}

impl IntoFuture for SignGet {
    type Output = Result<SignedUrl>;
    type IntoFuture = Signing;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.store.sign(&self.request?).await })
    }
}

/// A URL or form for storing a blob, signed when it is awaited.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::time::Duration;
/// use standfast_blobstore::{Blobs, MemoryBlobStore, SigningKey, UrlSigner};
///
/// let signer = UrlSigner::new("/blobs", SigningKey::random());
/// let blobs = Blobs::new(MemoryBlobStore::new().with_signer(signer));
/// let upload = blobs
///     .signed_put("avatars/7.png", Duration::from_secs(900))
///     .content_type("image/png")
///     .at_most(1 << 20)
///     .once()
///     .await?;
/// assert_eq!(upload.headers, [("content-type".to_owned(), "image/png".to_owned())]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is signed until it is awaited"]
pub struct SignPut {
    store: Arc<dyn BlobStore>,
    request: Result<SignRequest>,
}

impl SignPut {
    pub(super) fn new(store: Arc<dyn BlobStore>, key: Result<BlobKey>, span: Duration) -> Self {
        Self { store, request: key.map(|key| SignRequest::put(key, span)) }
    }

    pub(super) fn form(store: Arc<dyn BlobStore>, key: Result<BlobKey>, span: Duration) -> Self {
        Self { store, request: key.map(|key| SignRequest::form(key, span)) }
    }

    fn map(self, change: impl FnOnce(SignRequest) -> SignRequest) -> Self {
        Self { request: self.request.map(change), ..self }
    }

    /// The media type that the client must send.
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.map(|request| request.with_content_type(value))
    }

    /// Takes at most so many bytes. On S3 only by a form.
    pub fn at_most(self, bytes: u64) -> Self {
        self.map(|request| request.with_len(LenBound::AtMost(bytes)))
    }

    /// Takes exactly so many bytes.
    pub fn exactly(self, bytes: u64) -> Self {
        self.map(|request| request.with_len(LenBound::Exactly(bytes)))
    }

    /// Takes only bytes of this SHA-256.
    pub fn sha256(self, sha256: Sha256Digest) -> Self {
        self.map(|request| request.with_sha256(sha256))
    }

    /// Refuses a second upload while the first one's blob is there. Not for a form.
    pub fn once(self) -> Self {
        self.map(SignRequest::with_once)
    }

    /// The uploaded blob is gone this long after its upload.
    pub fn blob_expires_in(self, span: Duration) -> Self {
        self.map(|request| request.with_blob_expires_in(span))
    }

    /// What is kept beside the uploaded bytes.
    pub fn attributes(self, attributes: Attributes) -> Self {
        self.map(|request| request.with_attributes(attributes))
    }
}

impl IntoFuture for SignPut {
    type Output = Result<SignedUrl>;
    type IntoFuture = Signing;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.store.sign(&self.request?).await })
    }
}

/// A `Content-Disposition` that saves under `name`: plain for old clients, and in full for those
/// that read RFC 6266.
fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " .-_()".contains(c) { c } else { '_' })
        .collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    let mut full = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                full.push(char::from(byte));
            }
            _ => full.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{full}")
}

#[cfg(test)]
mod tests {
    use super::attachment;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(attachment("a b.csv"), "attachment; filename=\"a b.csv\"");
        let sly = attachment("a\"; x=\"\r\nSet-Cookie: é");
        assert!(!sly.contains('\r') && !sly.contains('\n') && sly.is_ascii());
        assert_eq!(sly.matches('"').count(), 2);
    }
}
