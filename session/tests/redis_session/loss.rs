//! Networks that lose replies.

use standfast_core::ErrorKind;
use standfast_core::testkit::{FaultProxy, RedisServer};
use standfast_session::{
    Access, CreateOutcome, DestroyOutcome, Patch, RedisSessionHandler, RotateOutcome, Rotation,
    SessionHandler, SessionInit, SessionToken, TouchOutcome,
};

use crate::support::{commit, handler_in, known, lasting, namespace, start};

/// A server, what is between it and a handler, that handler, and one with a way of its own.
struct Lossy {
    _server: RedisServer,
    proxy: FaultProxy,
    handler: RedisSessionHandler,
    direct: RedisSessionHandler,
}

impl Lossy {
    async fn start() -> Option<Self> {
        let server = lasting().await?;
        let proxy = FaultProxy::start(server.address()).await;
        let namespace = namespace();
        let handler = handler_in(&server.url_by(proxy.port()), &namespace);
        let direct = handler_in(&server.url(), &namespace);
        // connected, and every script is known: the first reply about a session is its own
        for handler in [&handler, &direct] {
            let (token, visitor) = start(handler).await;
            commit(handler, &visitor, Patch::new().set("a", "1")).await;
            let login = Rotation::login(&token.renewed(), "warm");
            let _ = handler.rotate(&visitor, &login, &Patch::new()).await.expect("it answers");
            let _ = handler.destroy(&Access::trusted(token.session())).await.expect("it answers");
        }
        Some(Self { _server: server, proxy, handler, direct })
    }

    /// Loses the reply to the next request about `token`.
    fn lose(&self, token: &SessionToken) -> u64 {
        self.proxy.lose_replies_to(1, format!("{}}}", token.session()));
        self.proxy.traffic().replies_lost
    }

    fn lost(&self, before: u64) {
        assert_eq!(self.proxy.traffic().replies_lost, before + 1, "the reply was lost");
    }
}

#[tokio::test]
async fn a_creation_whose_reply_is_lost_is_answered_as_the_first_time() {
    let Some(net) = Lossy::start().await else { return };
    let token = SessionToken::random();
    let (session, hash) = (token.session(), token.verifier_hash());
    let init = SessionInit::new().with_principal("ada").with_patch(Patch::new().increment("n", 1));
    let before = net.lose(&token);
    let outcome = net.handler.create(session, hash, &init).await.expect("it answers");
    net.lost(before);
    assert!(matches!(outcome, CreateOutcome::Created { version: 1, .. }), "{outcome:?}");
    let created = known(&net.direct, &Access::bearer(&token)).await;
    assert_eq!((created.version, created.counter("n")), (1, 1));
    // a reference that is taken stays so, whoever asks and however the answer gets lost
    let thief = token.renewed();
    let before = net.lose(&token);
    let outcome = net.handler.create(session, thief.verifier_hash(), &init).await;
    net.lost(before);
    assert_eq!(outcome.expect("it answers"), CreateOutcome::Exists);
}

#[tokio::test]
async fn a_rotation_whose_reply_is_lost_is_answered_as_the_first_time() {
    let Some(net) = Lossy::start().await else { return };
    for login in [false, true] {
        let (token, visitor) = start(&net.handler).await;
        let new = token.renewed();
        let rotation = if login { Rotation::login(&new, "ada") } else { Rotation::renewal(&new) };
        let before = net.lose(&token);
        let patch = Patch::new().increment("n", 1);
        let outcome = net.handler.rotate(&visitor, &rotation, &patch).await.expect("it answers");
        net.lost(before);
        assert!(matches!(outcome, RotateOutcome::Rotated { version: 2, .. }), "{outcome:?}");
        assert_eq!(known(&net.direct, &Access::bearer(&new)).await.counter("n"), 1, "once");
    }
}

#[tokio::test]
async fn a_logout_whose_reply_is_lost_is_one() {
    let Some(net) = Lossy::start().await else { return };
    let (token, visitor) = start(&net.handler).await;
    let before = net.lose(&token);
    let outcome = net.handler.destroy(&visitor).await.expect("it answers");
    net.lost(before);
    assert_eq!(outcome, DestroyOutcome::Destroyed);
    assert_eq!(net.handler.destroy(&visitor).await.expect("it answers"), DestroyOutcome::Gone);
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_says_so_and_happened_once() {
    let Some(net) = Lossy::start().await else { return };
    let (token, visitor) = start(&net.handler).await;
    let before = net.lose(&token);
    let patch = Patch::new().increment("n", 1);
    let error = net.handler.commit(&visitor, &patch).await.expect_err("nobody knows");
    net.lost(before);
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(known(&net.direct, &visitor).await.counter("n"), 1);
}

#[tokio::test]
async fn what_changes_nothing_is_asked_again() {
    let Some(net) = Lossy::start().await else { return };
    let (token, visitor) = start(&net.handler).await;
    let before = net.lose(&token);
    known(&net.handler, &visitor).await;
    net.lost(before);
    let before = net.lose(&token);
    let touched = net.handler.touch(&visitor).await.expect("it answers");
    net.lost(before);
    assert!(matches!(touched, TouchOutcome::Fresh { .. }), "{touched:?}");
    let before = net.lose(&token);
    assert_eq!(commit(&net.handler, &visitor, Patch::new()).await, 1);
    net.lost(before);
}
