//! What a request has recorded and not committed yet.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use standfast_core::{Error, Result};

use crate::field::{Field, FieldName, FieldValue};
use crate::key::{Key, Merge};
use crate::limits::SessionLimits;
use crate::memory::apply::{Applied, apply};
use crate::outcome::Conflict;
use crate::patch::{FieldOp, Patch};
use crate::snapshot::Snapshot;

/// Changes a value that was read; called again with what is there where another request was faster.
type Step = Box<dyn FnMut(Option<&FieldValue>) -> Result<Bytes> + Send>;

#[derive(Default)]
pub(super) struct Pending {
    pub(super) patch: Patch,
    /// By the name of the field, in the order in which they were asked for.
    updates: BTreeMap<String, Vec<Step>>,
    problem: Option<Error>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.patch.is_empty() && self.problem.is_none()
    }

    pub(super) fn record(&mut self, change: impl FnOnce(Patch) -> Patch) {
        self.patch = change(std::mem::take(&mut self.patch));
    }

    /// What cannot be recorded fails the commit, where there is somebody to tell.
    pub(super) fn fail(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }

    pub(super) fn verdict(&mut self) -> Result<()> {
        self.problem.take().map_or(Ok(()), Err)
    }

    /// Sets a field whatever was recorded for it; `seen` for keys that compare.
    pub(super) fn set<T>(&mut self, key: &Key<T>, seen: Option<u64>, value: &T) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
    {
        self.updates.remove(key.name());
        self.patch = key.write_seen(self.patch.clone(), seen, value)?;
        Ok(())
    }

    /// Changes a field, and remembers how, for keys that compare.
    pub(super) fn update<T>(
        &mut self,
        key: &Key<T>,
        seen: Option<u64>,
        now: Option<&FieldValue>,
        mut change: impl FnMut(&mut T) + Send + 'static,
    ) -> Result<T>
    where
        T: Default + Serialize + DeserializeOwned + 'static,
    {
        let mut value = key.decode(now)?.unwrap_or_default();
        change(&mut value);
        let is_set = self.change(key.name()).is_some() && !self.updates.contains_key(key.name());
        self.patch = key.write_seen(self.patch.clone(), seen, &value)?;
        // what was set before cannot be asked for again, so a conflict is the caller's
        if key.merge() == Merge::Cas && !is_set {
            let key = *key;
            let step: Step = Box::new(move |there| {
                let mut value = key.decode(there)?.unwrap_or_default();
                change(&mut value);
                key.encode(&value)
            });
            self.updates.entry(key.name().to_owned()).or_default().push(step);
        }
        Ok(value)
    }

    fn change(&self, name: &str) -> Option<&FieldOp> {
        let name = FieldName::new(name).ok()?;
        self.patch.iter().find(|(other, _)| **other == name).map(|(_, change)| &change.op)
    }

    /// Does the updates of a field again, on what is there now. Not if it was otherwise set.
    pub(super) fn rebase(&mut self, conflict: &Conflict) -> Result<bool> {
        let Some(steps) = self.updates.get_mut(conflict.field.as_str()) else { return Ok(false) };
        let mut value = conflict.value.clone();
        for step in steps {
            value = Some(FieldValue::Bytes(step(value.as_ref())?));
        }
        let Some(FieldValue::Bytes(value)) = value else { return Ok(false) };
        let op = FieldOp::CompareAndSet { seen: conflict.revision, value: Some(value) };
        self.patch.replace(&conflict.field, op);
        Ok(true)
    }

    /// What a field holds as this request sees it: what was read, and what it has done since.
    pub(super) fn view(&self, name: &FieldName, snapshot: Option<&Snapshot>) -> Option<FieldValue> {
        let there = snapshot.and_then(|snapshot| snapshot.fields.get(name));
        let read = || there.map(|field| field.value.clone());
        let Some(patch) = self.patch.only(name) else { return read() };
        let fields: BTreeMap<FieldName, Field> =
            there.map(|field| (name.clone(), field.clone())).into_iter().collect();
        let now = snapshot.map(|snapshot| snapshot.now).unwrap_or_default();
        let limits =
            SessionLimits { max_session: usize::MAX, max_field: usize::MAX, max_fields: 1 };
        match apply(&fields, &patch, 0, now, &limits) {
            Ok(Applied::Changed(mut fields)) => fields.remove(name).map(|field| field.value),
            // the commit will say what is wrong
            Ok(Applied::Conflict(_)) | Err(_) => read(),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("fields", &self.patch.len()).finish_non_exhaustive()
    }
}
