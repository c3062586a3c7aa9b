//! What happens by itself: a report about the sample, every few minutes.
//!
//! Every instance ticks. One of them wins each tick and sends what is due; the queue, and a worker,
//! do the rest. Whoever takes a tick over sends the same job, under the same id and handle.

use std::sync::Arc;

use standfast_core::{BoxError, BusinessRef, Context, Error, Id128, JobId, Tick};
use standfast_cron_lock::{Cron, CronConfig, CronLock, every};
use standfast_queue::{Job as _, Jobs, StatusHandle};
use standfast_session::business::Actor;

use crate::config::Config;
use crate::jobs::{ReportJob, SAMPLE};
use crate::record::Record;

/// The id of the schedule: it is in the records, and keeps its runs apart from those of others.
pub(crate) const SCHEDULE: &str = "orders";

/// What a tick needs to send a report.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) jobs: Jobs,
    pub(crate) record: Record,
    pub(crate) secret: Arc<[u8; 32]>,
}

/// The cron of this process.
///
/// # Errors
///
/// `Invalid` where ticks, lease and schedule do not go together.
pub(crate) fn cron(
    lock: Arc<dyn CronLock>,
    config: &Config,
    sender: Sender,
) -> Result<Cron, Error> {
    let mut how = CronConfig::default();
    how.lease = config.lease.min(lock.capabilities().config.max_lease);
    how.deadline = how.deadline.min(how.lease / 3);
    how.call_timeout = how.call_timeout.min(how.lease / 3);
    how.spread = how.spread.min(config.tick / 4);
    how.grace = config.grace;
    let mut cron = Cron::with_config(lock, how)?;
    cron.schedule(every(config.every).id(SCHEDULE), move |tick| {
        let sender = sender.clone();
        async move { sender.send(&tick).await }
    })?;
    Ok(cron)
}

impl Sender {
    /// Recorded, then sent. Died in between, or after it and before the tick was finished: whoever
    /// takes the tick over says and sends the same, which counts once.
    async fn send(&self, tick: &Tick) -> Result<(), BoxError> {
        let id = tick.job_id(ReportJob::KIND);
        let job = ReportJob {
            data: SAMPLE.to_owned(),
            group_by: "product".to_owned(),
            sum: "revenue".to_owned(),
            name: Some(format!("by itself, {} UTC", tick.due().format("%H:%M:%S"))),
        };
        let mut context = Context::default();
        context.request_id = Some(format!("tick-{}", tick.at.timestamp()));
        context.business = Some(BusinessRef::new(format!("schedule-{SCHEDULE}")));
        self.record.asked(&job, id, Actor::System, &context).await?;
        // what the record of the tick calls the run leads to its report
        let run = JobId::derive(&tick.namespace, SCHEDULE, tick.due());
        let handle = handle(&self.secret, run);
        let send = self.jobs.send(job).id(id, handle).context(context);
        // a queue without dedupe keys may hold it twice: the status that has ended refuses the second
        let keeps_keys = self.jobs.queue().capabilities().dedupe;
        if keeps_keys {
            send.for_tick(tick).await?
        } else {
            send.await?
        };
        Ok(())
    }
}

/// The handle of the report of a run: known to all who share the secret, guessed by nobody.
pub(crate) fn handle(secret: &[u8; 32], run: JobId) -> StatusHandle {
    StatusHandle::derive(secret, &Id128::from(run).to_bytes())
}
