//! Sessions and business sessions in PostgreSQL: the suites, and what is PostgreSQL's own.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod ledger;
mod server;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use standfast_core::testkit::service;
use standfast_core::{BusinessRef, ErrorKind, HealthCheck, Reason};
use standfast_session::business::{
    Actor, BusinessMeta, BusinessStore, BusinessStoreExt, Changes, Expected, Verification,
};
use standfast_session::testkit::business::BusinessHarness;
use standfast_session::testkit::{SessionHarness, async_trait};
use standfast_session::{
    PostgresBusinessStore, PostgresSessionHandler, SessionHandler, SessionHandlerExt, SessionInit,
    SessionLimits,
};

standfast_session::session_conformance!(sessions, Server::find());
standfast_session::business_conformance!(business, Server::find());

/// The server that `STANDFAST_TEST_POSTGRES` names by a URL.
#[derive(Debug)]
struct Server(String);

impl Server {
    fn find() -> Option<Self> {
        service("postgres", "STANDFAST_TEST_POSTGRES").map(Self)
    }

    /// Each test is a client of its own.
    async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect(&self.0).await.unwrap()
    }

    /// A database of the test's own.
    async fn database(&self) -> PgPool {
        let name = format!("test_{}", standfast_core::Id128::random());
        let create = format!("CREATE DATABASE {name}");
        sqlx::query(&create).execute(&self.pool().await).await.unwrap();
        let options = self.pool().await.connect_options().as_ref().clone().database(&name);
        PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
    }
}

#[async_trait]
impl SessionHarness for Server {
    async fn open(&self) -> Arc<dyn SessionHandler> {
        let limits = SessionLimits::default();
        let handler = PostgresSessionHandler::from_parts(self.pool().await, limits);
        handler.migrate().await.unwrap();
        Arc::new(handler)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn unit(&self) -> Duration {
        Duration::from_millis(400)
    }
}

#[async_trait]
impl BusinessHarness for Server {
    async fn open(&self) -> Arc<dyn BusinessStore> {
        let store = PostgresBusinessStore::from_parts(self.pool().await);
        store.migrate().await.unwrap();
        Arc::new(store)
    }
}

#[tokio::test]
async fn nothing_is_migrated_unless_asked_and_then_by_one() {
    let Some(server) = Server::find() else { return };
    let pool = server.database().await;
    let handler = PostgresSessionHandler::from_parts(pool.clone(), SessionLimits::default());
    let error = handler.start(&SessionInit::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(!handler.health().await.is_usable());
    let (one, two, three) = tokio::join!(handler.migrate(), handler.migrate(), handler.migrate());
    assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
    handler.start(&SessionInit::new()).await.unwrap();
    assert!(handler.health().await.is_usable());
    // a newer release has been here
    sqlx::query("UPDATE standfast_schema SET version = 9").execute(&pool).await.unwrap();
    let error = handler.migrate().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NewerVersion), "{error}");
}

#[tokio::test]
async fn what_has_happened_is_neither_changed_nor_removed_and_who_forces_it_is_found() {
    let Some(server) = Server::find() else { return };
    let pool = server.database().await;
    let store = PostgresBusinessStore::from_parts(pool.clone());
    store.migrate().await.unwrap();
    let order = BusinessRef::new("order-17");
    for step in ["a", "b"] {
        let meta = BusinessMeta::new("req", step, Actor::System);
        let changes = Changes::new().set("state", step);
        store.append(&order, Expected::Any, &changes, &meta).await.unwrap();
    }
    for attempt in [
        "DELETE FROM standfast_business_event",
        "UPDATE standfast_business_event SET actor = 'user:eve'",
        "TRUNCATE standfast_business_event",
    ] {
        let error = sqlx::query(attempt).execute(&pool).await.unwrap_err();
        assert!(error.to_string().contains("neither changed nor removed"), "{attempt}: {error}");
    }
    let verified = store.verify(&order).await.unwrap();
    assert!(matches!(verified, Verification::Sound { events: 2, .. }), "{verified:?}");
    // somebody with all rights
    for force in [
        "ALTER TABLE standfast_business_event DISABLE TRIGGER ALL",
        "UPDATE standfast_business_event SET body = replace(body, '\"a\"', '\"x\"') WHERE seq = 1",
    ] {
        sqlx::query(force).execute(&pool).await.unwrap();
    }
    assert_eq!(store.verify(&order).await.unwrap(), Verification::Broken { seq: 1 });
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_no_secret_is_told() {
    let handler = PostgresSessionHandler::from_url("postgres://app:hunter2@127.0.0.1:1/x").unwrap();
    let error = handler.start(&SessionInit::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let shown = format!("{handler:?} {error:?} {error}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let error = PostgresSessionHandler::from_url("hunter2").unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
}
