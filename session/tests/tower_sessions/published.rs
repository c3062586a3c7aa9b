//! What the tests of tower-sessions ask of every store, one by one and under their names, of the
//! adapter on memory and on Redis.

use axum::Router;
use axum::routing::get;
use standfast_core::testkit::redis::single;
use standfast_session::tower_sessions::v0_15::TowerSessionStore;
use standfast_session::{MemorySessionHandler, RedisSessionHandler};
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

use crate::support::Browser;
use crate::{listen, routes};

type Layer = SessionManagerLayer<TowerSessionStore>;

const HOUR: Duration = Duration::hours(1);

fn expiries() -> Router {
    Router::new()
        .route(
            "/set_expiry",
            get(async |s: Session| {
                s.set_expiry(Some(Expiry::OnInactivity(Duration::minutes(30))));
                s.insert("bar", 1).await.unwrap();
            }),
        )
        .route(
            "/change_expiry_type",
            get(async |s: Session| {
                s.set_expiry(Some(Expiry::OnSessionEnd));
                s.insert("bar", 1).await.unwrap();
            }),
        )
        .route(
            "/soon",
            get(async |s: Session| {
                s.set_expiry(Some(Expiry::OnInactivity(Duration::seconds(1))));
                s.insert("foo", 1).await.unwrap();
            }),
        )
}

async fn with(store: TowerSessionStore, layer: impl FnOnce(Layer) -> Layer) -> Browser {
    let base =
        SessionManagerLayer::new(store).with_secure(false).with_expiry(Expiry::OnInactivity(HOUR));
    Browser::new(listen(routes().merge(expiries()).layer(layer(base))).await)
}

/// What the one cookie of an answer says besides its value.
async fn attributes(browser: &Browser, path: &str) -> Vec<String> {
    let answer = browser.get(path).await;
    let cookies = answer.cookies();
    let [cookie] = cookies[..] else { panic!("{path}: {answer:?}") };
    cookie.split("; ").skip(1).map(str::to_lowercase).collect()
}

async fn no_session_set(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    assert!(browser.get("/").await.cookies().is_empty());
}

async fn bogus_session_cookie(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    browser.set_cookie("id=AAAAAAAAAAAAAAAAAAAAAA");
    browser.get("/insert").await;
    assert_ne!(browser.cookie(), "id=AAAAAAAAAAAAAAAAAAAAAA", "an id of ours");
    assert_eq!(browser.read("/get").await, "42");
}

async fn malformed_session_cookie(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    browser.set_cookie("id=malformed");
    browser.get("/insert").await;
    assert_ne!(browser.cookie(), "id=malformed");
    assert_eq!(browser.read("/get").await, "42");
}

async fn insert_session(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    let mut said = attributes(&browser, "/insert").await;
    said.sort_unstable();
    assert_eq!(said, ["httponly", "max-age=3600", "path=/", "samesite=strict"]);
    assert!(browser.cookie().starts_with("id="));
}

async fn session_max_age(store: TowerSessionStore) {
    let browser = with(store, |layer| layer.with_expiry(Expiry::OnSessionEnd)).await;
    let said = attributes(&browser, "/insert").await;
    assert!(!said.iter().any(|part| part.starts_with("max-age")), "{said:?}");
    assert_eq!(browser.read("/get").await, "42", "it lives in the store all the same");
}

async fn get_session(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    browser.read("/insert").await;
    let answer = browser.get("/get").await;
    assert_eq!((answer.body.as_str(), answer.cookies().len()), ("42", 0));
}

async fn get_no_value(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    assert_eq!(browser.read("/get").await, "");
}

async fn remove_last_value(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    browser.read("/insert").await;
    assert_eq!(browser.read("/remove").await, "true");
    assert_eq!(
        (browser.read("/get").await, browser.read("/remove").await),
        ("".into(), "false".into())
    );
}

async fn cycle_session_id(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    browser.read("/insert").await;
    let before = browser.stolen();
    browser.read("/cycle_id").await;
    assert_ne!(browser.cookie(), before.cookie());
    assert_eq!((browser.read("/get").await, before.read("/get").await), ("42".into(), "".into()));
}

async fn flush_session(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    browser.read("/insert").await;
    let before = browser.stolen();
    let said = attributes(&browser, "/flush").await;
    assert!(said.contains(&"max-age=0".to_owned()), "{said:?}");
    assert!(said.contains(&"path=/".to_owned()), "{said:?}");
    assert_eq!(before.read("/get").await, "");
}

async fn flush_with_domain(store: TowerSessionStore) {
    let browser = with(store, |layer| layer.with_domain("localhost")).await;
    assert!(attributes(&browser, "/insert").await.contains(&"domain=localhost".to_owned()));
    let said = attributes(&browser, "/flush").await;
    for part in ["max-age=0", "path=/", "domain=localhost"] {
        assert!(said.contains(&part.to_owned()), "{part}: {said:?}");
    }
}

async fn set_expiry(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    assert!(attributes(&browser, "/insert").await.contains(&"max-age=3600".to_owned()));
    assert!(attributes(&browser, "/set_expiry").await.contains(&"max-age=1800".to_owned()));
    assert_eq!(browser.read("/get").await, "42");
}

async fn change_expiry_type(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    assert!(attributes(&browser, "/insert").await.contains(&"max-age=3600".to_owned()));
    let said = attributes(&browser, "/change_expiry_type").await;
    assert!(!said.iter().any(|part| part.starts_with("max-age")), "{said:?}");
    assert_eq!(browser.read("/get").await, "42");
}

async fn expired(store: TowerSessionStore) {
    let browser = with(store, |layer| layer).await;
    browser.read("/soon").await;
    let gone = async {
        while !browser.read("/get").await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.expect("it expires");
}

macro_rules! on_each {
    ($($name:ident,)*) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                super::$name(TowerSessionStore::new(MemorySessionHandler::new())).await;
            })*
        }

        mod redis {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let Some(redis) = single() else { return };
                let handler = RedisSessionHandler::from_url(&redis.url()).unwrap();
                super::$name(TowerSessionStore::new(handler)).await;
            })*
        }
    };
}

on_each! {
    no_session_set,
    bogus_session_cookie,
    malformed_session_cookie,
    insert_session,
    session_max_age,
    get_session,
    get_no_value,
    remove_last_value,
    cycle_session_id,
    flush_session,
    flush_with_domain,
    set_expiry,
    change_expiry_type,
    expired,
}
