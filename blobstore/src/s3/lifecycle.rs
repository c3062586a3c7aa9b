//! The rules by which the service itself collects what is left behind.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, TransitionDefaultMinimumObjectSize,
};
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::error::BACKEND;
use super::{Inner, S3BlobStore, multipart};
use crate::checksum::Crc64;

/// The rules that a store wants its bucket to have, in whole days, as S3 counts.
///
/// ```
/// use standfast_blobstore::S3Lifecycle;
///
/// let wanted = S3Lifecycle::default()
///     .with_abort_uploads_after(2)
///     .with_delete_after("tmp/", 30);
/// assert!(wanted.check().is_ok());
/// assert!(wanted.with_delete_after("", 1).check().is_err(), "that would be everything");
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct S3Lifecycle {
    abort_uploads_after: Option<u16>,
    delete_after: BTreeMap<String, u16>,
}

impl S3Lifecycle {
    /// Frees uploads that nobody ended for so many days: those whose process died.
    #[must_use]
    pub fn with_abort_uploads_after(mut self, days: u16) -> Self {
        self.abort_uploads_after = Some(days);
        self
    }

    /// Deletes the blobs whose keys begin with `prefix` so many days after they were put, whatever
    /// their own expiry says: for what nobody keeps or promotes.
    #[must_use]
    pub fn with_delete_after(mut self, prefix: impl Into<String>, days: u16) -> Self {
        self.delete_after.insert(prefix.into(), days);
        self
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `Invalid` for no days or an empty prefix.
    pub fn check(&self) -> Result<()> {
        let days = self.abort_uploads_after.iter().chain(self.delete_after.values());
        if days.into_iter().any(|days| *days == 0) || self.delete_after.contains_key("") {
            return Err(Error::new(ErrorKind::Invalid, BACKEND, "blob.lifecycle")
                .with_detail("a rule has a prefix and at least one day"));
        }
        Ok(())
    }
}

/// What it takes to give a bucket the rules that a store wants.
///
/// ```no_run
/// # async fn example(store: standfast_blobstore::S3BlobStore) -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::S3Lifecycle;
///
/// let wanted = S3Lifecycle::default().with_abort_uploads_after(2);
/// let plan = store.plan_lifecycle(&wanted).await?;
/// println!("adds {:?}, removes {:?}, leaves {} of others", plan.added, plan.removed, plan.others);
/// assert_eq!(store.ensure_lifecycle(&wanted).await?, plan);
/// assert!(store.plan_lifecycle(&wanted).await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LifecyclePlan {
    /// The ids of rules that are new.
    pub added: Vec<String>,
    /// The ids of rules of this store that say something else.
    pub changed: Vec<String>,
    /// The ids of rules of this store that are wanted no more.
    pub removed: Vec<String>,
    /// How many rules belong to others; they stay as they are.
    pub others: usize,
}

impl LifecyclePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// The most rules of a bucket.
const MAX_RULES: usize = 1000;

/// What a bucket has.
#[derive(Debug)]
struct Present {
    own: Vec<LifecycleRule>,
    others: Vec<LifecycleRule>,
    smallest: Option<TransitionDefaultMinimumObjectSize>,
}

impl S3BlobStore {
    /// What [`ensure_lifecycle`](Self::ensure_lifecycle) would do. Changes nothing.
    ///
    /// # Errors
    ///
    /// `Invalid`, `Denied`, `NotFound` (no such bucket), `Unavailable` and the like.
    pub async fn plan_lifecycle(&self, wanted: &S3Lifecycle) -> Result<LifecyclePlan> {
        wanted.check()?;
        let rules = self.inner.wanted_rules(wanted);
        Ok(plan(&self.inner.present_rules().await?, &rules))
    }

    /// Gives the bucket the rules that `wanted` says, and takes away what this store wanted before.
    /// Never called by the store itself.
    ///
    /// Rules are this store's by their ids, which begin with `standfast:` and the store's prefix.
    /// All others go back as they came. S3 replaces all rules of a bucket at once and knows no
    /// condition, so of two changes at the same time one can be lost: call it under a lock that
    /// whoever else changes the bucket takes, too. If the process dies, all or nothing happened.
    ///
    /// # Errors
    ///
    /// As for [`plan_lifecycle`](Self::plan_lifecycle); `TooLarge` for over 1,000 rules; `Conflict`
    /// where the bucket has other rules right after the change.
    pub async fn ensure_lifecycle(&self, wanted: &S3Lifecycle) -> Result<LifecyclePlan> {
        wanted.check()?;
        let inner = &self.inner;
        let rules = inner.wanted_rules(wanted);
        let present = inner.present_rules().await?;
        let plan = plan(&present, &rules);
        if plan.is_empty() {
            return Ok(plan);
        }
        let all: Vec<_> = present.others.iter().chain(&rules).cloned().collect();
        inner.replace_rules(all, present.smallest.clone()).await?;
        let after = inner.present_rules().await?;
        if essences(&after.own) != essences(&rules)
            || sorted(after.others) != sorted(present.others)
        {
            return Err(Error::new(ErrorKind::Conflict, BACKEND, "blob.lifecycle")
                .with_retryable(true)
                .with_detail("the bucket has other rules than it was given"));
        }
        Ok(plan)
    }
}

impl Inner {
    fn wanted_rules(&self, wanted: &S3Lifecycle) -> Vec<LifecycleRule> {
        let rule = |name: &str, below: &str| {
            let prefix = format!("{}{below}", self.prefix);
            LifecycleRule::builder()
                .id(format!("{}{name}", self.rule_prefix()))
                .status(ExpirationStatus::Enabled)
                .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        };
        let expiration = |days: u16| LifecycleExpiration::builder().days(days.into()).build();
        let mut rules = Vec::new();
        if let Some(days) = wanted.abort_uploads_after {
            let abort =
                AbortIncompleteMultipartUpload::builder().days_after_initiation(days.into());
            rules.push(rule("uploads", "").abort_incomplete_multipart_upload(abort.build()));
            rules.push(rule("staged", multipart::STAGED).expiration(expiration(days)));
        }
        for (prefix, days) in &wanted.delete_after {
            let name = format!("delete-{}", Crc64::of(prefix.as_bytes()));
            rules.push(rule(&name, prefix).expiration(expiration(*days)));
        }
        // invariant: a status is all that a rule must have
        rules.into_iter().map(|rule| rule.build().expect("a rule has a status")).collect()
    }

    /// What the ids of this store's rules begin with.
    fn rule_prefix(&self) -> String {
        format!("standfast:{}:", self.prefix)
    }

    fn is_own(&self, rule: &LifecycleRule) -> bool {
        let name = rule.id().and_then(|id| id.strip_prefix(&self.rule_prefix()));
        // Behind the prefix of another store there would be a slash.
        name.is_some_and(|name| !name.contains(['/', ':']))
    }

    async fn present_rules(&self) -> Result<Present> {
        let sent = self.call("blob.lifecycle", &self.bucket, |_| {
            self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send()
        });
        let (rules, smallest) = match sent.await {
            Ok(answer) => {
                let smallest = answer.transition_default_minimum_object_size;
                (answer.rules.unwrap_or_default(), smallest)
            }
            Err(failure) if failure.code == "NoSuchLifecycleConfiguration" => (Vec::new(), None),
            Err(failure) => return Err(failure.error),
        };
        let (own, others) = rules.into_iter().partition(|rule| self.is_own(rule));
        Ok(Present { own, others, smallest })
    }

    async fn replace_rules(
        &self,
        rules: Vec<LifecycleRule>,
        smallest: Option<TransitionDefaultMinimumObjectSize>,
    ) -> Result<()> {
        if rules.is_empty() {
            let sent = self.call("blob.lifecycle", &self.bucket, |_| {
                self.client.delete_bucket_lifecycle().bucket(&self.bucket).send()
            });
            return sent.await.map(drop).map_err(|failure| failure.error);
        }
        if rules.len() > MAX_RULES {
            return Err(Error::new(ErrorKind::TooLarge, BACKEND, "blob.lifecycle")
                .with_reason(Reason::BatchTooLarge)
                .with_detail(format!("{} rules, over {MAX_RULES}", rules.len())));
        }
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
        // invariant: the rules are there
        let rules = rules.expect("a configuration has rules");
        let sent = self.call("blob.lifecycle", &self.bucket, |_| {
            self.client
                .put_bucket_lifecycle_configuration()
                .bucket(&self.bucket)
                .lifecycle_configuration(rules.clone())
                .set_transition_default_minimum_object_size(smallest.clone())
                .send()
        });
        sent.await.map(drop).map_err(|failure| failure.error)
    }
}

/// What a rule of ours says: services may add what they imply.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Essence {
    id: String,
    enabled: bool,
    prefix: Option<String>,
    delete_after: Option<i32>,
    abort_after: Option<i32>,
}

impl Essence {
    fn of(rule: &LifecycleRule) -> Self {
        let abort = rule.abort_incomplete_multipart_upload();
        Self {
            id: rule.id().unwrap_or_default().to_owned(),
            enabled: *rule.status() == ExpirationStatus::Enabled,
            prefix: rule.filter().and_then(|filter| filter.prefix()).map(str::to_owned),
            delete_after: rule.expiration().and_then(LifecycleExpiration::days),
            abort_after: abort.and_then(AbortIncompleteMultipartUpload::days_after_initiation),
        }
    }
}

fn essences(rules: &[LifecycleRule]) -> Vec<Essence> {
    let mut essences: Vec<_> = rules.iter().map(Essence::of).collect();
    essences.sort();
    essences
}

fn sorted(mut rules: Vec<LifecycleRule>) -> Vec<LifecycleRule> {
    rules.sort_by(|one, other| one.id().cmp(&other.id()));
    rules
}

fn plan(present: &Present, wanted: &[LifecycleRule]) -> LifecyclePlan {
    let (before, after) = (essences(&present.own), essences(wanted));
    let find = |all: &[Essence], id: &str| all.iter().position(|essence| essence.id == id);
    let mut plan = LifecyclePlan { others: present.others.len(), ..LifecyclePlan::default() };
    for essence in &after {
        match find(&before, &essence.id) {
            None => plan.added.push(essence.id.clone()),
            Some(at) if before[at] != *essence => plan.changed.push(essence.id.clone()),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|essence| find(&after, &essence.id).is_none());
    plan.removed.extend(gone.map(|essence| essence.id.clone()));
    plan
}
