//! The experiment through the adapter: 8 writers of one session, 300 updates each.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use standfast_core::testkit::redis::single;
use standfast_session::tower_sessions::v0_15::TowerSessionStore;
use standfast_session::{
    CommitOutcome, Key, MemorySessionHandler, Patch, RedisSessionHandler, SessionHandler,
    SessionHandlerExt, UpdateOutcome,
};
use tower_sessions::{Session, SessionManagerLayer};

use crate::support::Browser;
use crate::{listen, postgres};

const WRITERS: usize = 8;
const ROUNDS: usize = 300;

const COUNT: Key<i64> = Key::counter("count");
const SHARED: Key<u64> = Key::cas("shared");

/// Keys of tower-sessions, one for each writer.
pub(crate) fn own() -> Router {
    Router::new()
        .route(
            "/own/{writer}",
            get(async |s: Session, Path(writer): Path<String>| {
                let seen: u64 = s.get(&writer).await.unwrap().unwrap_or_default();
                tokio::task::yield_now().await;
                s.insert(&writer, seen + 1).await.unwrap();
            }),
        )
        .route(
            "/sum",
            get(async |s: Session| {
                let mut sum = 0;
                for writer in 0..WRITERS {
                    sum += s.get::<u64>(&format!("w{writer}")).await.unwrap().unwrap_or_default();
                }
                sum.to_string()
            }),
        )
}

/// Keys of ours in the same session, which all writers share.
fn shared<H: SessionHandler + Clone>(handler: &H, store: &TowerSessionStore) -> Router {
    let [count, compare, sums] = [(); 3].map(|()| (handler.clone(), store.clone()));
    Router::new()
        .route(
            "/count/{writer}",
            get(async move |s: Session| {
                let (handler, store) = count;
                let access = store.access(&s.id().unwrap());
                let outcome = handler.commit(&access, &COUNT.add(Patch::new(), 1)).await.unwrap();
                assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
            }),
        )
        .route(
            "/shared/{writer}",
            get(async move |s: Session| {
                let (handler, store) = compare;
                let access = store.access(&s.id().unwrap());
                match handler.update(&access, &SHARED, |n| *n += 1).await {
                    Ok(UpdateOutcome::Updated { .. }) => StatusCode::OK,
                    Err(error) if error.is_retryable() => StatusCode::CONFLICT,
                    other => panic!("{other:?}"),
                }
            }),
        )
        .route(
            "/sums",
            get(async move |s: Session| {
                let (handler, store) = sums;
                let loaded = handler.load(&store.access(&s.id().unwrap())).await.unwrap();
                let found = loaded.found().unwrap();
                let shared = SHARED.read(&found).unwrap().unwrap_or_default();
                format!("{} {shared}", found.counter("count"))
            }),
        )
}

async fn run(handler: impl SessionHandler + Clone) -> (String, String) {
    let store = TowerSessionStore::new(handler.clone());
    let routes = own().merge(shared(&handler, &store));
    let layer = SessionManagerLayer::new(store).with_secure(false);
    let browser = Browser::new(listen(routes.layer(layer)).await);
    browser.read("/own/first").await;
    for page in ["/own/w", "/count/", "/shared/"] {
        browser.load_in_tabs(page, WRITERS, ROUNDS).await;
    }
    (browser.read("/sum").await, browser.read("/sums").await)
}

fn all() -> (String, String) {
    ("2400".into(), "2400 2400".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_every_update_of_every_kind_is_kept() {
    assert_eq!(run(MemorySessionHandler::new()).await, all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis_every_update_of_every_kind_is_kept() {
    let Some(redis) = single() else { return };
    assert_eq!(run(RedisSessionHandler::from_url(&redis.url()).unwrap()).await, all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_postgres_every_update_of_every_kind_is_kept() {
    let Some(handler) = postgres::handler().await else { return };
    assert_eq!(run(handler).await, all());
}
