//! The experiment that this crate is for: 8 writers of one session, 300 updates each.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use standfast_core::testkit::redis::single;
use standfast_session::http::{Session, SessionError};
use standfast_session::{Key, MemorySessionHandler, RedisSessionHandler, SessionHandler};

use crate::postgres;
use crate::support::{Browser, serve};

const WRITERS: usize = 8;
const ROUNDS: usize = 300;

const OWN: [Key<u64>; WRITERS] = [
    Key::lww("w0"),
    Key::lww("w1"),
    Key::lww("w2"),
    Key::lww("w3"),
    Key::lww("w4"),
    Key::lww("w5"),
    Key::lww("w6"),
    Key::lww("w7"),
];
const COUNT: Key<i64> = Key::counter("count");
const SHARED: Key<u64> = Key::cas("shared");

fn app() -> Router {
    Router::new()
        .route(
            "/own/{writer}",
            get(async |session: Session, Path(writer): Path<usize>| -> Result<(), SessionError> {
                let key = &OWN[writer];
                let seen = session.get(key).await?.unwrap_or_default();
                tokio::task::yield_now().await;
                session.set(key, seen + 1);
                Ok(())
            }),
        )
        .route("/count/{writer}", get(async |session: Session| session.add(&COUNT, 1)))
        .route(
            "/shared/{writer}",
            get(async |session: Session| session.update(&SHARED, |n| *n += 1).await.map(drop)),
        )
        .route(
            "/sums",
            get(async |session: Session| -> Result<String, SessionError> {
                let mut own = 0;
                for key in &OWN {
                    own += session.get(key).await?.unwrap_or_default();
                }
                let count = session.get(&COUNT).await?.unwrap_or_default();
                let shared = session.get(&SHARED).await?.unwrap_or_default();
                Ok(format!("{own} {count} {shared}"))
            }),
        )
}

async fn run(store: impl SessionHandler) -> String {
    let browser = Browser::new(serve(store, app()).await);
    browser.read("/count/0").await;
    for page in ["/own/", "/count/", "/shared/"] {
        browser.load_in_tabs(page, WRITERS, ROUNDS).await;
    }
    browser.read("/sums").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_every_update_of_every_kind_is_kept() {
    assert_eq!(run(MemorySessionHandler::new()).await, "2400 2401 2400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis_every_update_of_every_kind_is_kept() {
    let Some(redis) = single() else { return };
    let handler = RedisSessionHandler::from_url(&redis.url()).unwrap();
    assert_eq!(run(handler).await, "2400 2401 2400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_postgres_every_update_of_every_kind_is_kept() {
    let Some(handler) = postgres::handler().await else { return };
    assert_eq!(run(handler).await, "2400 2401 2400");
}
