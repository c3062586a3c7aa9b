use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use standfast_core::{BusinessRef, Context, Error, ErrorKind, SessionRef, SystemClock};

use super::config::{OnUnavailable, SessionLayerConfig};
use super::cookie::{Cookie, Presented};
use super::error::SessionError;
use super::events::Event;
use super::pending::Pending;
use super::step::Step;
use crate::ext::SessionHandlerExt;
use crate::field::FieldName;
use crate::flash::{Flash, FlashId, FlashLevel};
use crate::handler::SessionHandler;
use crate::init::Timeouts;
use crate::key::{Key, Merge};
use crate::outcome::LoadOutcome;
use crate::patch::Patch;
use crate::snapshot::Snapshot;
use crate::token::{Access, SessionToken};

type Result<T, E = SessionError> = std::result::Result<T, E>;

/// The session of a request.
///
/// What only records is synchronous and cannot fail; it is committed as one patch before the first
/// byte of the response, or by [`commit`](Self::commit). What needs the store is `async`. The
/// session is read once, by the first that asks; a request sees its own changes. Clones are the
/// same session.
///
/// Without a cookie nothing is asked or stored until the first write, which begins a session.
///
/// # In streams and websockets
///
/// After the head of the response nothing is committed by itself: call [`commit`](Self::commit).
/// A session cannot begin there any more, since its cookie could not go out: call
/// [`ensure`](Self::ensure) before. What is recorded and never committed is dropped, and an event
/// says so.
///
/// # What if the process dies?
///
/// Before the commit: nothing of the request is stored. After it, before the response: all of it
/// is, and the visitor does not know; a new session's cookie is lost, and the session ends by its
/// idle timeout.
///
/// ```
/// use standfast_session::http::{Session, SessionError};
/// use standfast_session::{FlashLevel, Key};
///
/// const CART: Key<Vec<String>> = Key::cas("cart");
/// const VIEWS: Key<i64> = Key::counter("views");
///
/// async fn add(session: Session, item: String) -> Result<&'static str, SessionError> {
///     session.update(&CART, move |cart| cart.push(item.clone())).await?;
///     session.add(&VIEWS, 1);
///     session.flash(FlashLevel::Info, "added");
///     Ok("see /cart")
/// }
/// ```
#[derive(Clone)]
pub struct Session(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) handler: Arc<dyn SessionHandler>,
    pub(super) config: SessionLayerConfig,
    pub(super) cookie: Cookie,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) request: Arc<str>,
    context: Context,
    state: Mutex<State>,
    /// Store operations of one request run one after the other.
    pub(super) turn: tokio::sync::Mutex<()>,
}

pub(super) struct State {
    pub(super) token: Option<SessionToken>,
    pub(super) known: Known,
    pub(super) pending: Pending,
    pub(super) cookie: CookieChange,
    /// Whether this request has seen the session alive: what it writes then belongs to that one.
    pub(super) was_alive: bool,
    pub(super) was_used: bool,
    pub(super) is_finished: bool,
}

/// What the store has said about the cookie.
#[derive(Clone)]
pub(super) enum Known {
    Absent,
    Found(Arc<Snapshot>),
    Refused,
    Unasked,
    Unavailable(Error),
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum CookieChange {
    Keep,
    Remove,
    Set,
}

impl Session {
    pub(super) fn begin(shared: &Arc<Shared>, presented: Presented, context: Context) -> Self {
        let request: Arc<str> = context.request_id.as_deref().unwrap_or_default().into();
        let session = presented.token.as_ref().map(SessionToken::session);
        if presented.malformed > 0 {
            Event::Malformed.tell(None, &request);
        }
        if presented.candidates > 1 {
            Event::Ambiguous.tell(session, &request);
        }
        let state = State {
            known: if presented.token.is_some() { Known::Unasked } else { Known::Absent },
            token: presented.token,
            pending: Pending::default(),
            cookie: CookieChange::Keep,
            was_alive: false,
            was_used: false,
            is_finished: false,
        };
        Self(Arc::new(Inner {
            shared: Arc::clone(shared),
            request,
            context,
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::new(()),
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // no code that holds the lock can leave it half changed, so poison says nothing
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handler(&self) -> &Arc<dyn SessionHandler> {
        &self.0.shared.handler
    }

    pub(super) fn tell(&self, event: Event) {
        let session = self.state().token.as_ref().map(SessionToken::session);
        event.tell(session, &self.0.request);
    }

    /// Sets a field. On a key that [compares](Key::cas), to what this request has read; if it has
    /// not, the commit fails as `Invalid`: such a key wants [`update`](Self::update).
    pub fn set<T: Serialize + DeserializeOwned>(&self, key: &Key<T>, value: T) {
        let mut state = self.state();
        let seen = match &state.known {
            Known::Found(snapshot) => snapshot.revision(key.name()),
            Known::Unasked if key.merge() == Merge::Cas => {
                state.pending.fail(unread(key.name()));
                return;
            }
            _ => None,
        };
        if let Err(error) = state.pending.set(key, seen, &value) {
            state.pending.fail(error);
        }
    }

    /// Removes a field; as [`set`](Self::set) otherwise.
    pub fn remove<T: Serialize + DeserializeOwned>(&self, key: &Key<T>) {
        let mut state = self.state();
        let (name, merge) = (key.name(), key.merge());
        match (merge, state.known.clone()) {
            (Merge::Cas, Known::Unasked) => state.pending.fail(unread(name)),
            (Merge::Cas, Known::Found(snapshot)) => {
                let seen = snapshot.revision(name);
                state.pending.record(|patch| patch.compare_and_set(name, seen, None));
            }
            _ => state.pending.record(|patch| patch.remove(name)),
        }
    }

    /// Adds to a counter.
    pub fn add(&self, key: &Key<i64>, by: i64) {
        self.record(|patch| key.add(patch, by));
    }

    /// Lets a field that this request changes vanish `span` after the commit.
    pub fn expire<T>(&self, key: &Key<T>, span: Duration) {
        self.record(|patch| patch.expiring(key.name(), span));
    }

    /// Leaves a message for the next page.
    pub fn flash(&self, level: FlashLevel, text: impl Into<String>) {
        let (id, flash) = (FlashId::new(&SystemClock), Flash::new(level, text));
        self.record(|patch| patch.push_flash(id, &flash));
    }

    /// Links the session to a business session. Another link of this kind that is there fails the
    /// commit as a conflict, so that two tabs cannot silently swap what they work on.
    pub fn attach(&self, kind: &str, business: &BusinessRef) {
        self.record(|patch| patch.attach(kind, business));
    }

    /// Links the session to a business session, replacing the link of this kind.
    pub fn switch(&self, kind: &str, business: &BusinessRef) {
        self.record(|patch| patch.switch(kind, business));
    }

    /// Removes the link of this kind.
    pub fn detach(&self, kind: &str) {
        self.record(|patch| patch.detach(kind));
    }

    /// Anything else that a [`Patch`] can do: sets, lists, preconditions.
    pub fn record(&self, change: impl FnOnce(Patch) -> Patch) {
        self.state().pending.record(change);
    }

    /// The value of a field, with what this request has done to it; `None` when it is absent.
    ///
    /// # Errors
    ///
    /// Those of the store; `Corrupt`, naming the field, when it holds something else.
    pub async fn get<T: Serialize + DeserializeOwned>(&self, key: &Key<T>) -> Result<Option<T>> {
        let snapshot = self.load().await?;
        let name = FieldName::new(key.name())?;
        let value = self.state().pending.view(&name, snapshot.as_deref());
        Ok(key.decode(value.as_ref())?)
    }

    /// Changes a field by its key's rule, beginning with the default where it is absent; says what
    /// it is then. It is stored with the commit. If another request is faster until then, `change`
    /// is called again with what that one wrote, for keys that [compare](Key::cas).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); `Invalid` for a counter.
    pub async fn update<T>(
        &self,
        key: &Key<T>,
        change: impl FnMut(&mut T) + Send + 'static,
    ) -> Result<T>
    where
        T: Default + Serialize + DeserializeOwned + 'static,
    {
        let snapshot = self.load().await?;
        let seen = snapshot.as_deref().and_then(|snapshot| snapshot.revision(key.name()));
        let name = FieldName::new(key.name())?;
        let pending = &mut self.state().pending;
        let now = pending.view(&name, snapshot.as_deref());
        Ok(pending.update(key, seen, now.as_ref(), change)?)
    }

    /// The messages that were left for this page, oldest first. They go with the commit, by name:
    /// one that comes meanwhile stays for the next page, and a request that fails loses none.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn take_flashes(&self) -> Result<Vec<Flash>> {
        let Some(snapshot) = self.load().await? else { return Ok(Vec::new()) };
        let flashes = snapshot.flash();
        self.record(|patch| flashes.iter().fold(patch, |patch, (id, _)| patch.remove_flash(*id)));
        Ok(flashes.into_iter().map(|(_, flash)| flash).collect())
    }

    /// Whose session it is.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn principal(&self) -> Result<Option<String>> {
        Ok(self.load().await?.and_then(|snapshot| snapshot.principal.clone()))
    }

    /// The business session of this kind that the session is linked to.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn business(&self, kind: &str) -> Result<Option<BusinessRef>> {
        Ok(self.load().await?.and_then(|snapshot| snapshot.business(kind)))
    }

    /// The reference of the session, once the store has confirmed that the cookie is its own; none
    /// without a session. It cannot log in: it is for jobs and logs.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn reference(&self) -> Result<Option<SessionRef>> {
        if self.state().was_alive {
            return Ok(self.state().token.as_ref().map(SessionToken::session));
        }
        Ok(self.load().await?.map(|snapshot| snapshot.session))
    }

    /// What goes with a job, so that a worker can recreate the environment: the request, its trace,
    /// and the session where there is one.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn context(&self) -> Result<Context> {
        let mut context = self.0.context.clone();
        context.session = self.reference().await?;
        Ok(context)
    }

    /// All that is stored, as it was read; without what this request has done since.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn load(&self) -> Result<Option<Arc<Snapshot>>> {
        if let Some(answer) = self.known() {
            return answer;
        }
        let _turn = self.0.turn.lock().await;
        if let Some(answer) = self.known() {
            return answer;
        }
        let Some(access) = self.access() else { return Ok(None) };
        let known = match self.handler().load(&access).await {
            Ok(LoadOutcome::Found(snapshot)) => Known::Found(Arc::from(snapshot)),
            Ok(LoadOutcome::Absent) => {
                self.tell(Event::Unknown);
                Known::Absent
            }
            Ok(LoadOutcome::Refused) => {
                self.tell(Event::Refused);
                Known::Refused
            }
            Err(error) if self.stays_open(&error) => {
                tracing::warn!(%error, "the session store does not answer: nobody's session");
                Known::Unavailable(error)
            }
            Err(error) => return Err(error.into()),
        };
        let mut state = self.state();
        state.was_used = true;
        state.was_alive |= matches!(known, Known::Found(_));
        state.known = known;
        drop(state);
        self.known().unwrap_or(Ok(None))
    }

    fn stays_open(&self, error: &Error) -> bool {
        let policy = self.0.shared.config.on_unavailable;
        policy == OnUnavailable::ReadOnlyEmpty && error.is_retryable()
    }

    /// What is known without asking.
    fn known(&self) -> Option<Result<Option<Arc<Snapshot>>>> {
        match &self.state().known {
            Known::Absent | Known::Refused | Known::Unavailable(_) => Some(Ok(None)),
            Known::Found(snapshot) => Some(Ok(Some(Arc::clone(snapshot)))),
            Known::Unasked => None,
        }
    }

    pub(super) fn access(&self) -> Option<Access> {
        self.state().token.as_ref().map(Access::bearer)
    }

    /// Stores what was recorded so far, now. What is recorded later goes with the next commit.
    ///
    /// # Errors
    ///
    /// Those of the store; `Conflict` with [`conflict`](SessionError::conflict) when others were
    /// faster five times, or once for what was not an [`update`](Self::update); `NotFound` when the
    /// session has ended meanwhile; `Invalid` for what cannot be recorded. What was recorded is
    /// then dropped, unless the store was `Unavailable`, which means that nothing happened.
    pub async fn commit(&self) -> Result<()> {
        self.step(Step::Commit).await
    }

    /// Begins a session where there is none, and stores what was recorded: for jobs that are sent
    /// before the response, and for streams.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit); `Invalid` after the head of the response.
    pub async fn ensure(&self) -> Result<SessionRef> {
        self.step(Step::Ensure).await?;
        let session = self.state().token.as_ref().map(SessionToken::session);
        session.ok_or_else(SessionError::ended)
    }

    /// Makes the session `principal`'s under a new secret, and stores what was recorded, in one
    /// step. The old secret is dead at once: a cookie that was planted before is worth nothing.
    ///
    /// # Errors
    ///
    /// As [`ensure`](Self::ensure).
    pub async fn login(&self, principal: impl Into<String>) -> Result<()> {
        self.step(Step::Login(principal.into())).await?;
        self.tell(Event::Login);
        Ok(())
    }

    /// Replaces the secret, and stores what was recorded, in one step. Requests under way may use
    /// the old one for 30 seconds.
    ///
    /// # Errors
    ///
    /// As [`ensure`](Self::ensure).
    pub async fn renew(&self) -> Result<()> {
        self.step(Step::Renew).await?;
        self.tell(Event::Renewed);
        Ok(())
    }

    /// Ends the session and removes its cookie; what was recorded is dropped. What is recorded
    /// after it begins another session.
    ///
    /// # Errors
    ///
    /// Those of the store: then it may live on, and the cookie stays.
    pub async fn logout(&self) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        self.end().await?;
        Ok(())
    }

    /// Ends all sessions of whoever this one is, this one last; says how many. Nobody's ends alone.
    ///
    /// Died in between: some are ended, and the visitor, still logged in, can repeat it.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn logout_everywhere(&self) -> Result<usize> {
        let principal = self.principal().await?;
        let _turn = self.0.turn.lock().await;
        let mut ended = 0;
        if let Some(principal) = principal {
            let here = self.state().token.as_ref().map(SessionToken::session);
            ended = self.handler().end_sessions(&principal, here).await?;
            self.tell(Event::LogoutEverywhere);
        }
        Ok(ended + usize::from(self.end().await?))
    }

    /// Drops what was recorded.
    pub(super) fn discard(&self) {
        let pending = std::mem::take(&mut self.state().pending);
        let _ = self.dropped(&pending);
    }

    /// No cookie can go out from here on. The cookie to set or to remove, and whether the response
    /// depends on the session.
    pub(super) fn finish(&self) -> (Option<http::HeaderValue>, bool) {
        let mut state = self.state();
        state.is_finished = true;
        let Shared { cookie, config, .. } = &*self.0.shared;
        let header = match (state.cookie, &state.token) {
            (CookieChange::Set, Some(token)) => {
                let age = config.is_persistent.then_some(config.timeouts.absolute.as_secs());
                Some(cookie.set(token, age))
            }
            (CookieChange::Remove, _) => Some(cookie.remove()),
            _ => None,
        };
        (header, state.was_used)
    }

    /// The touch that is due and did not ride on a commit.
    ///
    /// Died before it: the session may end as if the visitor had not been there.
    pub(super) fn touch_later(&self) {
        let due = match &self.state().known {
            Known::Found(snapshot) => is_due(snapshot),
            _ => false,
        };
        let Some(access) = self.access().filter(|_| due) else { return };
        let handler = Arc::clone(self.handler());
        tokio::spawn(async move {
            if let Err(error) = handler.touch(&access).await {
                tracing::warn!(%error, session = %access.session(), "a session was not touched");
            }
        });
    }
}

fn unread(name: &str) -> Error {
    Error::new(ErrorKind::Invalid, "session", "http")
        .with_detail(format!("field `{name}` compares: read it before it is set, or use `update`"))
}

fn is_due(snapshot: &Snapshot) -> bool {
    let span = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).to_std().unwrap_or_default();
    if snapshot.expires_at >= snapshot.ends_at {
        return false;
    }
    let idle = span(snapshot.touched_at, snapshot.expires_at);
    let interval = Timeouts::new(idle, idle).touch_interval();
    span(snapshot.touched_at, snapshot.now) >= interval
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.pending.is_empty() {
            let session = state.token.as_ref().map(SessionToken::session);
            Event::Dropped.tell(session, &self.request);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("token", &self.state().token).finish_non_exhaustive()
    }
}
