use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use standfast_core::{Clock, Error, ErrorKind, Reason, Result, SystemClock, random, to_micros};

use super::token::{self, Token};
use super::{SignRequest, SignedMethod, SignedUrl};
use crate::key::BlobKey;

/// A secret with the name it goes by in the URLs that it signed.
///
/// ```
/// use standfast_blobstore::SigningKey;
///
/// let key = SigningKey::new("2026-03", [7; 32])?;
/// assert_eq!(key.id(), "2026-03");
/// assert!(SigningKey::new("short", b"guess me").is_err());
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    // The key schedule, so that the secret itself is not kept.
    mac: Hmac<Sha256>,
}

impl SigningKey {
    /// A secret of at least 32 bytes that every instance of the application shares, under a name
    /// of up to 32 letters, digits, `-` and `_`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a shorter secret or another name.
    pub fn new(id: impl Into<String>, secret: impl AsRef<[u8]>) -> Result<Self> {
        let (id, secret) = (id.into(), secret.as_ref());
        let invalid =
            |detail| Error::new(ErrorKind::Invalid, "blobstore", "blob.sign").with_detail(detail);
        let named = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !named || !(1..=32).contains(&id.len()) {
            return Err(invalid("a signing key's id is 1 to 32 letters, digits, - and _")
                .with_reason(Reason::InvalidName));
        }
        if secret.len() < 32 {
            return Err(invalid("a signing key has at least 32 bytes"));
        }
        Ok(Self::keyed(id, secret))
    }

    /// A secret that only this process knows, for tests and for applications of one process.
    pub fn random() -> Self {
        Self::keyed("process".into(), &random::bytes::<32>())
    }

    fn keyed(id: String, secret: &[u8]) -> Self {
        // invariant: HMAC takes keys of every length
        Self { id, mac: Hmac::new_from_slice(secret).expect("any length is a key") }
    }

    /// The name in the URLs.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Signs URLs for stores that have no signing service of their own, and checks them again.
///
/// The store and the [`BlobRoutes`](crate::BlobRoutes) that serve its URLs hold clones of one
/// signer; every instance of the application needs the same keys. To rotate, make a new signer
/// whose first key is the new one and which still [accepts](UrlSigner::accepting) the old one
/// until the last of its URLs has run out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::time::Duration;
/// use standfast_blobstore::{Blobs, MemoryBlobStore, SigningKey, UrlSigner};
///
/// let old = SigningKey::new("2026-02", [6; 32])?;
/// let new = SigningKey::new("2026-03", [7; 32])?;
/// let signer = UrlSigner::new("/blobs", new).accepting(old).for_store("reports");
/// let blobs = Blobs::new(MemoryBlobStore::new().with_signer(signer));
/// assert!(blobs.signed_url("7.html", Duration::from_secs(60)).await?.as_str().contains("2026-03"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct UrlSigner(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    base: String,
    store: String,
    keys: Vec<SigningKey>,
    clock: Arc<dyn Clock>,
}

/// The query parameter that carries the token.
const PARAMETER: &str = "standfast";

impl UrlSigner {
    /// Signs with `key` URLs that begin with `base`, where the application mounts its routes.
    pub fn new(base: impl Into<String>, key: SigningKey) -> Self {
        let mut base = base.into();
        base.truncate(base.trim_end_matches('/').len());
        Self(Arc::new(Inner {
            base,
            store: "blobs".into(),
            keys: vec![key],
            clock: Arc::new(SystemClock),
        }))
    }

    /// Accepts URLs that another key signed.
    #[must_use]
    pub fn accepting(self, key: SigningKey) -> Self {
        self.map(|inner| inner.keys.push(key))
    }

    /// Names the store, so that a URL for one is no URL for another under the same key; `blobs`
    /// unless set.
    #[must_use]
    pub fn for_store(self, name: impl Into<String>) -> Self {
        self.map(|inner| inner.store = name.into())
    }

    /// Takes the time from `clock` instead of the operating system.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.map(|inner| inner.clock = clock)
    }

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Signs `request`; the URL ends no later than `blob_ends`.
    ///
    /// # Errors
    ///
    /// `Invalid` where [`SignRequest::check`] says so; `Unsupported` for a form.
    pub fn sign(
        &self,
        request: &SignRequest,
        blob_ends: Option<DateTime<Utc>>,
    ) -> Result<SignedUrl> {
        request.check()?;
        if request.method == SignedMethod::Post {
            return Err(Error::new(ErrorKind::Unsupported, "blobstore", "blob.sign")
                .with_detail("only a service takes forms; sign a put, which can be bounded here"));
        }
        // invariant: seven days at most fit the calendar for the next 200,000 years
        let asked = to_micros(self.0.clock.now() + request.expires_in);
        let expires_at = blob_ends.map_or(asked, |end| end.min(asked));
        // invariant: a signer is made with one key and keys are only added
        let key = &self.0.keys[0];
        let payload = token::encode(request, expires_at);
        let mac = self.mac(key, request.method, &request.key, &payload).finalize().into_bytes();
        let token = Token { key: &key.id, payload, mac: mac.into() };
        let url = format!("{}?{PARAMETER}={token}", self.address(&request.key));
        let headers = match (&request.content_type, request.method) {
            (Some(value), SignedMethod::Put) => vec![("content-type".into(), value.clone())],
            _ => Vec::new(),
        };
        Ok(SignedUrl::new(request.method, url, headers, expires_at))
    }

    /// What the token of a URL grants to a request of `method` on `key`.
    ///
    /// # Errors
    ///
    /// `Denied`, with [`Reason::Signature`] for a token that none of the keys gave for exactly
    /// this, or [`Reason::Expired`] for one that ran out.
    pub fn verify(&self, method: SignedMethod, key: &BlobKey, token: &str) -> Result<SignRequest> {
        let denied =
            |reason| Error::new(ErrorKind::Denied, "blobstore", "blob.verify").with_reason(reason);
        let token = Token::parse(token).ok_or_else(|| denied(Reason::Signature))?;
        let signer = self.0.keys.iter().find(|signer| signer.id == token.key);
        let signer = signer.ok_or_else(|| denied(Reason::Signature))?;
        self.mac(signer, method, key, &token.payload)
            .verify_slice(&token.mac)
            .map_err(|_| denied(Reason::Signature))?;
        let now = self.0.clock.now();
        let (request, expires_at) = token::decode(method, key, &token.payload, now)
            .ok_or_else(|| denied(Reason::Signature))?;
        if now >= expires_at { Err(denied(Reason::Expired)) } else { Ok(request) }
    }

    /// The address of a public blob.
    pub fn address(&self, key: &BlobKey) -> String {
        let mut url = self.0.base.clone();
        url.push('/');
        for byte in key.as_str().bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    url.push(char::from(byte));
                }
                _ => url.push_str(&format!("%{byte:02X}")),
            }
        }
        url
    }

    /// Everything the signature covers, each field preceded by its length, so that no two requests
    /// give the same bytes.
    fn mac(
        &self,
        signer: &SigningKey,
        method: SignedMethod,
        key: &BlobKey,
        payload: &[u8],
    ) -> Hmac<Sha256> {
        let mut mac = signer.mac.clone();
        let fields: [&[u8]; 6] = [
            b"standfast:blob-url:1",
            signer.id.as_bytes(),
            method.as_str().as_bytes(),
            self.0.store.as_bytes(),
            key.as_str().as_bytes(),
            payload,
        ];
        for field in fields {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac
    }
}

/// The token in a query string, if it has exactly one.
#[cfg(feature = "tower")]
pub(crate) fn token_in(query: &str) -> Option<&str> {
    let mut tokens =
        query.split('&').filter_map(|pair| pair.strip_prefix(PARAMETER)?.strip_prefix('='));
    tokens.next().filter(|_| tokens.next().is_none())
}

/// The text that a percent-encoded path stands for.
#[cfg(any(feature = "tower", feature = "s3-url"))]
pub(crate) fn decode_path(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    let digit = |byte: u8| char::from(byte).to_digit(16);
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                // invariant: two hexadecimal digits are one byte
                out.push((high * 16 + low) as u8);
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlSigner")
            .field("base", &self.0.base)
            .field("store", &self.0.store)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn signer() -> UrlSigner {
        UrlSigner::new("https://app.example/b/", SigningKey::new("k1", [1; 32]).unwrap())
    }

    fn key(text: &str) -> BlobKey {
        BlobKey::new(text).unwrap()
    }

    fn token(url: &SignedUrl) -> String {
        url.as_str().split_once("?standfast=").unwrap().1.to_owned()
    }

    #[test]
    fn no_debug_shows_a_secret() {
        let secret = *b"a secret of just thirty-two byte";
        let key = SigningKey::new("k", secret).unwrap();
        let shown = format!("{:?} {key:?}", UrlSigner::new("/", key.clone()));
        assert!(!shown.contains("secret of") && !shown.contains("97, 32"), "{shown}");
    }

    #[test]
    fn a_token_is_good_for_its_method_key_store_and_nothing_else() {
        let signer = signer();
        let request = SignRequest::get(key("a/b"), Duration::from_secs(60));
        let token = token(&signer.sign(&request, None).unwrap());
        assert!(signer.verify(SignedMethod::Get, &key("a/b"), &token).is_ok());
        let refused = |signer: &UrlSigner, method, at: &str, token: &str| {
            let error = signer.verify(method, &key(at), token).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::Signature));
        };
        refused(&signer, SignedMethod::Head, "a/b", &token);
        refused(&signer, SignedMethod::Get, "a/c", &token);
        refused(&signer.clone().for_store("other"), SignedMethod::Get, "a/b", &token);
        refused(&signer, SignedMethod::Get, "a/b", "");
        refused(&signer, SignedMethod::Get, "a/b", &format!("2{}", &token[1..]));
        refused(&signer, SignedMethod::Get, "a/b", &token.replace("k1", "k2"));
        let stranger = UrlSigner::new("", SigningKey::new("k1", [2; 32]).unwrap());
        refused(&stranger, SignedMethod::Get, "a/b", &token);
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            refused(&signer, SignedMethod::Get, "a/b", &String::from_utf8(forged).unwrap());
        }
    }

    #[test]
    fn an_old_key_is_good_while_it_is_accepted() {
        let request = SignRequest::get(key("a"), Duration::from_secs(60));
        let token = token(&signer().sign(&request, None).unwrap());
        let new = SigningKey::new("k2", [2; 32]).unwrap();
        let rotated = UrlSigner::new("", new.clone());
        assert!(rotated.verify(SignedMethod::Get, &key("a"), &token).is_err());
        let rotated = rotated.accepting(SigningKey::new("k1", [1; 32]).unwrap());
        assert!(rotated.verify(SignedMethod::Get, &key("a"), &token).is_ok());
        assert!(rotated.sign(&request, None).unwrap().as_str().contains(".k2."));
    }

    #[test]
    fn every_condition_survives_the_token() {
        let attributes = crate::Attributes::default().with_cache_control("no-store");
        let mut request = SignRequest::put(key("ä %/?"), Duration::from_secs(60))
            .with_content_type("text/html")
            .with_len(super::super::LenBound::AtMost(9))
            .with_sha256(crate::Sha256Digest::of(b""))
            .with_once()
            .with_attributes(attributes.with_metadata("a", "b=c"))
            .with_blob_expires_in(Duration::from_secs(5));
        let signer = signer();
        for method in [SignedMethod::Put, SignedMethod::Get] {
            if method == SignedMethod::Get {
                request = SignRequest::get(key("g"), Duration::from_secs(60))
                    .with_disposition("inline")
                    .with_content_type("text/plain");
            }
            let url = signer.sign(&request, None).unwrap();
            let seen = signer.verify(method, &request.key, &token(&url)).unwrap();
            assert_eq!(SignRequest { expires_in: request.expires_in, ..seen }, request);
        }
    }
}
