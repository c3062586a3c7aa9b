//! What was asked for and what became of it, kept for ever in business sessions.

use std::sync::Arc;

use standfast_core::{BusinessRef, Context, JobId, Result};
use standfast_queue::{CancelReason, JobContext, JobError};
use standfast_session::business::{
    Actor, Append, At, BusinessEvent, BusinessMeta, BusinessStore, BusinessStoreExt, Changes,
    Expected, Verification,
};

use crate::jobs::{ReportFiles, ReportJob};
use crate::report::shorten;

/// How many events a page shows.
const SHOWN: u64 = 20;
/// The most characters of a reason.
const CAUSE: usize = 400;
/// Up to how many events it checks for each view.
const CHECKED: u64 = 500;

/// The record, if one is kept.
///
/// Each event is appended under the id of its job and the name of a step, so whoever says it twice,
/// after a crash or a lost answer, has said it once.
#[derive(Clone, Debug, Default)]
pub struct Record(Option<Arc<dyn BusinessStore>>);

/// The last events of a business session, the newest first.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) events: Vec<BusinessEvent>,
    /// Whether the chain of their hashes is whole; `None` where it is too long for a page.
    pub(crate) is_sound: Option<bool>,
}

impl Record {
    /// A record in `store`, or none.
    pub fn new(store: Option<Arc<dyn BusinessStore>>) -> Self {
        Self(store)
    }

    /// Says that somebody asked for a report. Before it is sent: what is not recorded is not made.
    ///
    /// Died after it: the record has a request without an outcome, which is what happened.
    ///
    /// # Errors
    ///
    /// Those of the store: the report is not to be sent.
    pub async fn asked(
        &self,
        job: &ReportJob,
        id: JobId,
        actor: Actor,
        context: &Context,
    ) -> Result<()> {
        let meta = BusinessMeta::new(id.to_string(), "asked", actor).because(job.title());
        self.append(context, Changes::new().add("asked", 1), meta).await
    }

    /// Says how an attempt ended, in the environment that its job brought along. Before the worker
    /// is told.
    ///
    /// Died in between: the next attempt of the run says `ready` again, which counts once.
    ///
    /// # Errors
    ///
    /// Those of the store: the attempt is to be repeated.
    pub async fn ended(
        &self,
        job: &ReportJob,
        made: &std::result::Result<ReportFiles, JobError>,
        ctx: &JobContext,
    ) -> Result<()> {
        let (run, attempt) = (ctx.run(), ctx.attempt());
        let (what, why) = match (made, ctx.cancel_reason()) {
            (Ok(_), _) => ("ready", job.title()),
            // another attempt will say how it ended
            (_, Some(CancelReason::LeaseLost | CancelReason::Shutdown)) => return Ok(()),
            (_, Some(CancelReason::Requested)) => ("cancelled", job.title()),
            (_, Some(CancelReason::TimedOut)) => ("retried", "it took too long".to_owned()),
            (Err(error), _) if error.is_dead() => ("failed", error.message().to_owned()),
            (Err(error), _) => ("retried", error.message().to_owned()),
        };
        let step = match what {
            "retried" => format!("{what}-{run}-{attempt}"),
            _ => format!("{what}-{run}"),
        };
        let why = match shorten(&why, CAUSE) {
            why if why.trim().is_empty() => what.to_owned(),
            why => why,
        };
        let origin = ctx.envelope().id.to_string();
        let meta = BusinessMeta::new(origin, step, Actor::Service("worker".to_owned()));
        self.append(ctx.context(), Changes::new().add(what, 1), meta.because(why)).await
    }

    async fn append(&self, context: &Context, changes: Changes, meta: BusinessMeta) -> Result<()> {
        let (Some(store), Some(business)) = (&self.0, &context.business) else { return Ok(()) };
        let meta = meta.in_context(context);
        match store.append(business, Expected::Any, &changes, &meta).await? {
            Append::Appended { .. } => {}
            other => {
                tracing::error!(?other, origin = meta.origin, step = meta.step, "not recorded")
            }
        }
        Ok(())
    }

    /// What happened last; `None` where no record is kept.
    pub(crate) async fn history(&self, business: &BusinessRef) -> Result<Option<History>> {
        let Some(store) = &self.0 else { return Ok(None) };
        let Some(state) = store.state_at(business, At::Latest).await? else {
            return Ok(Some(History { events: Vec::new(), is_sound: Some(true) }));
        };
        let after = state.seq.saturating_sub(SHOWN);
        let mut events = store.history(business, after, SHOWN as usize).await?;
        events.reverse();
        let is_sound = match state.seq <= CHECKED {
            true => Some(matches!(store.verify(business).await?, Verification::Sound { .. })),
            false => None,
        };
        Ok(Some(History { events, is_sound }))
    }
}
