use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use standfast_core::{Error, ErrorKind, Result};

use crate::field::{FieldValue, is_name};
use crate::patch::Patch;
use crate::snapshot::Snapshot;

/// What happens when two requests write the same field.
///
/// ```
/// use standfast_session::{Key, Merge};
///
/// const CART: Key<Vec<String>> = Key::cas("cart"); // no article gets lost
/// const LOCALE: Key<String> = Key::lww("locale"); // who chose last has chosen
/// const VIEWS: Key<i64> = Key::counter("views"); // every page counts
/// assert_eq!(CART.merge(), Merge::Cas);
/// assert_eq!(LOCALE.merge(), Merge::Lww);
/// assert_eq!(VIEWS.merge(), Merge::Counter);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Merge {
    /// The second one is told what the first one wrote, and decides again.
    Cas,
    /// Both are added.
    Counter,
    /// The last one wins.
    Lww,
}

/// A field with a type and a rule for what happens when two requests write it. Values are JSON.
///
/// A name that breaks the rule for fields does not compile in a `const`.
///
/// ```
/// use standfast_session::{
///     Access, Key, MemorySessionHandler, Patch, SessionHandler, SessionHandlerExt, SessionInit,
/// };
///
/// const CART: Key<Vec<String>> = Key::cas("cart");
/// const VIEWS: Key<i64> = Key::counter("views");
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler = MemorySessionHandler::new();
/// let visitor = Access::bearer(&handler.start(&SessionInit::new()).await?.token);
/// let _ = handler.update(&visitor, &CART, |cart| cart.push("tea".into())).await?;
/// let _ = handler.commit(&visitor, &VIEWS.add(Patch::new(), 1)).await?;
///
/// let snapshot = handler.load(&visitor).await?.found().unwrap();
/// assert_eq!(CART.read(&snapshot)?, Some(vec!["tea".to_owned()]));
/// assert_eq!(VIEWS.read(&snapshot)?, Some(1));
/// # Ok(()) }
/// ```
pub struct Key<T> {
    name: &'static str,
    merge: Merge,
    value: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// A field of which no write is lost: a second writer is told of the first.
    ///
    /// # Panics
    ///
    /// When the name breaks the rule for fields; at compile time where the key is a constant.
    pub const fn cas(name: &'static str) -> Self {
        Self::checked(name, Merge::Cas)
    }

    /// A field of which the last write counts.
    ///
    /// # Panics
    ///
    /// When the name breaks the rule for fields; at compile time where the key is a constant.
    pub const fn lww(name: &'static str) -> Self {
        Self::checked(name, Merge::Lww)
    }

    const fn checked(name: &'static str, merge: Merge) -> Self {
        assert!(is_name(name), "a field name matches [A-Za-z0-9._-]{{1,64}}");
        Self { name, merge, value: PhantomData }
    }

    /// The name of the field.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What happens when two requests write it.
    pub const fn merge(&self) -> Merge {
        self.merge
    }
}

impl Key<i64> {
    /// A number to which all writers add.
    ///
    /// # Panics
    ///
    /// When the name breaks the rule for fields; at compile time where the key is a constant.
    pub const fn counter(name: &'static str) -> Self {
        Self::checked(name, Merge::Counter)
    }

    /// `patch`, which adds `by` too. On a key that is no counter, the store refuses the patch.
    #[must_use]
    pub fn add(&self, patch: Patch, by: i64) -> Patch {
        patch.increment(self.name, by)
    }
}

impl<T: Serialize + DeserializeOwned> Key<T> {
    /// The value in a snapshot; `None` when the field is absent.
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the field, when it holds something else. Other fields are not affected.
    pub fn read(&self, snapshot: &Snapshot) -> Result<Option<T>> {
        self.decode(snapshot.field(self.name).map(|field| &field.value))
    }

    /// `patch`, which also sets the field to `value`, given what `snapshot` has seen.
    ///
    /// # Errors
    ///
    /// `Invalid` for a counter, which is added to, and for a value that is no JSON.
    pub fn write(&self, patch: Patch, snapshot: &Snapshot, value: &T) -> Result<Patch> {
        self.write_seen(patch, snapshot.revision(self.name), value)
    }

    pub(crate) fn write_seen(&self, patch: Patch, seen: Option<u64>, value: &T) -> Result<Patch> {
        let json = self.encode(value)?;
        match self.merge {
            Merge::Cas => Ok(patch.compare_and_set(self.name, seen, Some(json))),
            Merge::Lww => Ok(patch.set(self.name, json)),
            Merge::Counter => Err(Error::new(ErrorKind::Invalid, "session", "key.write")
                .with_detail(format!("{} is a counter", self.field()))),
        }
    }

    pub(crate) fn encode(&self, value: &T) -> Result<Bytes> {
        serde_json::to_vec(value).map(Bytes::from).map_err(|error| {
            Error::new(ErrorKind::Invalid, "session", "key.write")
                .with_source(error)
                .with_detail(self.field())
        })
    }

    /// `patch`, which also removes the field, given what `snapshot` has seen.
    #[must_use]
    pub fn remove(&self, patch: Patch, snapshot: &Snapshot) -> Patch {
        match self.merge {
            Merge::Cas => patch.compare_and_set(self.name, snapshot.revision(self.name), None),
            Merge::Counter | Merge::Lww => patch.remove(self.name),
        }
    }

    pub(crate) fn decode(&self, value: Option<&FieldValue>) -> Result<Option<T>> {
        let corrupt =
            || Error::new(ErrorKind::Corrupt, "session", "key.read").with_detail(self.field());
        let decoded = match value {
            None => return Ok(None),
            Some(FieldValue::Bytes(json)) => serde_json::from_slice(json),
            Some(FieldValue::Counter(count)) => serde_json::from_value((*count).into()),
            Some(_) => return Err(corrupt()),
        };
        decoded.map(Some).map_err(|error| corrupt().with_source(error))
    }

    fn field(&self) -> String {
        format!("field `{}`", self.name)
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("merge", &self.merge).finish()
    }
}
