use super::event::BusinessEvent;

/// The answer to `append` and `close`.
///
/// ```
/// use standfast_session::business::{Append, BusinessStore, Changes, Expected};
/// # use standfast_core::BusinessRef;
/// # use standfast_session::business::{Actor, BusinessMeta, MemoryBusinessStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (store, order) = (MemoryBusinessStore::new(), BusinessRef::new("order-17"));
/// # let meta = |step: &str| BusinessMeta::new("req-1", step, Actor::System);
/// let paid = Changes::new().set("state", "paid");
/// let first = store.append(&order, Expected::NoStream, &paid, &meta("pay")).await?;
/// assert_eq!(first, Append::Appended { seq: 1, repeated: false });
/// // the job was delivered again
/// let again = store.append(&order, Expected::NoStream, &paid, &meta("pay")).await?;
/// assert_eq!(again, Append::Appended { seq: 1, repeated: true });
/// // somebody who had not seen that
/// match store.append(&order, Expected::NoStream, &paid, &meta("place")).await? {
///     Append::Conflict { current, since } => assert_eq!((current, since.len()), (1, 1)),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Append {
    /// It is stored.
    Appended {
        /// Its number.
        seq: u64,
        /// Whether it was stored by an earlier call with the same origin and step.
        repeated: bool,
    },
    /// The business session is closed; nothing was stored.
    Closed {
        /// Its last event.
        seq: u64,
    },
    /// It is not where it was expected to be; nothing was stored.
    Conflict {
        /// Its last event; 0 before the first.
        current: u64,
        /// What happened since, the first 100 of it, so that a retry needs no reading.
        since: Vec<BusinessEvent>,
    },
    /// The same origin and step has stored something else before; nothing was stored.
    Mismatch {
        /// What it has stored.
        seq: u64,
    },
}
