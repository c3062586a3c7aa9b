//! What fleets of instances are judged by: the records, and what was sent.

use std::collections::BTreeSet;

use standfast_core::{Fence, JobId};
use standfast_cron_lock::{TickRecord, TickState};

/// The queue that listeners send to: it knows the ids again.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) jobs: BTreeSet<JobId>,
    pub(crate) sends: Vec<(JobId, Fence)>,
}

impl Sent {
    pub(crate) fn send(&mut self, id: JobId, fence: Fence) {
        self.jobs.insert(id);
        self.sends.push((id, fence));
    }
}

/// What every fleet has to have done with the ticks that were won, by listeners `on-tick` and
/// `each`, whatever happened; says what it has not.
pub(crate) fn judge(namespace: &str, records: &[TickRecord], sent: &Sent) -> Result<(), String> {
    for record in records {
        match record.state {
            TickState::Done => {
                let id = JobId::derive(namespace, "on-tick", record.at);
                let each = JobId::derive(namespace, "each/each", record.at);
                if !sent.jobs.contains(&id) || !sent.jobs.contains(&each) {
                    return Err(format!("{} is done, and its jobs are not there", record.at));
                }
                let senders = sent.sends.iter().filter(|(sent, _)| *sent == id);
                let senders = senders.map(|(_, fence)| fence).collect::<BTreeSet<_>>().len();
                if senders > record.attempt as usize {
                    return Err(format!(
                        "{}: {senders} senders, {} owners",
                        record.at, record.attempt
                    ));
                }
            }
            TickState::Exhausted if record.crashes > 0 => {}
            state => return Err(format!("{} is {state:?}", record.at)),
        }
    }
    Ok(())
}

pub(crate) fn print(title: &str, records: &[TickRecord], sent: &Sent, more: &str) {
    let done = records.iter().filter(|record| record.state == TickState::Done).count();
    let taken: u32 = records.iter().map(|record| record.attempt - 1).sum();
    println!(
        "{title}; {} ticks, {done} done, {} exhausted, {taken} takeovers; {} sends of {} jobs; \
         {more}",
        records.len(),
        records.len() - done,
        sent.sends.len(),
        sent.jobs.len(),
    );
    for record in records.iter().filter(|record| record.attempt > 1) {
        let former: Vec<_> = record.former.iter().map(|former| former.owner.name()).collect();
        println!(
            "  {} {:?} by {} (owner {}, {} crashes), after {}",
            record.at.format("%H:%M:%S%.3f"),
            record.state,
            record.owner.name(),
            record.attempt,
            record.crashes,
            former.join(", ")
        );
    }
}
