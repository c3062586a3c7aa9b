use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use standfast_core::{BusinessRef, HealthCheck, Result, SessionRef};

use super::change::Changes;
use super::event::BusinessEvent;
use super::meta::{Actor, BusinessMeta};
use super::outcome::Append;
use super::state::{At, BusinessState};

/// Where a business session is expected to be.
///
/// ```
/// use standfast_session::business::Expected;
///
/// // after event 3, and nobody else in between
/// let expected = Expected::Exact(3);
/// assert_ne!(expected, Expected::Any);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expected {
    /// Wherever: for changes whose order does not matter.
    Any,
    /// After this event.
    Exact(u64),
    /// Before its first event.
    NoStream,
}

/// What events are looked up by.
///
/// ```
/// use standfast_session::business::{Actor, Lookup};
///
/// let mine = Lookup::Actor(Actor::User("ada".into()));
/// assert_ne!(mine, Lookup::Request("req-1".into()));
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Lookup {
    /// Who did it.
    Actor(Actor),
    /// The request that led to it.
    Request(String),
    /// The session of that request.
    Session(SessionRef),
}

/// What a [`BusinessStore`] can do, and its limits.
///
/// ```
/// use standfast_session::business::{BusinessStore, MemoryBusinessStore};
///
/// let capabilities = MemoryBusinessStore::new().capabilities();
/// assert!(!capabilities.is_durable);
/// assert_eq!(capabilities.max_event, 256 * 1024);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BusinessCapabilities {
    /// The most bytes of the names and values of one event.
    pub max_event: usize,
    /// Whether other processes see the same.
    pub is_shared: bool,
    /// Whether it outlives the processes that use it.
    pub is_durable: bool,
}

impl BusinessCapabilities {
    /// The abilities of a store in this process only.
    pub fn new(max_event: usize) -> Self {
        Self { max_event, is_shared: false, is_durable: false }
    }
}

/// Business sessions: the contract of backends. Nothing in it deletes.
///
/// Callers use [`BusinessStoreExt`](super::BusinessStoreExt) too.
///
/// # Contract
///
/// Each line is a case of the suite, under this number.
///
/// - **B1** An append is one event, stored whole or not at all: number, hash and projection go with
///   it. Numbers count from 1 without gaps.
/// - **B2** `Expected` is checked in the same step; who loses a race gets a conflict with what
///   happened since.
/// - **B3** The same origin and step again is answered with the number it had, however late and
///   whatever was expected; with other content it is a mismatch. Two business sessions do not share
///   steps.
/// - **B4** Sums of concurrent appends with `Any` are all counted; an overflow, or a sum with what
///   is no integer, is `Invalid` and changes nothing.
/// - **B5** Each event has what was before and after, who, when, in which request and session, and
///   why. Times never go back.
/// - **B6** The state is what the events say, after any event and at any time.
/// - **B7** Each event has the hash of itself and of the one before it.
/// - **B8** After `close` nothing is appended; a repetition of what was before it is still known.
/// - **B9** Events are found by request, actor and session, over all business sessions.
/// - **B10** Limits and names are checked before any I/O.
///
/// Dropping the future of any method leaves it open whether it took effect; none leaves half of it
/// behind. Repeat it under the same origin and step.
///
/// ```
/// use standfast_core::BusinessRef;
/// use standfast_session::business::{
///     Actor, At, BusinessMeta, BusinessStore, Changes, Expected, MemoryBusinessStore,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = MemoryBusinessStore::new();
/// let order = BusinessRef::new("order-17");
/// let placed = Changes::new().set("state", "placed").set("items", 3);
/// let meta = BusinessMeta::new("req-1", "place", Actor::User("ada".into()));
/// store.append(&order, Expected::NoStream, &placed, &meta).await?;
/// assert_eq!(store.state_at(&order, At::Latest).await?.unwrap().fields["items"], 3);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait BusinessStore: HealthCheck + Debug + Send + Sync + 'static {
    /// What this store can do, and its limits.
    fn capabilities(&self) -> BusinessCapabilities;

    /// Appends an event.
    ///
    /// Died before: nothing. Died after the store acted: it is stored, and a repetition says so.
    ///
    /// # Errors
    ///
    /// `Invalid` and `TooLarge`: nothing was stored. `Unavailable`, `Timeout`, `OutcomeUnknown`: it
    /// may have been; repeat it.
    async fn append(
        &self,
        business: &BusinessRef,
        expected: Expected,
        changes: &Changes,
        meta: &BusinessMeta,
    ) -> Result<Append>;

    /// Appends the last event. What is not there yet begins and ends with it.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    async fn close(
        &self,
        business: &BusinessRef,
        reason: &str,
        meta: &BusinessMeta,
    ) -> Result<Append>;

    /// The state; `None` before the first event.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that breaks the rule; `Unavailable`, `Timeout`; `Corrupt` for what
    /// cannot be read; `Unsupported` with [`Reason::NewerVersion`] for what a newer release wrote.
    ///
    /// [`Reason::NewerVersion`]: standfast_core::Reason::NewerVersion
    async fn state_at(&self, business: &BusinessRef, at: At) -> Result<Option<BusinessState>>;

    /// At most `max` events after the one numbered `after`, oldest first.
    ///
    /// # Errors
    ///
    /// As [`state_at`](Self::state_at).
    async fn history(
        &self,
        business: &BusinessRef,
        after: u64,
        max: usize,
    ) -> Result<Vec<BusinessEvent>>;

    /// At most `max` events of any business session, newest first.
    ///
    /// # Errors
    ///
    /// As [`state_at`](Self::state_at).
    async fn find(&self, what: &Lookup, max: usize) -> Result<Vec<BusinessEvent>>;
}

/// So many events come with a conflict.
pub(crate) const SINCE: usize = 100;

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<B: BusinessStore + ?Sized> BusinessStore for $pointer<B> {
            fn capabilities(&self) -> BusinessCapabilities {
                (**self).capabilities()
            }

            async fn append(
                &self,
                business: &BusinessRef,
                expected: Expected,
                changes: &Changes,
                meta: &BusinessMeta,
            ) -> Result<Append> {
                (**self).append(business, expected, changes, meta).await
            }

            async fn close(
                &self,
                business: &BusinessRef,
                reason: &str,
                meta: &BusinessMeta,
            ) -> Result<Append> {
                (**self).close(business, reason, meta).await
            }

            async fn state_at(
                &self,
                business: &BusinessRef,
                at: At,
            ) -> Result<Option<BusinessState>> {
                (**self).state_at(business, at).await
            }

            async fn history(
                &self,
                business: &BusinessRef,
                after: u64,
                max: usize,
            ) -> Result<Vec<BusinessEvent>> {
                (**self).history(business, after, max).await
            }

            async fn find(&self, what: &Lookup, max: usize) -> Result<Vec<BusinessEvent>> {
                (**self).find(what, max).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
