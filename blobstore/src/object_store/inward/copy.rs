//! Copies: by the service where it can hold what is asked for, else through this process.

use ::object_store::{
    CopyMode, CopyOptions as TheirCopyOptions, Error as TheirError, GetOptions as TheirGetOptions,
    ObjectStore as _,
};
use futures_util::TryStreamExt as _;
use standfast_core::Result;

use super::read::Seen;
use super::{FromObjectStore, changed, check_lasting, failure, path};
use crate::body::Body;
use crate::key::BlobKey;
use crate::meta::Visibility;
use crate::options::{CopyOptions, Expiry, ExpiryChange, Precondition, PutOptions};
use crate::outcome::{CopyOutcome, PutOutcome};

impl FromObjectStore {
    pub(super) async fn copy_blob(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        options.check()?;
        let expires =
            !matches!(options.expiry, ExpiryChange::Keep | ExpiryChange::Set(Expiry::Never));
        check_lasting(options.visibility.unwrap_or(Visibility::Private), expires)?;
        self.check_condition("blob.copy", &options.precondition)?;
        // Each round after the first means that the original changed while it was looked at.
        for _ in 0..16 {
            let Some(source) = self.look(from, "blob.copy").await? else {
                return Ok(CopyOutcome::SourceMissing);
            };
            if options.source.as_ref().is_some_and(|version| *version != source.meta.version) {
                return Ok(CopyOutcome::SourceMismatch);
            }
            let plain = options.source.is_none() && options.attributes.is_none() && from != to;
            let mode = match &options.precondition {
                Precondition::Always if plain => Some(CopyMode::Overwrite),
                Precondition::IfAbsent if plain => Some(CopyMode::Create),
                _ => None,
            };
            let copied = match mode {
                Some(mode) => Some(self.copy_there(from, to, mode).await?),
                None => self.copy_through(&source, from, to, options).await?,
            };
            if let Some(outcome) = copied {
                return Ok(outcome);
            }
        }
        Err(changed("blob.copy", from))
    }

    /// Has the service copy whatever is there.
    async fn copy_there(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        mode: CopyMode,
    ) -> Result<CopyOutcome> {
        let options = TheirCopyOptions::new().with_mode(mode);
        match self.store.copy_opts(&path(from)?, &path(to)?, options).await {
            Ok(()) => {
                let copy =
                    self.look(to, "blob.copy").await?.ok_or_else(|| changed("blob.copy", to))?;
                Ok(CopyOutcome::Stored(Box::new(copy.meta)))
            }
            Err(TheirError::AlreadyExists { .. }) => Ok(CopyOutcome::Exists),
            Err(TheirError::NotFound { .. }) => Ok(CopyOutcome::SourceMissing),
            Err(error) => Err(failure("blob.copy", error)),
        }
    }

    /// Reads what was seen and puts it; `None` if it is another one by now.
    async fn copy_through(
        &self,
        source: &Seen,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<Option<CopyOutcome>> {
        let seen = TheirGetOptions::new().with_if_match(source.object.e_tag.clone());
        let found = match self.store.get_opts(&path(from)?, seen).await {
            Ok(found) => found,
            Err(TheirError::NotFound { .. } | TheirError::Precondition { .. }) => return Ok(None),
            Err(error) => return Err(failure("blob.copy", error)),
        };
        // Onto itself, a copy must not bring back what somebody replaced while it was copying.
        let onto_itself = from == to && options.precondition == Precondition::Always;
        let precondition = match &options.precondition {
            Precondition::Always if onto_itself && self.conditional => {
                Precondition::IfMatch(source.meta.version.clone())
            }
            precondition => precondition.clone(),
        };
        let attributes = options.attributes.as_ref().unwrap_or(&source.meta.attributes);
        let mut put = PutOptions::default().with_precondition(precondition);
        put.attributes = attributes.clone();
        (put.crc64, put.sha256) = (source.meta.crc64, source.meta.sha256);
        let pieces = found.into_stream().map_err(|error| failure("blob.copy", error));
        let body = Body::sized_stream(source.meta.size, pieces);
        Ok(match self.put_blob(to, body, &put).await? {
            PutOutcome::Exists => Some(CopyOutcome::Exists),
            PutOutcome::Mismatch if onto_itself => None,
            PutOutcome::Mismatch => Some(CopyOutcome::Mismatch),
            PutOutcome::Stored(meta) => Some(CopyOutcome::Stored(meta)),
        })
    }
}
