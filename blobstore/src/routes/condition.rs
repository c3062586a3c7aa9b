//! Conditional requests and ranges, as HTTP writes them.

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use http::HeaderMap;
use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

use crate::meta::{BlobMeta, Version};
use crate::range::ByteRange;

/// What the conditions of a request come to for one blob.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Failed,
    Fulfilled,
    NotModified,
}

/// Judges the conditions in the order of RFC 9110, 13.2.2.
pub(super) fn judge(headers: &HeaderMap, meta: &BlobMeta) -> Verdict {
    let modified_at = meta.modified_at.trunc_subsecs(0);
    if let Some(tags) = text(headers, IF_MATCH) {
        if !names(&tags, &meta.version, false) {
            return Verdict::Failed;
        }
    } else if let Some(since) = date(headers, IF_UNMODIFIED_SINCE)
        && modified_at > since
    {
        return Verdict::Failed;
    }
    if let Some(tags) = text(headers, IF_NONE_MATCH) {
        if names(&tags, &meta.version, true) {
            return Verdict::NotModified;
        }
    } else if let Some(since) = date(headers, IF_MODIFIED_SINCE)
        && modified_at <= since
    {
        return Verdict::NotModified;
    }
    Verdict::Fulfilled
}

/// The range the request wants of this blob. Several ranges, other units and what cannot be read
/// are ignored, as is a range of another version than the client has.
pub(super) fn range(headers: &HeaderMap, meta: &BlobMeta) -> Option<ByteRange> {
    let wanted = headers.get(RANGE)?.to_str().ok()?;
    if let Some(condition) = text(headers, IF_RANGE) {
        let date =
            || parse_date(&condition).is_some_and(|at| meta.modified_at.trunc_subsecs(0) == at);
        if !names(&condition, &meta.version, false) && !date() {
            return None;
        }
    }
    parse_range(wanted)
}

fn parse_range(text: &str) -> Option<ByteRange> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| -> Option<u64> {
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    match (first, last) {
        ("", count) => {
            // No byte is asked for: like a range behind the end, this cannot be satisfied.
            let count = number(count)?;
            Some(if count == 0 { (u64::MAX..).into() } else { ByteRange::last(count) })
        }
        (first, "") => Some((number(first)?..).into()),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| (first..last.saturating_add(1)).into())
        }
    }
}

/// The one version that the header names, if it names exactly one.
pub(super) fn single(headers: &HeaderMap, name: HeaderName) -> Option<Version> {
    let text = text(headers, name)?;
    let tag = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!tag.contains('"')).then(|| Version::new(tag))
}

/// Whether the header is `*`.
pub(super) fn is_any(headers: &HeaderMap, name: HeaderName) -> bool {
    text(headers, name).is_some_and(|text| text.trim() == "*")
}

fn names(tags: &str, version: &Version, weakly: bool) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let strong = if weakly { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        let tag = strong.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        strong == "*" || tag == Some(version.as_str())
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<DateTime<Utc>> {
    parse_date(headers.get(name)?.to_str().ok()?)
}

const DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    Some(NaiveDateTime::parse_from_str(text, DATE).ok()?.and_utc())
}

/// An instant as HTTP writes it.
pub(super) fn http_date(at: DateTime<Utc>) -> String {
    at.format(DATE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_writes_them() {
        let table: &[(&str, Option<ByteRange>)] = &[
            ("bytes=0-4", Some((0..5).into())),
            ("bytes=5-", Some((5..).into())),
            ("bytes=-3", Some(ByteRange::last(3))),
            ("bytes=-0", Some((u64::MAX..).into())),
            ("bytes=4-0", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("bytes=a-b", None),
            ("bytes=-", None),
            ("bytes=99999999999999999999-", None),
            ("chapters=1-2", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_range(text), *expected, "{text}");
        }
    }

    #[test]
    fn a_date_survives_http() {
        let at = "2013-11-22T11:30:05Z".parse().unwrap();
        assert_eq!(http_date(at), "Fri, 22 Nov 2013 11:30:05 GMT");
        assert_eq!(parse_date(&http_date(at)), Some(at));
    }
}
