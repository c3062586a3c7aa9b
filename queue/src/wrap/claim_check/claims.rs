//! The bodies in the blob store: putting, getting, and who may delete them.
//!
//! A body has one key for all sends of its message, so nobody can tell from the key how many
//! messages refer to it. The blob tells: the first put makes it, and only if that is still the
//! version that is there, an ack deletes it. Whoever finds it there already, because it repeats a
//! send, because the id is free again or because it sends the reference on, replaces it by an equal
//! one that is marked as shared. No ack deletes that one: it lasts until its expiry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use standfast_blobstore::{
    Attributes, BlobKey, BlobMeta, BlobStore, Body, CopyOptions, CopyOutcome, DeleteOptions,
    DeleteOutcome, Expiry, ExpiryChange, GetOptions, GetOutcome, Precondition, PutOptions,
    PutOutcome, Sha256Digest, Version,
};
use standfast_core::{Error, ErrorKind, Result, checked_add};

use super::ClaimCheckConfig;
use super::meter::Meter;
use super::reference::{Reference, whole};
use crate::envelope::Envelope;
use crate::wrap::stored::{expiry, not_reached};

/// What marks a blob that several messages may refer to.
const SHARED: &str = "shared";

/// Hashing more than this at once would hold up other tasks.
const LONG: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Claims {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) config: ClaimCheckConfig,
    pub(super) meter: Meter,
    /// The least time that an acked body stays, whatever the configuration says.
    pub(super) linger: Duration,
}

/// A body that was put.
pub(super) struct Deposit {
    /// The message without its body.
    pub(super) bare: Arc<Envelope>,
    /// The blob, if this put made it.
    pub(super) made: Option<(BlobKey, Version)>,
}

/// A body that was fetched, and what becomes of it when its message is acked.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) bare: Arc<Envelope>,
    key: BlobKey,
    version: Version,
    shared: bool,
}

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Unresolved {
    /// It is not what was sent.
    Damaged(Error),
    /// The store cannot say now.
    Failed(Error),
    /// It is not there.
    Missing,
    /// It is over the limit of this process.
    TooLarge(u64),
}

impl Claims {
    /// Puts the body of `envelope`, which is sent with `delay`.
    ///
    /// Dies before the put: nothing happened. Dies after it, before the message is sent: the blob
    /// is an orphan until it expires; a send that is repeated finds it.
    pub(super) async fn deposit(&self, envelope: &Envelope, delay: Duration) -> Result<Deposit> {
        let body = &envelope.body;
        let reference = Reference::new(envelope.run, digest(body).await?, body.len());
        let key = reference.key(&self.config.prefix, envelope.id)?;
        let bare = Arc::new(reference.stand_in(envelope));
        let first = PutOptions::default().with_expiry(self.expiry(delay));
        let alone = first.clone().with_precondition(Precondition::IfAbsent);
        let put = self.store.put(&key, Body::from(body.clone()), &alone);
        let made = match put.await.map_err(not_stored)? {
            PutOutcome::Stored(meta) => Some((key, meta.version)),
            _ => {
                let shared = first.with_attributes(shared());
                let put = self.store.put(&key, Body::from(body.clone()), &shared);
                match put.await.map_err(not_stored)? {
                    PutOutcome::Stored(_) => None,
                    other => {
                        return Err(Error::new(ErrorKind::Unexpected, "claim_check", "queue.send")
                            .with_detail(format!("a put without condition answered {other:?}")));
                    }
                }
            }
        };
        self.meter.stored(body.len());
        Ok(Deposit { bare, made })
    }

    /// Makes sure that the body of a message that is sent on by its reference stays.
    pub(super) async fn share(&self, envelope: &Envelope, delay: Duration) -> Result<()> {
        let reference = Reference::of(envelope).map_err(|error| {
            Error::new(ErrorKind::Invalid, "claim_check", "queue.send").with_source(error)
        })?;
        let Some(reference) = reference else { return Ok(()) };
        let key = reference.key(&self.config.prefix, envelope.id)?;
        let how = CopyOptions::default()
            .with_expiry(ExpiryChange::Set(self.expiry(delay)))
            .with_attributes(shared());
        match self.store.copy(&key, &key, &how).await.map_err(not_stored)? {
            CopyOutcome::Stored(_) => Ok(()),
            _ => Err(Error::new(ErrorKind::NotFound, "claim_check", "queue.send")
                .with_detail("the body that the message refers to is not in the blob store")),
        }
    }

    /// Takes back the blob of a message that the queue surely does not have, unless somebody else
    /// has found it meanwhile. Dies before it: the blob is an orphan until it expires.
    pub(super) async fn take_back(&self, key: &BlobKey, version: Version) {
        let only = DeleteOptions::default().with_if_match(version);
        if let Err(error) = self.store.delete(key, &only).await {
            tracing::debug!(%key, %error, "the body of a message that was not sent stays until it expires");
        }
    }

    /// The message `bare` with its body.
    pub(super) async fn fetch(
        &self,
        bare: &Arc<Envelope>,
        reference: &Reference,
    ) -> Result<(Arc<Envelope>, Claim), Unresolved> {
        if reference.len() > self.config.max_body as u64 {
            return Err(Unresolved::TooLarge(reference.len()));
        }
        let key = reference.key(&self.config.prefix, bare.id).map_err(Unresolved::Damaged)?;
        let found = self.store.get(&key, &GetOptions::default()).await.map_err(unresolved)?;
        let GetOutcome::Found(blob) = found else { return Err(Unresolved::Missing) };
        let mut meta = blob.meta().clone();
        if meta.size != reference.len() {
            return Err(damaged(format!("{} bytes, not {}", meta.size, reference.len())));
        }
        let body = blob.bytes(reference.len()).await.map_err(unresolved)?;
        let expected = reference.digest().map_err(Unresolved::Damaged)?;
        if digest(&body).await.map_err(Unresolved::Failed)? != expected {
            return Err(damaged("not the bytes that were sent".to_owned()));
        }
        self.renew(&mut meta).await;
        let shared = meta.attributes.metadata.contains_key(SHARED);
        let claim = Claim { bare: Arc::clone(bare), key, version: meta.version, shared };
        Ok((whole(bare, body), claim))
    }

    /// Gives a body its whole time again when half of it is over, so that what is received now can
    /// still be a dead letter for as long as those are kept.
    async fn renew(&self, meta: &mut BlobMeta) {
        let Some(expires_at) = meta.expires_at else { return };
        let half = checked_add(self.config.clock.now(), self.config.keep_for / 2);
        if half.is_none_or(|half| expires_at >= half) {
            return;
        }
        let how = CopyOptions::default()
            .with_expiry(ExpiryChange::Set(self.expiry(Duration::ZERO)))
            .with_source(meta.version.clone());
        match self.store.copy(&meta.key, &meta.key, &how).await {
            Ok(CopyOutcome::Stored(renewed)) => *meta = *renewed,
            Ok(_) => {} // renewed or shared by somebody else
            Err(error) => tracing::warn!(key = %meta.key, %error, "a body keeps its old expiry"),
        }
    }

    /// Deletes the body of a message that is gone, unless another one may refer to it.
    ///
    /// Dies before it: the blob is an orphan until it expires.
    pub(super) async fn discard(&self, claim: &Claim) {
        if claim.shared || self.config.keep_after_ack {
            return self.meter.kept();
        }
        let linger = self.config.linger.max(self.linger);
        let gone = if linger.is_zero() {
            let only = DeleteOptions::default().with_if_match(claim.version.clone());
            let deleted = self.store.delete(&claim.key, &only).await;
            deleted.map(|outcome| matches!(outcome, DeleteOutcome::Deleted))
        } else {
            let soon = CopyOptions::default()
                .with_expiry(ExpiryChange::Set(Expiry::In(linger)))
                .with_source(claim.version.clone());
            let copied = self.store.copy(&claim.key, &claim.key, &soon).await;
            copied.map(|outcome| matches!(outcome, CopyOutcome::Stored(_)))
        };
        match gone {
            Ok(true) => self.meter.discarded(),
            Ok(false) => self.meter.kept(),
            Err(error) => {
                self.meter.kept();
                tracing::warn!(key = %claim.key, %error, "an acked body stays until it expires");
            }
        }
    }

    fn expiry(&self, delay: Duration) -> Expiry {
        expiry(self.config.keep_for.checked_add(delay))
    }
}

fn shared() -> Attributes {
    Attributes::default().with_metadata(SHARED, "1")
}

async fn digest(body: &Bytes) -> Result<Sha256Digest> {
    if body.len() <= LONG {
        return Ok(Sha256Digest::of(body));
    }
    let body = body.clone();
    tokio::task::spawn_blocking(move || Sha256Digest::of(&body)).await.map_err(|error| {
        Error::new(ErrorKind::Cancelled, "claim_check", "claim.digest").with_source(error)
    })
}

fn damaged(detail: String) -> Unresolved {
    let error = Error::new(ErrorKind::Corrupt, "claim_check", "claim.get");
    Unresolved::Damaged(error.with_detail(detail))
}

fn unresolved(error: Error) -> Unresolved {
    match error.kind() {
        ErrorKind::Checksum | ErrorKind::Corrupt => Unresolved::Damaged(error),
        _ => Unresolved::Failed(error),
    }
}

/// The error of a send whose body is not stored.
fn not_stored(error: Error) -> Error {
    not_reached(error, "claim_check", "queue.send", "the body could not be stored")
}
