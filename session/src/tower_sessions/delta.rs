//! What every version of the adapter does: whole records in, changes out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use standfast_core::{Error, ErrorKind, Id128, Result};

use crate::field::{FieldName, FieldValue, is_name};
use crate::handler::SessionHandler;
use crate::init::{SessionInit, Timeouts};
use crate::outcome::{CommitOutcome, CreateOutcome, LoadOutcome};
use crate::patch::Patch;
use crate::snapshot::Snapshot;
use crate::token::{Access, SessionToken};

/// The entry of a record in which is what it was when it was loaded: a hash for each of its keys.
const RESERVED: &str = "__standfast";

/// Until when the record says that it lives.
const EXPIRY: &str = "expiry";

type Data = HashMap<String, Value>;

/// Of each key the hash of its value.
type Base = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(super) struct Adapter {
    handler: Arc<dyn SessionHandler>,
    timeouts: Timeouts,
}

/// A record as it is stored.
pub(super) struct Content {
    pub(super) data: Data,
    /// In microseconds since 1970.
    pub(super) expiry: i64,
}

impl Adapter {
    pub(super) fn new(handler: impl SessionHandler) -> Self {
        // tower-sessions lets a session without an expiry live for 14 days
        let fifteen_days = Duration::from_secs(15 * 24 * 60 * 60);
        let timeouts = Timeouts::new(fifteen_days, Timeouts::LONGEST);
        Self { handler: Arc::new(handler), timeouts }
    }

    pub(super) fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Stores a record that is not there; whether it was not.
    pub(super) async fn create(&self, id: i128, data: &mut Data, expiry: i64) -> Result<bool> {
        data.remove(RESERVED);
        let patch = delta(Base::new(), data, expiry);
        let init = SessionInit::new().with_timeouts(self.timeouts).with_patch(patch);
        let token = token(id);
        let (session, hash) = (token.session(), token.verifier_hash());
        match self.handler.create(session, hash, &init).await? {
            CreateOutcome::Created { .. } => {
                remember(data);
                Ok(true)
            }
            CreateOutcome::Exists => Ok(false),
        }
    }

    pub(super) async fn save(&self, id: i128, data: &Data, expiry: i64) -> Result<()> {
        let access = Access::bearer(&token(id));
        let base = match base(data) {
            Some(base) => base,
            // cleared: what is there now goes, unless the record has it
            None => match self.handler.load(&access).await? {
                LoadOutcome::Found(snapshot) => {
                    fields(&snapshot).into_keys().map(|key| (key, String::new())).collect()
                }
                _ => return Err(ended()),
            },
        };
        match self.handler.commit(&access, &delta(base, data, expiry)).await? {
            CommitOutcome::Committed { .. } => Ok(()),
            CommitOutcome::Gone | CommitOutcome::Refused => Err(ended()),
            CommitOutcome::Conflict(_) => Err(Error::new(ErrorKind::Unexpected, "session", "save")
                .with_detail("a conflict without a condition")),
        }
    }

    pub(super) async fn load(&self, id: i128) -> Result<Option<Content>> {
        let loaded = self.handler.load(&Access::bearer(&token(id))).await?;
        let Some(snapshot) = loaded.found() else { return Ok(None) };
        let expiry = snapshot.bytes(EXPIRY).and_then(|digits| {
            std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
        });
        let Some(expiry) = expiry else { return Ok(None) };
        if expiry <= snapshot.now.timestamp_micros() {
            return Ok(None);
        }
        let mut data: Data = fields(&snapshot).into_iter().collect();
        remember(&mut data);
        Ok(Some(Content { data, expiry }))
    }

    pub(super) fn access(&self, id: i128) -> Access {
        Access::bearer(&token(id))
    }

    pub(super) async fn delete(&self, id: i128) -> Result<()> {
        // gone, or somebody else's under this reference: there is nothing of ours either way
        let _ = self.handler.destroy(&Access::bearer(&token(id))).await?;
        Ok(())
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::NotFound, "session", "save").with_detail("the session has ended")
}

/// An id is 128 random bits and a secret. What the store finds a session by is one hash of it, what
/// it compares another, of which neither tells the id.
fn token(id: i128) -> SessionToken {
    let id = id.to_be_bytes();
    let half = |domain| Id128::derive(domain, &[&id]);
    SessionToken::of(
        half("standfast:tower-sessions:reference"),
        half("standfast:tower-sessions:verifier"),
    )
}

/// The field of a key: keys may be any text, names may not.
fn name(key: &str) -> String {
    let plain = format!("k.{key}");
    if is_name(&plain) {
        return plain;
    }
    format!("h.{}", Id128::derive("standfast:tower-sessions:key", &[key.as_bytes()]))
}

fn value(key: &str, value: &Value) -> String {
    match name(key).starts_with("k.") {
        true => value.to_string(),
        // the key is not in the name, so it goes with the value
        false => Value::from(vec![key.into(), value.clone()]).to_string(),
    }
}

/// The keys and values of a stored record. What cannot be read is left out, and stays.
fn fields(snapshot: &Snapshot) -> BTreeMap<String, Value> {
    let read = |(name, field): (&FieldName, &crate::field::Field)| {
        let FieldValue::Bytes(json) = &field.value else { return None };
        let value: Value = serde_json::from_slice(json).ok()?;
        if let Some(key) = name.as_str().strip_prefix("k.") {
            return Some((key.to_owned(), value));
        }
        name.as_str().strip_prefix("h.")?;
        let [key, value] = value.as_array()?.as_slice() else { return None };
        Some((key.as_str()?.to_owned(), value.clone()))
    };
    snapshot.fields.iter().filter_map(read).collect()
}

fn hash(value: &Value) -> String {
    // 64 bits of it tell whether a request has changed a value
    let digest = Id128::derive("standfast:tower-sessions:value", &[value.to_string().as_bytes()]);
    digest.to_string()[..16].to_owned()
}

/// Notes in a record what it is now.
fn remember(data: &mut Data) {
    data.remove(RESERVED);
    let base: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| (key.clone(), hash(value).into())).collect();
    data.insert(RESERVED.to_owned(), Value::Object(base));
}

fn base(data: &Data) -> Option<Base> {
    let base = data.get(RESERVED)?.as_object()?;
    let text = |(key, hash): (&String, &Value)| Some((key.clone(), hash.as_str()?.to_owned()));
    base.iter().map(text).collect()
}

/// What a record that was `base` has become.
fn delta(base: Base, data: &Data, expiry: i64) -> Patch {
    let mut patch = Patch::new().set(EXPIRY, expiry.to_string());
    for (key, now) in data {
        if key != RESERVED && base.get(key) != Some(&hash(now)) {
            patch = patch.set(&name(key), value(key, now));
        }
    }
    for key in base.keys().filter(|key| !data.contains_key(*key)) {
        patch = patch.remove(&name(key));
    }
    patch
}
