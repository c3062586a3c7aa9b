pub(crate) mod apply;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use standfast_core::{Clock, Health, HealthCheck, Result, SessionRef, SystemClock};

use self::apply::{Applied, apply};
use crate::field::{Field, FieldName};
use crate::handler::SessionHandler;
use crate::init::{PrincipalChange, Rotation, RotationKind, SessionInit, Timeouts};
use crate::limits::{SessionCapabilities, SessionLimits};
use crate::outcome::{
    CommitOutcome, CreateOutcome, DestroyOutcome, LoadOutcome, RotateOutcome, Swept, TouchOutcome,
};
use crate::patch::Patch;
use crate::snapshot::{SessionSummary, Snapshot, Via};
use crate::token::{Access, VerifierHash};

/// Sessions in this process: the reference that the contract is told by, for tests and for
/// applications of one process. Clones share the sessions, which go with the process.
///
/// Each `create` removes a few expired sessions, so that memory stays bounded by what is live even
/// if nobody sweeps.
///
/// ```
/// use standfast_session::{
///     Access, CommitOutcome, MemorySessionHandler, Patch, SessionHandler, SessionHandlerExt,
///     SessionInit,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler = MemorySessionHandler::new();
/// let visitor = Access::bearer(&handler.start(&SessionInit::new()).await?.token);
/// let _ = handler.destroy(&visitor).await?;
/// // a request that is still under way cannot bring the session back
/// let late = handler.commit(&visitor, &Patch::new().set("user", "7")).await?;
/// assert_eq!(late, CommitOutcome::Gone);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemorySessionHandler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: SessionLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionRef, Entry>,
    /// Every session under the instant at which it ends, for sweeping.
    ends: BTreeSet<(DateTime<Utc>, SessionRef)>,
    principals: HashMap<String, BTreeSet<SessionRef>>,
}

#[derive(Debug)]
struct Entry {
    verifier: VerifierHash,
    previous: Option<(VerifierHash, DateTime<Utc>)>,
    timeouts: Timeouts,
    created_at: DateTime<Utc>,
    touched_at: DateTime<Utc>,
    version: u64,
    principal: Option<String>,
    fields: BTreeMap<FieldName, Field>,
}

/// What came of looking a session up.
enum Found<'a> {
    Absent,
    Entry(&'a mut Entry, Via),
    Refused,
}

impl MemorySessionHandler {
    /// No sessions, the default limits, the clock of the operating system.
    pub fn new() -> Self {
        Self::with_config(SessionLimits::default(), Arc::new(SystemClock))
    }

    /// No sessions, these limits, and the store's time taken from `clock`.
    pub fn with_config(limits: SessionLimits, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { limits, clock, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // no code that holds the lock can leave a change half done, so poison says nothing
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemorySessionHandler {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    fn expires_at(&self) -> DateTime<Utc> {
        self.timeouts.expires_at(self.created_at, self.touched_at)
    }

    fn via(&self, access: &Access, now: DateTime<Utc>) -> Option<Via> {
        let Access::Bearer { verifier, .. } = access else { return Some(Via::Trusted) };
        if *verifier == self.verifier {
            return Some(Via::Current);
        }
        let is_previous = self.previous.is_some_and(|(old, until)| old == *verifier && until > now);
        is_previous.then_some(Via::Previous)
    }
}

impl State {
    fn find(&mut self, access: &Access, now: DateTime<Utc>) -> Found<'_> {
        match self.sessions.get_mut(&access.session()) {
            Some(entry) if entry.expires_at() > now => match entry.via(access, now) {
                Some(via) => Found::Entry(entry, via),
                None => Found::Refused,
            },
            _ => Found::Absent,
        }
    }

    /// Lets the idle time of a session that was found run anew. The clock may have gone back, the
    /// time of the touch does not.
    fn touch(&mut self, session: SessionRef, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let entry = self.sessions.get_mut(&session)?;
        self.ends.remove(&(entry.expires_at(), session));
        entry.touched_at = entry.touched_at.max(now);
        let expires_at = entry.expires_at();
        self.ends.insert((expires_at, session));
        Some(expires_at)
    }

    fn remove(&mut self, session: SessionRef) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        self.ends.remove(&(entry.expires_at(), session));
        self.disown(session, entry.principal.as_deref());
    }

    fn disown(&mut self, session: SessionRef, principal: Option<&str>) {
        let Some(principal) = principal else { return };
        if let Some(sessions) = self.principals.get_mut(principal) {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.principals.remove(principal);
            }
        }
    }

    fn own(&mut self, session: SessionRef, principal: Option<&String>) {
        if let Some(principal) = principal {
            self.principals.entry(principal.clone()).or_default().insert(session);
        }
    }

    fn sweep(&mut self, max: usize, now: DateTime<Utc>) -> Swept {
        let mut removed = 0;
        while let Some(&(until, session)) = self.ends.first() {
            if until > now {
                break;
            }
            if removed == max {
                return Swept::new(removed, true);
            }
            self.remove(session);
            removed += 1;
        }
        Swept::new(removed, false)
    }
}

#[async_trait]
impl SessionHandler for MemorySessionHandler {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(self.0.limits)
    }

    async fn create(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
    ) -> Result<CreateOutcome> {
        const TIDY: usize = 4;
        init.validate(&self.0.limits)?;
        let mut state = self.state();
        let now = self.0.clock.now();
        state.sweep(TIDY, now);
        match state.sessions.get(&session) {
            Some(entry) if entry.expires_at() > now => return Ok(CreateOutcome::Exists),
            Some(_) => state.remove(session),
            None => {}
        }
        let version = 1;
        let fields = match apply(&BTreeMap::new(), &init.patch, version, now, &self.0.limits)? {
            Applied::Changed(fields) => fields,
            Applied::Conflict(conflict) => {
                return Err(apply::invalid(&conflict.field, "does not exist in a new session"));
            }
        };
        let entry = Entry {
            verifier,
            previous: None,
            timeouts: init.timeouts,
            created_at: now,
            touched_at: now,
            version,
            principal: init.principal.clone(),
            fields,
        };
        let expires_at = entry.expires_at();
        state.ends.insert((expires_at, session));
        state.own(session, entry.principal.as_ref());
        state.sessions.insert(session, entry);
        Ok(CreateOutcome::Created { version, expires_at })
    }

    async fn load(&self, access: &Access) -> Result<LoadOutcome> {
        let mut state = self.state();
        let now = self.0.clock.now();
        let (entry, via) = match state.find(access, now) {
            Found::Absent => return Ok(LoadOutcome::Absent),
            Found::Refused => return Ok(LoadOutcome::Refused),
            Found::Entry(entry, via) => (entry, via),
        };
        let ends_at = entry.created_at + entry.timeouts.absolute;
        let mut snapshot =
            Snapshot::new(access.session(), entry.version, entry.created_at, ends_at);
        snapshot.touched_at = entry.touched_at;
        snapshot.expires_at = entry.expires_at();
        snapshot.principal.clone_from(&entry.principal);
        snapshot.via = via;
        snapshot.now = now;
        let live = entry.fields.iter().filter(|(_, field)| field.is_live(now));
        snapshot.fields = live.map(|(name, field)| (name.clone(), field.clone())).collect();
        Ok(LoadOutcome::Found(Box::new(snapshot)))
    }

    async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome> {
        self.0.limits.check(patch)?;
        let mut state = self.state();
        let now = self.0.clock.now();
        let (entry, via) = match state.find(access, now) {
            Found::Absent => return Ok(CommitOutcome::Gone),
            Found::Refused => return Ok(CommitOutcome::Refused),
            Found::Entry(entry, via) => (entry, via),
        };
        let mut is_due = now - entry.touched_at >= interval(entry);
        if !patch.is_empty() {
            match apply(&entry.fields, patch, entry.version + 1, now, &self.0.limits)? {
                Applied::Conflict(conflict) => return Ok(CommitOutcome::Conflict(conflict)),
                Applied::Changed(fields) => entry.fields = fields,
            }
            entry.version += 1;
            is_due = true;
        }
        let (version, mut expires_at) = (entry.version, entry.expires_at());
        if is_due && via != Via::Trusted {
            expires_at = state.touch(access.session(), now).unwrap_or(expires_at);
        }
        Ok(CommitOutcome::Committed { version, expires_at })
    }

    async fn rotate(
        &self,
        access: &Access,
        rotation: &Rotation,
        patch: &Patch,
    ) -> Result<RotateOutcome> {
        rotation.validate()?;
        self.0.limits.check(patch)?;
        let session = access.session();
        let mut state = self.state();
        let now = self.0.clock.now();
        // an answer that got lost: the secret is fresh random, so only this rotation can have set it
        if let Some(entry) = state.sessions.get(&session)
            && entry.expires_at() > now
            && entry.verifier == rotation.verifier
            && matches!(access, Access::Bearer { .. })
        {
            let (version, expires_at) = (entry.version, entry.expires_at());
            return Ok(RotateOutcome::Rotated { version, expires_at });
        }
        let (entry, via) = match state.find(access, now) {
            Found::Absent => return Ok(RotateOutcome::Gone),
            Found::Refused | Found::Entry(_, Via::Trusted) => return Ok(RotateOutcome::Refused),
            Found::Entry(entry, via) => (entry, via),
        };
        if via == Via::Previous && matches!(rotation.kind, RotationKind::Renewal { .. }) {
            return Ok(RotateOutcome::Superseded);
        }
        if !patch.is_empty() {
            match apply(&entry.fields, patch, entry.version + 1, now, &self.0.limits)? {
                Applied::Conflict(conflict) => return Ok(RotateOutcome::Conflict(conflict)),
                Applied::Changed(fields) => entry.fields = fields,
            }
            entry.version += 1;
        }
        let old = std::mem::replace(&mut entry.verifier, rotation.verifier);
        entry.previous = match rotation.kind {
            RotationKind::Privilege(_) => None,
            RotationKind::Renewal { grace } => Some((old, now + grace)),
        };
        let (version, mut expires_at) = (entry.version, entry.expires_at());
        if let RotationKind::Privilege(change) = &rotation.kind
            && *change != PrincipalChange::Keep
        {
            let new = match change {
                PrincipalChange::Set(principal) => Some(principal.clone()),
                _ => None,
            };
            let former = std::mem::replace(&mut entry.principal, new.clone());
            state.disown(session, former.as_deref());
            state.own(session, new.as_ref());
        }
        expires_at = state.touch(session, now).unwrap_or(expires_at);
        Ok(RotateOutcome::Rotated { version, expires_at })
    }

    async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
        let mut state = self.state();
        let now = self.0.clock.now();
        let (entry, via) = match state.find(access, now) {
            Found::Absent => return Ok(TouchOutcome::Gone),
            Found::Refused => return Ok(TouchOutcome::Refused),
            Found::Entry(entry, via) => (entry, via),
        };
        let expires_at = entry.expires_at();
        if via == Via::Trusted || now - entry.touched_at < interval(entry) {
            return Ok(TouchOutcome::Fresh { expires_at });
        }
        let expires_at = state.touch(access.session(), now).unwrap_or(expires_at);
        Ok(TouchOutcome::Touched { expires_at })
    }

    async fn destroy(&self, access: &Access) -> Result<DestroyOutcome> {
        let mut state = self.state();
        let now = self.0.clock.now();
        match state.find(access, now) {
            Found::Absent => return Ok(DestroyOutcome::Gone),
            Found::Refused => return Ok(DestroyOutcome::Refused),
            Found::Entry(..) => {}
        }
        state.remove(access.session());
        Ok(DestroyOutcome::Destroyed)
    }

    async fn sessions_of(&self, principal: &str, limit: usize) -> Result<Vec<SessionSummary>> {
        SessionLimits::check_principal(principal)?;
        let state = self.state();
        let now = self.0.clock.now();
        let mut lines: Vec<_> = state
            .principals
            .get(principal)
            .into_iter()
            .flatten()
            .filter_map(|session| state.sessions.get(session).map(|entry| (*session, entry)))
            .filter(|(_, entry)| entry.expires_at() > now)
            .map(|(session, entry)| {
                let Entry { created_at, touched_at, .. } = *entry;
                SessionSummary::new(session, created_at, touched_at, entry.expires_at())
            })
            .collect();
        lines.sort_by_key(|line| (std::cmp::Reverse(line.created_at), line.session));
        lines.truncate(limit);
        Ok(lines)
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        let now = self.0.clock.now();
        Ok(self.state().sweep(max, now))
    }
}

#[async_trait]
impl HealthCheck for MemorySessionHandler {
    async fn health(&self) -> Health {
        Health::healthy("memory sessions")
    }
}

fn interval(entry: &Entry) -> chrono::TimeDelta {
    // invariant: validate() bounds the timeouts
    let interval = entry.timeouts.touch_interval();
    chrono::TimeDelta::from_std(interval).unwrap_or(chrono::TimeDelta::MAX)
}
