//! tower-sessions and axum-login on the adapter.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../support/postgres.rs"]
mod postgres;
mod published;
#[path = "../http/support.rs"]
#[allow(dead_code, reason = "the tests of the layer use the rest")]
mod support;
mod writers;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use standfast_session::tower_sessions::v0_14;
use standfast_session::tower_sessions::v0_15::TowerSessionStore;
use standfast_session::{MemorySessionHandler, SessionHandler};
use support::Browser;
use tokio::net::TcpListener;
use tower_sessions::{Session, SessionManagerLayer};

async fn listen(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async |_: Session| "hello"))
        .route("/insert", get(async |s: Session| s.insert("foo", 42).await.unwrap()))
        .route(
            "/get",
            get(async |s: Session| {
                s.get::<u64>("foo").await.unwrap().map(|n| n.to_string()).unwrap_or_default()
            }),
        )
        .route("/remove", get(async |s: Session| s.remove::<u64>("foo").await.unwrap().is_some().to_string()))
        .route("/cycle_id", get(async |s: Session| s.cycle_id().await.unwrap()))
        .route("/clear", get(async |s: Session| {
            s.get::<u64>("foo").await.unwrap();
            s.clear().await;
            s.insert("bar", 1).await.unwrap();
        }))
        .route("/flush", get(async |s: Session| s.flush().await.unwrap()))
        .route(
            "/odd",
            get(async |s: Session| {
                let key = "a key: longer, with ä and blanks, than any name of a field may ever be, really";
                let seen: u64 = s.get(key).await.unwrap().unwrap_or_default();
                s.insert(key, seen + 1).await.unwrap();
                seen.to_string()
            }),
        )
        .merge(writers::own())
        .route("/slow", get(async |s: Session| {
            s.get::<u64>("foo").await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            s.insert("late", 1).await.unwrap();
        }))
}

async fn browser(handler: impl SessionHandler) -> Browser {
    let store = TowerSessionStore::new(handler);
    let layer = SessionManagerLayer::new(store).with_secure(false);
    Browser::new(listen(routes().layer(layer)).await)
}

#[tokio::test]
async fn what_tower_sessions_promises_is_kept() {
    let browser = browser(MemorySessionHandler::new()).await;
    assert!(browser.get("/").await.cookies().is_empty(), "no session was set");
    assert_eq!(browser.read("/get").await, "");
    browser.set_cookie("id=AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(browser.read("/get").await, "", "a bogus cookie");
    browser.set_cookie("id=malformed");
    assert_eq!(browser.read("/get").await, "");
    assert_eq!(browser.get("/insert").await.cookies().len(), 1);
    assert_eq!(browser.read("/get").await, "42");
    let before = browser.stolen();
    browser.read("/cycle_id").await;
    assert_ne!(browser.cookie(), before.cookie());
    assert_eq!((browser.read("/get").await, before.read("/get").await), ("42".into(), "".into()));
    assert_eq!(browser.read("/remove").await, "true");
    assert_eq!(browser.read("/get").await, "");
    browser.read("/insert").await;
    let before = browser.stolen();
    assert_eq!(browser.get("/flush").await.cookies().len(), 1);
    assert_eq!(before.read("/get").await, "");
}

#[tokio::test]
async fn clear_replaces_everything() {
    let browser = browser(MemorySessionHandler::new()).await;
    browser.read("/insert").await;
    browser.read("/own/w0").await;
    browser.read("/clear").await;
    assert_eq!((browser.read("/get").await, browser.read("/sum").await), ("".into(), "0".into()));
    browser.read("/own/w1").await;
    assert_eq!(browser.read("/sum").await, "1");
}

#[tokio::test]
async fn keys_may_be_any_text() {
    let browser = browser(MemorySessionHandler::new()).await;
    for seen in 0..3 {
        assert_eq!(browser.read("/odd").await, seen.to_string());
    }
}

#[tokio::test]
async fn a_request_that_finishes_after_a_logout_brings_nothing_back() {
    let browser = browser(MemorySessionHandler::new()).await;
    browser.read("/insert").await;
    let before = browser.stolen();
    let tab = browser.stolen();
    let slow = tokio::spawn(async move { tab.get("/slow").await.status });
    tokio::time::sleep(Duration::from_millis(200)).await;
    browser.read("/flush").await;
    assert_eq!(slow.await.unwrap(), 500, "it is told");
    assert_eq!(before.read("/get").await, "");
}

mod login {
    use std::convert::Infallible;

    use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId};

    use super::*;

    #[derive(Clone, Debug)]
    struct User(u64);

    impl AuthUser for User {
        type Id = u64;

        fn id(&self) -> u64 {
            self.0
        }

        fn session_auth_hash(&self) -> &[u8] {
            b"of the password"
        }
    }

    #[derive(Clone, Debug)]
    struct Users;

    impl AuthnBackend for Users {
        type User = User;
        type Credentials = u64;
        type Error = Infallible;

        async fn authenticate(&self, id: u64) -> Result<Option<User>, Infallible> {
            Ok(Some(User(id)))
        }

        async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Infallible> {
            Ok(Some(User(*id)))
        }
    }

    type Auth = axum_login::AuthSession<Users>;

    #[tokio::test]
    async fn axum_login_works_on_the_adapter() {
        let routes = Router::new()
            .route(
                "/login/{id}",
                get(async |mut auth: Auth, Path(id): Path<u64>| {
                    let user = auth.authenticate(id).await.unwrap().unwrap();
                    auth.login(&user).await.unwrap();
                }),
            )
            .route(
                "/logout",
                get(async |mut auth: Auth| auth.logout().await.unwrap().is_some().to_string()),
            )
            .route(
                "/whoami",
                get(async |auth: Auth| {
                    auth.user.map(|user| user.0.to_string()).unwrap_or_default()
                }),
            );
        let store = v0_14::TowerSessionStore::new(MemorySessionHandler::new());
        let layer = axum_login::tower_sessions::SessionManagerLayer::new(store).with_secure(false);
        let layer = AuthManagerLayerBuilder::new(Users, layer).build();
        let browser = Browser::new(listen(routes.layer(layer)).await);
        assert_eq!(browser.read("/whoami").await, "");
        browser.read("/login/7").await;
        assert_eq!(browser.read("/whoami").await, "7");
        let stolen = browser.stolen();
        browser.read("/logout").await;
        assert_eq!(
            (browser.read("/whoami").await, stolen.read("/whoami").await),
            ("".into(), "".into())
        );
    }
}
