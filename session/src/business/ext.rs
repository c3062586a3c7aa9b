use standfast_core::{BusinessRef, Result, SessionRef};

use super::event::BusinessEvent;
use super::hash::EventHash;
use super::meta::Actor;
use super::store::{BusinessStore, Lookup};

/// What came of [`BusinessStoreExt::verify`].
///
/// ```
/// use standfast_session::business::{BusinessStoreExt, EventHash, Verification};
/// # use standfast_core::BusinessRef;
/// # use standfast_session::business::MemoryBusinessStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let store = MemoryBusinessStore::new();
/// let nothing = store.verify(&BusinessRef::new("order-17")).await?;
/// assert_eq!(nothing, Verification::Sound { events: 0, head: EventHash::FIRST });
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum Verification {
    /// An event is missing, was changed, or is not the one that came next.
    Broken {
        /// The first one that is not as it was.
        seq: u64,
    },
    /// Everything is as it was appended. That nothing was cut off at the end is known by comparing
    /// with a head that was noted elsewhere.
    Sound {
        /// How many there are.
        events: u64,
        /// The hash of the last one.
        head: EventHash,
    },
}

/// What callers do with a [`BusinessStore`]. Every store has it.
///
/// ```
/// use standfast_core::BusinessRef;
/// use standfast_session::business::{
///     Actor, BusinessMeta, BusinessStore, BusinessStoreExt, Changes, Expected, MemoryBusinessStore,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = MemoryBusinessStore::new();
/// let ada = Actor::User("ada".into());
/// for order in ["order-17", "order-18"] {
///     let meta = BusinessMeta::new("req-1", "place", ada.clone());
///     store.append(&BusinessRef::new(order), Expected::Any, &Changes::new(), &meta).await?;
/// }
/// assert_eq!(store.by_actor(&ada, 10).await?.len(), 2);
/// # Ok(()) }
/// ```
pub trait BusinessStoreExt: BusinessStore {
    /// What a request led to, newest first.
    ///
    /// # Errors
    ///
    /// As [`BusinessStore::find`].
    fn by_request(
        &self,
        request_id: &str,
        max: usize,
    ) -> impl Future<Output = Result<Vec<BusinessEvent>>> + Send {
        let what = Lookup::Request(request_id.to_owned());
        async move { self.find(&what, max).await }
    }

    /// What somebody did, newest first.
    ///
    /// # Errors
    ///
    /// As [`BusinessStore::find`].
    fn by_actor(
        &self,
        actor: &Actor,
        max: usize,
    ) -> impl Future<Output = Result<Vec<BusinessEvent>>> + Send {
        let what = Lookup::Actor(actor.clone());
        async move { self.find(&what, max).await }
    }

    /// What came out of a session, newest first.
    ///
    /// # Errors
    ///
    /// As [`BusinessStore::find`].
    fn by_session(
        &self,
        session: SessionRef,
        max: usize,
    ) -> impl Future<Output = Result<Vec<BusinessEvent>>> + Send {
        async move { self.find(&Lookup::Session(session), max).await }
    }

    /// Reads every event and checks numbers, hashes and their chain.
    ///
    /// # Errors
    ///
    /// As [`BusinessStore::history`].
    fn verify(&self, business: &BusinessRef) -> impl Future<Output = Result<Verification>> + Send {
        async move {
            let (mut seq, mut head) = (0, EventHash::FIRST);
            loop {
                let events = self.history(business, seq, PAGE).await?;
                for event in &events {
                    let is_next = event.seq == seq + 1
                        && event.business == *business
                        && event.previous == head
                        && event.hash == EventHash::of(event);
                    if !is_next {
                        return Ok(Verification::Broken { seq: seq + 1 });
                    }
                    (seq, head) = (event.seq, event.hash);
                }
                if events.len() < PAGE {
                    return Ok(Verification::Sound { events: seq, head });
                }
            }
        }
    }
}

impl<B: BusinessStore + ?Sized> BusinessStoreExt for B {}

const PAGE: usize = 200;
