use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use standfast_core::JobId;

use crate::envelope::Envelope;

/// Tells one delivery of a message from every other. The store draws it anew for each delivery.
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::{DeliveryToken, Envelope, Receipt};
///
/// // a store that draws numbers gets its number back with the receipt
/// let receipt = Receipt::new(7, Arc::new(Envelope::new("mail", "")));
/// assert_eq!(receipt.token().as_number(), Some(7));
/// assert_ne!(*receipt.token(), DeliveryToken::from(Arc::from("7")));
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DeliveryToken(Repr);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Repr {
    Bytes(Bytes),
    Number(u64),
    Text(Arc<str>),
}

impl DeliveryToken {
    /// The bytes, where the store draws bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, where the store draws numbers.
    pub fn as_number(&self) -> Option<u64> {
        match self.0 {
            Repr::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The text, where the store draws text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<Bytes> for DeliveryToken {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Bytes(bytes))
    }
}

impl From<u64> for DeliveryToken {
    fn from(number: u64) -> Self {
        Self(Repr::Number(number))
    }
}

impl From<Arc<str>> for DeliveryToken {
    fn from(text: Arc<str>) -> Self {
        Self(Repr::Text(text))
    }
}

/// Names one delivery of one message: what settles and extends it. Cheap to clone; lives only in
/// the process that received it.
///
/// A decorator that must remember something about a delivery, such as which inner queue it came
/// from, [pushes](Receipt::push) it and [pops](Receipt::pop) it before it passes the receipt on.
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::{Envelope, Receipt};
///
/// let inner = Receipt::new(7, Arc::new(Envelope::new("mail", "")));
/// let outer = inner.clone().push(Arc::new(3_usize));
/// let (shard, receipt) = outer.pop::<usize>().unwrap();
/// assert_eq!((*shard, receipt.token()), (3, inner.token()));
/// ```
#[derive(Clone)]
pub struct Receipt {
    token: DeliveryToken,
    envelope: Arc<Envelope>,
    slot: Option<Arc<Slot>>,
}

struct Slot {
    value: Arc<dyn Any + Send + Sync>,
    below: Option<Arc<Self>>,
}

impl Receipt {
    /// The receipt of the delivery of `envelope` that `token` names.
    pub fn new(token: impl Into<DeliveryToken>, envelope: Arc<Envelope>) -> Self {
        Self { token: token.into(), envelope, slot: None }
    }

    /// The id of the message.
    pub fn id(&self) -> JobId {
        self.envelope.id
    }

    /// What tells this delivery from others of the same message.
    pub fn token(&self) -> &DeliveryToken {
        &self.token
    }

    /// The message.
    pub fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    /// The same delivery, with what a decorator remembers about it on top.
    #[must_use]
    pub fn push(mut self, value: Arc<dyn Any + Send + Sync>) -> Self {
        self.slot = Some(Arc::new(Slot { value, below: self.slot.take() }));
        self
    }

    /// The same delivery, its message replaced: for decorators that store bodies elsewhere.
    #[must_use]
    pub fn with_envelope(self, envelope: Arc<Envelope>) -> Self {
        Self { envelope, ..self }
    }

    /// What was pushed last, and the receipt without it; `None` when that is not a `T`, so that
    /// the receipt came from elsewhere.
    pub fn pop<T: Any + Send + Sync>(&self) -> Option<(Arc<T>, Self)> {
        let slot = self.slot.as_ref()?;
        let value = Arc::clone(&slot.value).downcast().ok()?;
        Some((value, Self { slot: slot.below.clone(), ..self.clone() }))
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("id", &self.id())
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
