//! Which messages a replay sends: one for each id, from its last run in the range.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use standfast_core::{JobId, Result};

use super::filter::ReplayFilter;
use super::read::ArchiveRecords;
use super::record::{ArchiveEvent, ArchiveRecord};

/// The run that is to be sent of each id. About 50 bytes for each.
#[derive(Debug, Default)]
pub(super) struct Plan(HashMap<JobId, u32>);

/// What was seen of one run of one message.
#[derive(Debug, Default)]
struct Seen {
    /// Sends that were not taken back.
    sends: u32,
    /// The last of them, in microseconds.
    last: i64,
    received: bool,
}

impl Plan {
    /// Reads all records once. Counts them in `scanned`.
    pub(super) async fn read(
        records: &mut ArchiveRecords,
        filter: &ReplayFilter,
        scanned: &mut u64,
    ) -> Result<Self> {
        let mut seen: HashMap<(JobId, u32), Seen> = HashMap::new();
        while let Some(record) = records.next().await? {
            *scanned += 1;
            note(&mut seen, &record, filter);
            if scanned.is_multiple_of(1024) {
                tokio::task::yield_now().await;
            }
        }
        let mut plan: HashMap<JobId, u32> = HashMap::new();
        for ((id, run), seen) in seen {
            if seen.received || seen.sends > 0 {
                let last = plan.entry(id).or_insert(run);
                *last = run.max(*last);
            }
        }
        Ok(Self(plan))
    }

    /// How many messages are still to come.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this record is the first of a message to be sent; each message once.
    pub(super) fn take(&mut self, record: &ArchiveRecord, filter: &ReplayFilter) -> bool {
        if record.envelope.is_none() {
            return false;
        }
        match self.0.entry(record.id) {
            Entry::Occupied(run) if *run.get() == record.run && filter.matches(record) => {
                run.remove();
                true
            }
            _ => false,
        }
    }
}

fn note(seen: &mut HashMap<(JobId, u32), Seen>, record: &ArchiveRecord, filter: &ReplayFilter) {
    let name = (record.id, record.run);
    match record.event {
        ArchiveEvent::Sent if filter.matches(record) => {
            let seen = seen.entry(name).or_default();
            seen.sends += 1;
            seen.last = record.at.timestamp_micros();
        }
        ArchiveEvent::Received if filter.matches(record) => {
            seen.entry(name).or_default().received = true;
        }
        ArchiveEvent::Unsent => {
            // of a send that is not in the archive, nothing is to be taken back
            let of = record.of.map(|of| of.timestamp_micros());
            if let Some(seen) = seen.get_mut(&name).filter(|seen| of == Some(seen.last)) {
                seen.sends = seen.sends.saturating_sub(1);
            }
        }
        _ => {}
    }
}
