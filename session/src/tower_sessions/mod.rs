//! tower-sessions on a [`SessionHandler`](crate::SessionHandler): an application that uses it, or
//! axum-login, moves by changing the line that names its store, and concurrent requests on
//! different keys no longer undo one another. Features `tower-sessions-0-14`, `tower-sessions-0-15`.
//!
//! tower-sessions saves whole records. What a record was when it was loaded is remembered in a
//! reserved entry of its data, `__standfast`, so a save sends what the request has changed and
//! leaves the rest alone. On one key the last save counts, as ever: what has to merge is a
//! [`Key`](crate::Key), written through the handler by the `access` of the store.
//!
//! - `clear()` takes the entry away, and then a save replaces everything.
//! - A save, like every write, never brings a session back that has ended: it is an error.
//! - The id in the cookie stays the application's; of it the store knows two hashes, one to find the
//!   session by and one to compare.
//! - A session ends when its record says so, and at the latest by the
//!   [timeouts](crate::Timeouts) of the adapter, by the store's clock.

mod delta;

/// One adapter for each supported version of tower-sessions.
macro_rules! adapter {
    ($feature:literal, $module:ident, $core:ident, $version:literal) => {
        #[cfg(feature = $feature)]
        #[doc = concat!("For tower-sessions ", $version, ". Feature `", $feature, "`.")]
        pub mod $module {
            use $core::SessionStore;
            use $core::session::{Id, Record};
            use $core::session_store::{Error, Result};
            use async_trait::async_trait;
            use time::OffsetDateTime;

            use super::delta::{Adapter, Content};
            use crate::handler::SessionHandler;
            use crate::init::Timeouts;
            use crate::token::Access;

            /// The sessions of tower-sessions in a [`SessionHandler`]. See the
            /// [module](super) for what it keeps.
            ///
            /// ```
            /// use standfast_session::MemorySessionHandler;
            #[doc = concat!("use standfast_session::tower_sessions::", stringify!($module), "::TowerSessionStore;")]
            ///
            /// // was: let store = MemoryStore::default();
            /// let store = TowerSessionStore::new(MemorySessionHandler::new());
            /// // SessionManagerLayer::new(store)
            /// # let _ = store;
            /// ```
            #[derive(Clone, Debug)]
            pub struct TowerSessionStore(Adapter);

            impl TowerSessionStore {
                /// Sessions in `handler`, for at most 15 days without a write and 400 at all.
                pub fn new(handler: impl SessionHandler) -> Self {
                    Self(Adapter::new(handler))
                }

                /// The way to the session of `id` for whoever has the handler: counters and fields
                /// that compare live beside the record of tower-sessions, in the same session.
                ///
                /// They are there from the first save of the record on, and end with it. Names that
                /// begin with `k.` or `h.`, and `expiry`, are the record's. `cycle_id` begins a
                /// session of its own, without them.
                ///
                /// ```
                /// use standfast_session::{Key, MemorySessionHandler, SessionHandlerExt, UpdateOutcome};
                #[doc = concat!("use standfast_session::tower_sessions::", stringify!($module), "::TowerSessionStore;")]
                #[doc = concat!("use ", stringify!($core), "::session::Id;")]
                ///
                /// const CART: Key<Vec<String>> = Key::cas("cart");
                ///
                /// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
                /// let handler = MemorySessionHandler::new();
                /// let store = TowerSessionStore::new(handler.clone());
                /// // of a session that tower-sessions has saved, it is `session.id()`
                /// let access = store.access(&Id::default());
                /// let bought = handler.update(&access, &CART, |cart| cart.push("tea".into())).await?;
                /// assert_eq!(bought, UpdateOutcome::Gone);
                /// # Ok(()) }
                /// ```
                pub fn access(&self, id: &Id) -> Access {
                    self.0.access(id.0)
                }

                /// The same, for at most this long, whatever their records say.
                #[must_use]
                pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
                    Self(self.0.with_timeouts(timeouts))
                }
            }

            fn failed(error: standfast_core::Error) -> Error {
                Error::Backend(error.to_string())
            }

            fn micros(time: OffsetDateTime) -> i64 {
                i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
            }

            #[async_trait]
            impl SessionStore for TowerSessionStore {
                /// An id that is taken is replaced, three times at most.
                async fn create(&self, record: &mut Record) -> Result<()> {
                    let expiry = micros(record.expiry_date);
                    for _ in 0..3 {
                        let data = &mut record.data;
                        if self.0.create(record.id.0, data, expiry).await.map_err(failed)? {
                            return Ok(());
                        }
                        record.id = Id::default();
                    }
                    Err(Error::Backend("three random ids are taken".into()))
                }

                async fn save(&self, record: &Record) -> Result<()> {
                    let expiry = micros(record.expiry_date);
                    self.0.save(record.id.0, &record.data, expiry).await.map_err(failed)
                }

                async fn load(&self, id: &Id) -> Result<Option<Record>> {
                    let Some(Content { data, expiry }) = self.0.load(id.0).await.map_err(failed)?
                    else {
                        return Ok(None);
                    };
                    let expiry = i128::from(expiry) * 1000;
                    let expiry_date = OffsetDateTime::from_unix_timestamp_nanos(expiry)
                        .map_err(|error| Error::Decode(error.to_string()))?;
                    Ok(Some(Record { id: *id, data, expiry_date }))
                }

                async fn delete(&self, id: &Id) -> Result<()> {
                    self.0.delete(id.0).await.map_err(failed)
                }
            }
        }
    };
}

adapter!("tower-sessions-0-14", v0_14, tower_sessions_core_0_14, "0.14");
adapter!("tower-sessions-0-15", v0_15, tower_sessions_core_0_15, "0.15");
