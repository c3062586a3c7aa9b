//! Uploads by a browser's form, straight to the bucket: a policy is signed instead of a URL.
//!
//! A signed PUT can be held to an exact length only; a policy can say how many bytes at most. The
//! service refuses a form with any field that the policy does not name, or names otherwise.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SubsecRound as _, Utc};
use standfast_core::{Error, ErrorKind, Result};

use super::Inner;
use super::error::BACKEND;
use super::object::{ENTRY, sha256_text};
use super::sign::{failed, upload};
use super::sigv4::{ALGORITHM, Scope};
use crate::sign::{LenBound, SignRequest, SignedUrl};

/// The headers that a form can set.
const HEADERS: [&str; 4] =
    ["cache-control", "content-disposition", "content-encoding", "content-type"];

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
        let route = self.route().await.map_err(|error| failed(&request.key, error))?;
        let credentials = route.credentials.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Denied, BACKEND, "blob.sign").with_detail("no credentials")
        })?;
        let ends = route.expires_at().map_or(ends, |end| end.trunc_subsecs(0).min(ends));
        let entry = upload(request, request.content_type.is_some());
        self.note_upload(request, &entry, ends).await?;

        let scope = Scope::new(now, &route.region);
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
        field("x-amz-credential", &scope.credential(credentials.access_key_id()));
        field("x-amz-date", &scope.time);
        if let Some(token) = credentials.session_token() {
            field("x-amz-security-token", token);
        }
        let open = !self.config.features.closed_forms;
        let empty =
            HEADERS.iter().filter(|name| open && fields.iter().all(|(set, _)| set != *name));
        let empty: Vec<_> = empty.copied().collect();
        let policy = policy(&self.bucket, &fields, &empty, request.len, ends);
        let policy = STANDARD.encode(policy);
        let signature = scope.sign(credentials.secret_access_key(), &policy);
        fields.push(("policy".into(), policy));
        fields.push(("x-amz-signature".into(), signature));
        let signed = SignedUrl::new(request.method, route.url.clone(), Vec::new(), ends);
        Ok(signed.with_fields(fields))
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
