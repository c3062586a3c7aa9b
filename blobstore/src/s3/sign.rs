//! URLs that the service itself honours.

use std::time::Duration;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use standfast_core::{Error, ErrorKind, Id128, Result};

use super::Inner;
use super::copy::encode;
use super::credentials::Used;
use super::error::{BACKEND, Failure};
use super::object::{ENTRY, Ends, Entry, sha256_text};
use super::put::empty;
use crate::key::BlobKey;
use crate::meta::Visibility;
use crate::sign::{LenBound, SignRequest, SignedMethod, SignedUrl};

impl Inner {
    pub(super) async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        request.check()?;
        self.check_visibility(&request.key, request.visibility)?;
        let reads = matches!(request.method, SignedMethod::Get | SignedMethod::Head);
        let found = if reads { self.head_object(&request.key).await? } else { None };
        let now = self.clock.now();
        let (starts, ends) = span(now, request.expires_in, found.and_then(|it| it.meta.expires_at));
        // invariant: the end is at least a second behind the start
        let holds = (ends - starts).to_std().unwrap_or(Duration::from_secs(1));
        let config = PresigningConfig::builder().start_time(starts.into()).expires_in(holds);
        let config = config.build().map_err(|error| {
            Error::new(ErrorKind::Unexpected, BACKEND, "blob.sign").with_source(error)
        })?;
        let used = Used::default();
        let signed = match request.method {
            SignedMethod::Get => {
                let get = self.client.get_object().bucket(&self.bucket);
                get.key(self.path(&request.key))
                    .set_response_content_type(request.content_type.clone())
                    .set_response_content_disposition(request.disposition.clone())
                    .customize()
                    .interceptor(used.clone())
                    .presigned(config)
                    .await
                    .map_err(|error| failed(&request.key, error))?
            }
            SignedMethod::Head => {
                let head = self.client.head_object().bucket(&self.bucket);
                head.key(self.path(&request.key))
                    .set_response_content_type(request.content_type.clone())
                    .set_response_content_disposition(request.disposition.clone())
                    .customize()
                    .interceptor(used.clone())
                    .presigned(config)
                    .await
                    .map_err(|error| failed(&request.key, error))?
            }
            SignedMethod::Delete => {
                let delete = self.client.delete_object().bucket(&self.bucket);
                delete
                    .key(self.path(&request.key))
                    .customize()
                    .interceptor(used.clone())
                    .presigned(config)
                    .await
                    .map_err(|error| failed(&request.key, error))?
            }
            SignedMethod::Post => return self.sign_form(request, now, ends).await,
            SignedMethod::Put => self.sign_put(request, config, ends, &used).await?,
        };
        let headers = signed
            .headers()
            // What every client sends by itself, and a browser's page may not set.
            .filter(|(name, _)| !matches!(*name, "host" | "content-length"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let ends =
            used.expires_at().map_or(ends, |credentials| credentials.trunc_subsecs(0).min(ends));
        Ok(SignedUrl::new(request.method, signed.uri().to_owned(), headers, ends))
    }

    /// The conditions are headers that the signature covers, so that the client must send them.
    async fn sign_put(
        &self,
        request: &SignRequest,
        config: PresigningConfig,
        ends: DateTime<Utc>,
        used: &Used,
    ) -> Result<PresignedRequest> {
        let unsupported = |what| Err(self.unsupported("blob.sign", what));
        if let Some(LenBound::AtMost(_)) = request.len {
            return unsupported("a greatest length of a signed put; sign a form instead");
        }
        if request.once && !self.config.features.conditional_put {
            return unsupported("conditional puts");
        }
        let len = match request.len {
            Some(LenBound::Exactly(len)) => Some(i64::try_from(len).unwrap_or(i64::MAX)),
            _ => None,
        };
        let entry = upload(request, true);
        self.note_upload(request, &entry, ends).await?;
        let attributes = &request.attributes;
        let mut put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.path(&request.key))
            .set_cache_control(attributes.cache_control.clone())
            .set_content_disposition(attributes.content_disposition.clone())
            .set_content_encoding(attributes.content_encoding.clone())
            .set_content_language(attributes.content_language.clone())
            .set_content_type(request.content_type.clone())
            .set_content_length(len)
            .set_checksum_sha256(request.sha256.map(sha256_text))
            .set_if_none_match(request.once.then(|| "*".to_owned()))
            .metadata(ENTRY, entry.encode());
        let valued = attributes.metadata.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in valued {
            put = put.metadata(name, value);
        }
        let put = put.customize().interceptor(used.clone());
        put.presigned(config).await.map_err(|error| failed(&request.key, error))
    }

    /// Notes when what is uploaded as late as it can be ends.
    ///
    /// If the process dies after it, or nobody uploads, the sweep drops the note.
    pub(super) async fn note_upload(
        &self,
        request: &SignRequest,
        entry: &Entry,
        ends: DateTime<Utc>,
    ) -> Result<()> {
        let Ends::After(span) = entry.ends else { return Ok(()) };
        match ends.checked_add_signed(span) {
            Some(at) => self.note(&request.key, at, entry.write).await,
            None => Ok(()),
        }
    }

    pub(super) async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        let Some(public) = &self.config.public else {
            return Err(self.unsupported("blob.url", "public blobs without a public prefix"));
        };
        let now = self.clock.now();
        let found = self.head_object(key).await?.filter(|object| object.meta.is_live(now));
        let visible = found.is_some_and(|object| object.meta.visibility == Visibility::Public);
        Ok(visible.then(|| format!("{}/{}", public.base, encode(key.as_str()))))
    }
}

/// From when until when a URL holds: whole seconds, as S3 counts, and never beyond the blob.
fn span(
    now: DateTime<Utc>,
    expires_in: Duration,
    blob_ends: Option<DateTime<Utc>>,
) -> (DateTime<Utc>, DateTime<Utc>) {
    let asked = now + expires_in;
    let ends = blob_ends.map_or(asked, |end| end.min(asked)).trunc_subsecs(0);
    let starts = now.trunc_subsecs(0).min(ends - TimeDelta::seconds(1));
    // Seven days are the most that S3 takes.
    (starts.max(ends - TimeDelta::days(7)), ends)
}

/// Our entry for an upload by others.
pub(super) fn upload(request: &SignRequest, typed: bool) -> Entry {
    let after = request
        .blob_expires_in
        .map(|span| TimeDelta::from_std(span).unwrap_or(TimeDelta::days(365_000)));
    Entry {
        write: Id128::random(),
        at: None,
        ends: after.map_or(Ends::Never, Ends::After),
        crc64: None,
        sha256: request.sha256,
        typed,
        empty: empty(&request.attributes),
    }
}

pub(super) fn failed<E>(key: &BlobKey, error: SdkError<E>) -> Error
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    Failure::of("blob.sign", key.as_str(), error).error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_holds_for_whole_seconds_and_no_longer_than_its_blob() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let minute = Duration::from_secs(60);
        assert_eq!(span(at(5_700), minute, None), (at(5_000), at(65_000)));
        assert_eq!(span(at(5_700), minute, Some(at(9_999))), (at(5_000), at(9_000)));
        assert_eq!(span(at(5_700), minute, Some(at(5_900))), (at(4_000), at(5_000)), "too late");
        let week = Duration::from_secs(7 * 86_400);
        let (starts, ends) = span(at(5_700), week, None);
        assert_eq!(ends - starts, TimeDelta::days(7));
    }
}
