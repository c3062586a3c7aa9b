use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::JobId;

use super::record::ArchiveRecord;
use crate::envelope::Envelope;

/// Which messages of an archive; the default is all of them.
///
/// ```
/// use chrono::{TimeZone, Utc};
/// use standfast_queue::wrap::ReplayFilter;
///
/// let march = ReplayFilter::default()
///     .since(Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap())
///     .until(Utc.with_ymd_and_hms(2026, 4, 1, 0, 0, 0).unwrap())
///     .kind("mail")
///     .header("tenant", "acme");
/// # let _ = march;
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReplayFilter {
    /// Only what was archived at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Only what was archived before this instant; before the replay began, unless set.
    pub until: Option<DateTime<Utc>>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only these messages.
    pub ids: Option<Vec<JobId>>,
    /// Only messages whose headers, or those of their context, have these values.
    pub headers: BTreeMap<String, String>,
}

impl ReplayFilter {
    /// Only what was archived at `since` or later.
    #[must_use]
    pub fn since(self, since: DateTime<Utc>) -> Self {
        Self { since: Some(since), ..self }
    }

    /// Only what was archived before `until`.
    #[must_use]
    pub fn until(self, until: DateTime<Utc>) -> Self {
        Self { until: Some(until), ..self }
    }

    /// Only this kind.
    #[must_use]
    pub fn kind(self, kind: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), ..self }
    }

    /// Only the message with this id, and others asked for the same way.
    #[must_use]
    pub fn id(mut self, id: JobId) -> Self {
        self.ids.get_or_insert_default().push(id);
        self
    }

    /// Only messages with this header, of their own or of their context; numbers and the like are
    /// compared as they are written in JSON.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Whether a record is meant, as far as it holds a message, apart from its time.
    pub fn matches(&self, record: &ArchiveRecord) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == record.kind)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
            && record.envelope.as_ref().is_some_and(|envelope| {
                self.headers.iter().all(|(name, value)| has_header(envelope, name, value))
            })
    }
}

fn has_header(envelope: &Envelope, name: &str, value: &str) -> bool {
    let own = envelope.headers.get(name).map(|header| match header {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    own.is_some_and(|header| header == value)
        || envelope.context.headers.get(name).is_some_and(|header| header == value)
}
