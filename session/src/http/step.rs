//! How what a request has recorded gets into the store.

use std::time::Duration;

use standfast_core::{Error, ErrorKind};

use super::error::SessionError;
use super::events::Event;
use super::pending::Pending;
use super::session::{CookieChange, Known, Session};
use crate::ext::SessionHandlerExt;
use crate::init::{PrincipalChange, Rotation, RotationKind, SessionInit};
use crate::outcome::{CommitOutcome, Conflict, DestroyOutcome, RotateOutcome};
use crate::patch::Patch;
use crate::token::{Access, SessionToken};

type Result<T, E = SessionError> = std::result::Result<T, E>;

/// How often the changes of a request are tried again where others were faster.
const ATTEMPTS: u32 = 5;

/// How long requests under way may use a secret that was renewed.
const GRACE: Duration = Duration::from_secs(30);

/// What goes with the changes of a request.
pub(super) enum Step {
    Commit,
    Ensure,
    Login(String),
    Renew,
}

enum Sent {
    Conflict(Conflict),
    Done { version: u64, token: Option<SessionToken> },
    Gone,
    Refused,
    Superseded,
}

fn too_late() -> Error {
    Error::new(ErrorKind::Invalid, "session", "http")
        .with_detail("the head of the response has gone: its cookie cannot go out any more")
}

impl Session {
    /// Ends this session, in its turn; whether it was there.
    pub(super) async fn end(&self) -> Result<bool> {
        let Some(access) = self.access() else {
            self.state().pending = Pending::default();
            return Ok(false);
        };
        let outcome = self.handler().destroy(&access).await?;
        self.tell(if outcome == DestroyOutcome::Refused { Event::Refused } else { Event::Logout });
        let mut state = self.state();
        state.was_used = true;
        state.pending = Pending::default();
        state.token = None;
        state.known = Known::Absent;
        state.was_alive = false;
        state.cookie = CookieChange::Remove;
        Ok(outcome == DestroyOutcome::Destroyed)
    }

    pub(super) async fn step(&self, mut step: Step) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        let mut pending = {
            let mut state = self.state();
            if matches!(step, Step::Commit) && state.pending.is_empty() {
                return Ok(());
            }
            state.was_used = true;
            std::mem::take(&mut state.pending)
        };
        pending.verdict()?;
        for _ in 0..=ATTEMPTS {
            let (known, was_alive, token) = {
                let state = self.state();
                (state.known.clone(), state.was_alive, state.token.clone())
            };
            let token = match known {
                Known::Unavailable(error) => return Err(error.into()),
                Known::Refused if !matches!(step, Step::Login(_)) => {
                    return Err(self.dropped(&pending));
                }
                Known::Absent | Known::Refused => None,
                Known::Found(_) | Known::Unasked => token,
            };
            let Some(token) = token else { return self.create(step, pending).await };
            let seen = match &known {
                Known::Found(snapshot) => Some(snapshot.version),
                _ => None,
            };
            let gone = match self.send(&token, &step, &pending.patch).await {
                Ok(Sent::Done { version, token: new }) => {
                    self.done(&token, new, &pending, seen, version);
                    return Ok(());
                }
                Ok(Sent::Conflict(conflict)) => {
                    if pending.rebase(&conflict)? {
                        continue;
                    }
                    return Err(SessionError::on(conflict));
                }
                Ok(Sent::Superseded) => {
                    // another request has renewed it; its response brings the new secret
                    if pending.is_empty() {
                        return Ok(());
                    }
                    step = Step::Commit;
                    continue;
                }
                Ok(Sent::Gone) => Known::Absent,
                Ok(Sent::Refused) => Known::Refused,
                Err(error) => {
                    if error.kind() == ErrorKind::Unavailable {
                        self.state().pending = pending;
                    }
                    return Err(error.into());
                }
            };
            let is_absent = matches!(gone, Known::Absent);
            self.tell(if is_absent { Event::Unknown } else { Event::Refused });
            self.state().known = gone;
            match step {
                // who proves who they are begins anew; what was meant for the old one is not
                Step::Login(_) => {
                    if was_alive || !is_absent {
                        let _ = self.dropped(&pending);
                        pending = Pending::default();
                    }
                }
                // this request had never seen it: its visitor needs a new one
                _ if is_absent && !was_alive => {}
                _ => return Err(self.dropped(&pending)),
            }
        }
        let detail = format!("others were faster {ATTEMPTS} times");
        Err(Error::new(ErrorKind::Conflict, "session", "http").with_detail(detail).into())
    }

    pub(super) fn dropped(&self, pending: &Pending) -> SessionError {
        if !pending.is_empty() {
            self.tell(Event::Dropped);
        }
        SessionError::ended()
    }

    async fn send(&self, token: &SessionToken, step: &Step, patch: &Patch) -> Result<Sent, Error> {
        let access = Access::bearer(token);
        let kind = match step {
            Step::Commit | Step::Ensure => {
                return Ok(match self.handler().commit(&access, patch).await? {
                    CommitOutcome::Committed { version, .. } => Sent::Done { version, token: None },
                    CommitOutcome::Conflict(conflict) => Sent::Conflict(conflict),
                    CommitOutcome::Gone => Sent::Gone,
                    CommitOutcome::Refused => Sent::Refused,
                });
            }
            Step::Login(principal) => {
                RotationKind::Privilege(PrincipalChange::Set(principal.clone()))
            }
            Step::Renew => RotationKind::Renewal { grace: GRACE },
        };
        if self.state().is_finished {
            return Err(too_late());
        }
        let new = token.renewed();
        let rotation = Rotation::new(&new, kind);
        Ok(match self.handler().rotate(&access, &rotation, patch).await? {
            RotateOutcome::Rotated { version, .. } => Sent::Done { version, token: Some(new) },
            RotateOutcome::Conflict(conflict) => Sent::Conflict(conflict),
            RotateOutcome::Gone => Sent::Gone,
            RotateOutcome::Refused => Sent::Refused,
            RotateOutcome::Superseded => Sent::Superseded,
        })
    }

    fn done(
        &self,
        token: &SessionToken,
        new: Option<SessionToken>,
        pending: &Pending,
        seen: Option<u64>,
        version: u64,
    ) {
        #[cfg(debug_assertions)]
        super::races::check(token.session(), &pending.patch, seen, version, &self.0.request);
        #[cfg(not(debug_assertions))]
        let _ = (token, pending, seen, version);
        let mut state = self.state();
        state.was_alive = true;
        // what was read is old now
        state.known = Known::Unasked;
        if let Some(new) = new {
            state.token = Some(new);
            state.cookie = CookieChange::Set;
        }
    }

    /// Begins a session with what was recorded.
    async fn create(&self, step: Step, pending: Pending) -> Result<()> {
        if self.state().is_finished {
            return Err(too_late().into());
        }
        let mut init = SessionInit::new()
            .with_timeouts(self.0.shared.config.timeouts)
            .with_patch(pending.patch.clone());
        if let Step::Login(principal) = step {
            init = init.with_principal(principal);
        }
        let started = match self.handler().start(&init).await {
            Ok(started) => started,
            Err(error) => {
                if error.kind() == ErrorKind::Unavailable {
                    self.state().pending = pending;
                }
                return Err(error.into());
            }
        };
        let mut state = self.state();
        state.token = Some(started.token);
        state.known = Known::Unasked;
        state.was_alive = true;
        state.cookie = CookieChange::Set;
        drop(state);
        self.tell(Event::Created);
        Ok(())
    }
}
