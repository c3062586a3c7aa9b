//! Uploads by a browser's form, straight to the bucket: a policy is signed instead of a URL.
//!
//! A signed PUT can be held to an exact length only; a policy can say how many bytes at most. The
//! service refuses a form with any field that the policy does not name, or names otherwise.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SubsecRound as _, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use standfast_core::{Error, ErrorKind, Result};

use super::Inner;
use super::credentials::Used;
use super::error::BACKEND;
use super::object::{ENTRY, sha256_text};
use super::sign::{failed, upload};
use crate::sign::{LenBound, SignRequest, SignedUrl};

/// The headers that a form can set.
const HEADERS: [&str; 4] =
    ["cache-control", "content-disposition", "content-encoding", "content-type"];

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

impl Inner {
    pub(super) async fn sign_form(
        &self,
        request: &SignRequest,
        now: DateTime<Utc>,
        ends: DateTime<Utc>,
    ) -> Result<SignedUrl> {
        if !self.config.features.post_policy {
            return Err(self.unsupported("blob.sign", "signed forms"));
        }
        let key = self.path(&request.key);
        if key.contains("${filename}") {
            return Err(self.unsupported("blob.sign", "forms for keys with ${filename} in them"));
        }
        if request.attributes.content_language.is_some() {
            return Err(self.unsupported("blob.sign", "forms with a language"));
        }
        let (bucket, used) = self.bucket_url(request).await?;
        let credentials = used.credentials().ok_or_else(|| {
            Error::new(ErrorKind::Denied, BACKEND, "blob.sign").with_detail("no credentials")
        })?;
        let ends = used.expires_at().map_or(ends, |end| end.trunc_subsecs(0).min(ends));
        let entry = upload(request, request.content_type.is_some());
        self.note_upload(request, &entry, ends).await?;

        let region = self.client.config().region().map_or("us-east-1", |region| region.as_ref());
        let date = now.format("%Y%m%d").to_string();
        let scope = format!("{date}/{region}/s3/aws4_request");
        let mut fields = vec![("key".to_owned(), key)];
        let mut field = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        if let Some(value) = &request.content_type {
            field("content-type", value);
        }
        request.attributes.headers().for_each(|(name, value)| field(name, value));
        field(&format!("x-amz-meta-{ENTRY}"), &entry.encode());
        let valued = request.attributes.metadata.iter().filter(|(_, value)| !value.is_empty());
        valued.for_each(|(name, value)| field(&format!("x-amz-meta-{name}"), value));
        if let Some(sha256) = request.sha256 {
            field("x-amz-checksum-sha256", &sha256_text(sha256));
        }
        field("success_action_status", "200");
        field("x-amz-algorithm", ALGORITHM);
        field("x-amz-credential", &format!("{}/{scope}", credentials.access_key_id()));
        field("x-amz-date", &now.format("%Y%m%dT%H%M%SZ").to_string());
        if let Some(token) = credentials.session_token() {
            field("x-amz-security-token", token);
        }
        let open = !self.config.features.closed_forms;
        let empty =
            HEADERS.iter().filter(|name| open && fields.iter().all(|(set, _)| set != *name));
        let empty: Vec<_> = empty.copied().collect();
        let policy = policy(&self.bucket, &fields, &empty, request.len, ends);
        let policy = STANDARD.encode(policy);
        let secret = format!("AWS4{}", credentials.secret_access_key());
        let keys = [&*date, region, "s3", "aws4_request"];
        let key = keys.iter().fold(secret.into_bytes(), |key, text| mac(&key, text));
        let signature: String =
            mac(&key, &policy).iter().map(|byte| format!("{byte:02x}")).collect();
        fields.push(("policy".into(), policy));
        fields.push(("x-amz-signature".into(), signature));
        Ok(SignedUrl::new(request.method, bucket, Vec::new(), ends).with_fields(fields))
    }

    /// The address of the bucket, and the credentials there are: what a URL for any key shows.
    async fn bucket_url(&self, request: &SignRequest) -> Result<(String, Used)> {
        let used = Used::default();
        let config = PresigningConfig::expires_in(Duration::from_secs(60)).map_err(|error| {
            Error::new(ErrorKind::Unexpected, BACKEND, "blob.sign").with_source(error)
        })?;
        let get = self.client.get_object().bucket(&self.bucket).key("k");
        let shown = get.customize().interceptor(used.clone()).presigned(config).await;
        let shown = shown.map_err(|error| failed(&request.key, error))?;
        let url = shown.uri();
        let url = url.split_once('?').map_or(url, |(url, _)| url);
        let url = url.strip_suffix("/k").ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, BACKEND, "blob.sign")
                .with_detail("the address of the bucket cannot be read")
        })?;
        Ok((url.to_owned(), used))
    }
}

/// What the form must be like.
fn policy(
    bucket: &str,
    fields: &[(String, String)],
    empty: &[&str],
    len: Option<LenBound>,
    ends: DateTime<Utc>,
) -> String {
    let mut conditions = vec![format!(r#"{{"bucket":{}}}"#, json(bucket))];
    for (name, value) in fields {
        conditions.push(format!(r#"["eq",{},{}]"#, json(&format!("${name}")), json(value)));
    }
    conditions.extend(empty.iter().map(|name| format!(r#"["eq","${name}",""]"#)));
    match len {
        None => {}
        Some(LenBound::AtMost(len)) => conditions.push(range(0, len)),
        Some(LenBound::Exactly(len)) => conditions.push(range(len, len)),
    }
    let ends = ends.format("%Y-%m-%dT%H:%M:%S%.3fZ");
    format!(r#"{{"expiration":"{ends}","conditions":[{}]}}"#, conditions.join(","))
}

fn range(least: u64, most: u64) -> String {
    format!(r#"["content-length-range",{least},{most}]"#)
}

/// Text in JSON. There are no control characters in it.
fn json(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // invariant: HMAC takes keys of every length
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
