//! The cases, by subject. Each is an async function over a [`CronLockHarness`] that panics when
//! the rule it names is broken.

mod claiming;
mod history;
mod settling;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Fence, Id128};

use super::CronLockHarness;
use crate::{Claim, ClaimOptions, Claimed, CronLock, CronLockConfig, Owner, TickRecord};

pub use claiming::*;
pub use history::*;
pub use settling::*;
pub use takeover::*;

/// Two instances of a namespace of their own, and a tick some minutes in the past, so that no case
/// has to wait for one.
struct Fixture<'a> {
    harness: &'a dyn CronLockHarness,
    namespace: String,
    one: Arc<dyn CronLock>,
    two: Arc<dyn CronLock>,
    owner: Owner,
    other: Owner,
    options: ClaimOptions,
    at: DateTime<Utc>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl<'a> Fixture<'a> {
    async fn new(harness: &'a dyn CronLockHarness) -> Self {
        Self::with_config(harness, CronLockConfig::default()).await
    }

    async fn with_config(harness: &'a dyn CronLockHarness, config: CronLockConfig) -> Self {
        let namespace = format!("suite-{}", Id128::random());
        let one = harness.open(&namespace, config.clone()).await.unwrap();
        let two = harness.open(&namespace, config.clone()).await.unwrap();
        let at = config.tick_at(one.now().await.unwrap()) - config.resolution * 3;
        Self {
            harness,
            namespace,
            one,
            two,
            owner: Owner::new("one"),
            other: Owner::new("two"),
            options: ClaimOptions::new(harness.lease()),
            at,
        }
    }

    /// Claims `at` as the first instance, and must win.
    async fn win(&self, at: DateTime<Utc>) -> Claimed {
        won(self.one.claim(at, &self.owner, &self.options).await.unwrap())
    }

    /// Claims `at` as the second instance.
    async fn rival(&self, at: DateTime<Utc>) -> Claim {
        self.two.claim(at, &self.other, &self.options).await.unwrap()
    }

    /// Lets the lease of a claim made before run out.
    async fn outlive_the_lease(&self) {
        self.harness.pass(self.harness.lease() + self.harness.lease() / 4).await;
    }

    /// The record of `at`, as the second instance reads it.
    async fn record(&self, at: DateTime<Utc>) -> TickRecord {
        let records = self.two.records(&crate::RecordQuery::default()).await.unwrap();
        records.into_iter().find(|record| record.at == at).expect("the tick has a record")
    }
}

fn won(claim: Claim) -> Claimed {
    match claim {
        Claim::Claimed(claimed) => claimed,
        other => panic!("the tick was not won: {other:?}"),
    }
}

fn fence_of(claimed: &Claimed) -> Fence {
    claimed.tick.fence
}
