//! Servers and connections that die at any step. Who writes keeps a ledger: what was acknowledged is
//! there, what failed is not, and only what is said to be unknown may be either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use standfast_core::testkit::FaultProxy;
use standfast_core::{BusinessRef, ErrorKind};
use standfast_session::business::{
    Actor, Append, BusinessMeta, BusinessStore, BusinessStoreExt, Changes, Expected, Verification,
};
use standfast_session::{
    Access, CommitOutcome, DestroyOutcome, LoadOutcome, Patch, PostgresBusinessStore,
    PostgresSessionHandler, RotateOutcome, Rotation, SessionHandler, SessionHandlerExt,
    SessionInit, SessionLimits, SessionToken,
};
use tokio::task::JoinSet;

use crate::server::PostgresServer;

fn sessions(pool: sqlx::PgPool) -> PostgresSessionHandler {
    PostgresSessionHandler::from_parts(pool, SessionLimits::default())
}

#[derive(Debug, Default)]
struct Ledger {
    acknowledged: i64,
    failed: i64,
    unknown: i64,
    kept: i64,
}

/// Adds one to its session again and again.
async fn write(handler: PostgresSessionHandler, visitor: Access, stop: Arc<AtomicBool>) -> Ledger {
    let mut ledger = Ledger::default();
    let patch = Patch::new().increment("n", 1);
    while !stop.load(Ordering::Relaxed) {
        match handler.commit(&visitor, &patch).await {
            Ok(CommitOutcome::Committed { .. }) => ledger.acknowledged += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => ledger.unknown += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                assert!(error.is_retryable(), "{error:?}");
                ledger.failed += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    ledger
}

/// What became of six sessions to which somebody wrote while `server` was disturbed.
async fn under_load(server: &mut PostgresServer, kills_server: bool) -> Vec<Ledger> {
    let handler = sessions(server.pool());
    handler.migrate().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut writers, mut visitors) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let visitor = Access::bearer(&handler.start(&SessionInit::new()).await.unwrap().token);
        let writer = write(handler.clone(), visitor.clone(), Arc::clone(&stop));
        writers.push(tokio::spawn(writer));
        visitors.push(visitor);
    }
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        match kills_server {
            true => server.kill_and_restart().await,
            false => server.kill_backend().await,
        }
        server.await_ready().await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let mut ledgers = Vec::new();
    for (writer, visitor) in writers.into_iter().zip(&visitors) {
        let mut ledger = writer.await.unwrap();
        let found = loop {
            match handler.load(visitor).await {
                Ok(found) => break found,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        ledger.kept = found.found().expect("it is there").counter("n");
        ledgers.push(ledger);
    }
    ledgers
}

fn balanced(ledgers: &[Ledger]) {
    let sum = |of: fn(&Ledger) -> i64| ledgers.iter().map(of).sum::<i64>();
    println!(
        "{} acknowledged, {} failed, {} unknown, {} kept",
        sum(|it| it.acknowledged),
        sum(|it| it.failed),
        sum(|it| it.unknown),
        sum(|it| it.kept),
    );
    for ledger in ledgers {
        assert!(ledger.kept >= ledger.acknowledged, "lost: {ledger:?}");
        assert!(ledger.kept <= ledger.acknowledged + ledger.unknown, "from nowhere: {ledger:?}");
    }
    assert!(sum(|it| it.acknowledged) > 50, "there was load");
    assert!(sum(|it| it.failed + it.unknown) > 0, "it was noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_are_killed_lose_nothing_that_was_acknowledged() {
    let Some(mut server) = PostgresServer::start().await else { return };
    balanced(&under_load(&mut server, false).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged() {
    let Some(mut server) = PostgresServer::start().await else { return };
    balanced(&under_load(&mut server, true).await);
}

/// A server whose answers get lost, and two ways to it.
struct Lossy {
    _server: PostgresServer,
    proxy: FaultProxy,
    handler: PostgresSessionHandler,
    direct: PostgresSessionHandler,
}

impl Lossy {
    async fn start() -> Option<Self> {
        let server = PostgresServer::start().await?;
        let proxy = FaultProxy::start(server.address()).await;
        let direct = sessions(server.pool());
        direct.migrate().await.unwrap();
        let handler = sessions(PostgresServer::pool_by(proxy.port()));
        Some(Self { _server: server, proxy, handler, direct })
    }

    async fn session(&self) -> (SessionToken, Access) {
        let token = self.direct.start(&SessionInit::new()).await.unwrap().token;
        let visitor = Access::bearer(&token);
        (token, visitor)
    }

    /// The answer to the next `COMMIT` never comes; what is said of that.
    async fn lose<T: std::fmt::Debug>(
        &self,
        call: impl Future<Output = standfast_core::Result<T>>,
    ) {
        let before = self.proxy.traffic().replies_lost;
        self.proxy.lose_replies_to(1, "COMMIT");
        let error = call.await.expect_err("nobody knows");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
        assert!(!error.is_retryable(), "increments would count twice: {error:?}");
        assert_eq!(self.proxy.traffic().replies_lost, before + 1, "the answer was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_after_commit_was_sent_leaves_the_outcome_unknown() {
    let Some(net) = Lossy::start().await else { return };
    let patch = Patch::new().increment("n", 1);
    let found = async |access: &Access| net.direct.load(access).await.unwrap();

    let (_, visitor) = net.session().await;
    net.lose(net.handler.commit(&visitor, &patch)).await;
    assert_eq!(found(&visitor).await.found().unwrap().counter("n"), 1, "it happened, once");

    let token = SessionToken::random();
    let (session, hash) = (token.session(), token.verifier_hash());
    net.lose(net.handler.create(session, hash, &SessionInit::new())).await;
    assert!(found(&Access::bearer(&token)).await.found().is_some());

    for login in [true, false] {
        let (token, visitor) = net.session().await;
        let new = token.renewed();
        let rotation = if login { Rotation::login(&new, "ada") } else { Rotation::renewal(&new) };
        net.lose(net.handler.rotate(&visitor, &rotation, &patch)).await;
        // asking again is safe, and applies nothing twice
        let again = net.handler.rotate(&visitor, &rotation, &patch).await.unwrap();
        assert!(matches!(again, RotateOutcome::Rotated { version: 2, .. }), "{again:?}");
        assert_eq!(found(&Access::bearer(&new)).await.found().unwrap().counter("n"), 1);
    }

    let (_, visitor) = net.session().await;
    net.lose(net.handler.destroy(&visitor)).await;
    assert_eq!(found(&visitor).await, LoadOutcome::Absent);
    assert_eq!(net.handler.destroy(&visitor).await.unwrap(), DestroyOutcome::Gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_appended_while_backends_are_killed_are_there_once() {
    let Some(server) = PostgresServer::start().await else { return };
    let store = PostgresBusinessStore::from_parts(server.pool());
    store.migrate().await.unwrap();
    let order = BusinessRef::new("order-17");
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (store, order) = (store.clone(), order.clone());
        writers.spawn(async move {
            for step in 0..60 {
                let meta =
                    BusinessMeta::new(format!("job-{writer}"), step.to_string(), Actor::System);
                let changes = Changes::new().set("step", format!("{writer}-{step}"));
                // whoever does not know asks again: the same step is appended once
                loop {
                    match store.append(&order, Expected::Any, &changes, &meta).await {
                        Ok(Append::Appended { .. }) => break,
                        Ok(other) => panic!("{other:?}"),
                        Err(error) => {
                            let kinds = [ErrorKind::OutcomeUnknown, ErrorKind::Unavailable];
                            assert!(kinds.contains(&error.kind()), "{error:?}");
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
            }
        });
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.kill_backend().await;
        server.await_ready().await;
    }
    writers.join_all().await;
    let verified = store.verify(&order).await.unwrap();
    assert!(matches!(verified, Verification::Sound { events: 240, .. }), "{verified:?}");
}
