//! Listings: pages of the service as they come where its order is that of the bytes, else sorted
//! here.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use chrono::DateTime;
use standfast_core::Result;

use super::Inner;
use super::error::BACKEND;
use super::object::version;
use crate::key::BlobKey;
use crate::list::{BlobEntry, ListOptions, Page, Pager};

/// The most entries of a page of S3.
pub(super) const MAX_PAGE: usize = 1000;

/// Sorts behind every text that goes on from a prefix.
const HIGHEST: &str =
    "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}";

/// One request to list.
#[derive(Debug, Default)]
pub(super) struct Ask<'a> {
    /// Relative to the store's own prefix, as are all texts.
    pub(super) prefix: &'a str,
    pub(super) delimiter: Option<&'a str>,
    pub(super) start_after: Option<String>,
    pub(super) token: Option<String>,
    pub(super) limit: usize,
}

impl Inner {
    pub(super) async fn list(&self, options: &ListOptions) -> Result<Page> {
        let mut pager = Pager::new(options, MAX_PAGE)?;
        if !self.config.features.ordered_listing {
            let entries = self.list_all(&options.prefix).await?;
            while let Some(lower) = pager.lower() {
                let at = entries.partition_point(|entry| entry.key.as_str().as_bytes() < lower);
                let Some(entry) = entries.get(at) else { break };
                pager.offer(entry.clone());
            }
            return Ok(pager.finish());
        }
        // More than once only where reserved keys took places of the page.
        let mut behind = pager.lower().and_then(|lower| start_after(lower, &options.prefix));
        loop {
            let ask = Ask {
                prefix: &options.prefix,
                delimiter: options.delimiter.as_deref(),
                start_after: behind,
                token: None,
                limit: pager.left(),
            };
            let answer = self.ask("blob.list", &ask).await?;
            let more = answer.is_truncated().unwrap_or(false);
            self.offer(&mut pager, &answer);
            if more && pager.left() == 0 {
                pager.cut();
            }
            if !more || pager.left() == 0 {
                return Ok(pager.finish());
            }
            let key = answer.contents().last().and_then(|object| self.relative(object.key()?));
            let common = answer.common_prefixes().last();
            let common = common.and_then(|common| Some(self.relative(common.prefix()?)? + HIGHEST));
            behind = key.max(common);
        }
    }

    /// Every entry below `prefix` in the order of the bytes.
    async fn list_all(&self, prefix: &str) -> Result<Vec<BlobEntry>> {
        let mut entries = Vec::new();
        let mut token = None;
        loop {
            let ask = Ask { prefix, token, limit: MAX_PAGE, ..Ask::default() };
            let answer = self.ask("blob.list", &ask).await?;
            entries.extend(answer.contents().iter().filter_map(|object| self.listed(object)));
            token = answer.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries.dedup_by(|one, other| one.key == other.key);
        Ok(entries)
    }

    pub(super) async fn ask(
        &self,
        operation: &'static str,
        ask: &Ask<'_>,
    ) -> Result<ListObjectsV2Output> {
        let prefix = format!("{}{}", self.prefix, ask.prefix);
        let start_after = ask.start_after.as_ref().map(|key| format!("{}{key}", self.prefix));
        let sent = self.call(operation, &prefix, |_| {
            self.client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&prefix)
                .set_delimiter(ask.delimiter.map(str::to_owned))
                .set_start_after(start_after.clone())
                .set_continuation_token(ask.token.clone())
                .max_keys(ask.limit as i32)
                .encoding_type(EncodingType::Url)
                .send()
        });
        sent.await.map_err(|failure| failure.error)
    }

    /// Offers entries and common prefixes in the order of their bytes.
    fn offer(&self, pager: &mut Pager, answer: &ListObjectsV2Output) {
        let mut blobs =
            answer.contents().iter().filter_map(|object| self.listed(object)).peekable();
        let commons = answer.common_prefixes().iter().filter_map(|common| {
            let common = self.relative(common.prefix()?)?;
            (!is_reserved(&common)).then_some(common)
        });
        let mut commons = commons.peekable();
        loop {
            let blob_first = match (blobs.peek(), commons.peek()) {
                (Some(blob), Some(common)) => blob.key.as_str() < common.as_str(),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if blob_first {
                blobs.next().into_iter().for_each(|blob| pager.offer(blob));
            } else {
                commons.next().into_iter().for_each(|common| pager.offer_common(common));
            }
        }
    }

    fn listed(&self, object: &aws_sdk_s3::types::Object) -> Option<BlobEntry> {
        let name = self.relative(object.key()?)?;
        if is_reserved(&name) {
            return None;
        }
        let Ok(key) = BlobKey::new(&name) else {
            tracing::warn!(backend = BACKEND, key = name, "a listing skips what is no key");
            return None;
        };
        let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        let at = object.last_modified().and_then(|at| DateTime::from_timestamp(at.secs(), 0));
        let version = version(object.e_tag().unwrap_or_default(), None);
        Some(BlobEntry::new(key, size, version, at.unwrap_or_default()))
    }

    /// The text behind the store's prefix, decoded.
    pub(super) fn relative(&self, text: &str) -> Option<String> {
        decode(text)?.strip_prefix(&self.prefix).map(str::to_owned)
    }
}

fn is_reserved(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or(name);
    first == BlobKey::RESERVED
}

/// What to list behind, so that the first key is not below `lower`.
fn start_after(lower: &[u8], prefix: &str) -> Option<String> {
    let (&last, head) = lower.split_last()?;
    if lower == prefix.as_bytes() {
        return None;
    }
    if last == 0 {
        return String::from_utf8(head.to_vec()).ok();
    }
    // What is behind all that begins with a prefix: its last byte plus one.
    let mut common = head.to_vec();
    common.push(last - 1);
    String::from_utf8(common).ok().map(|common| common + HIGHEST)
}

/// The text that the service wrote with `%` and, perhaps, `+`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    let digit = |byte: u8| char::from(byte).to_digit(16);
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                // invariant: two hexadecimal digits are one byte
                out.push((high * 16 + low) as u8);
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_behind_what_was_shown() {
        assert_eq!(start_after(b"a/", "a/"), None);
        assert_eq!(start_after(b"", ""), None);
        assert_eq!(start_after(b"a/b\0", "a/").as_deref(), Some("a/b"));
        let behind = start_after(b"a0", "").unwrap();
        assert!(behind.as_str() > "a/z" && behind.as_str() < "a0");
        let behind = start_after(
            "é".as_bytes().iter().copied().take(1).chain([0xaa]).collect::<Vec<_>>().as_slice(),
            "",
        )
        .unwrap();
        assert!(behind.as_str() > "éz" && behind.as_str() < "ê");
    }

    #[test]
    fn names_are_decoded() {
        assert_eq!(decode("a%2Fb+c%2B%C3%A9").as_deref(), Some("a/b c+é"));
        assert_eq!(decode("a%2"), None);
    }
}
