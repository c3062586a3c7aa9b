//! Stores that do not answer, and handlers that fail.

use standfast_session::http::{OnServerError, OnUnavailable, SessionLayerConfig};

use crate::routes::{Gate, routes};
use crate::support::{Browser, Store, serve, serve_with};

#[tokio::test]
async fn a_store_that_does_not_answer_is_503_and_never_an_empty_session() {
    let store = Store::default();
    let browser = Browser::new(serve(store.clone(), routes(&Gate::new())).await);
    browser.read("/buy/tea").await;
    let cookie = browser.cookie();
    store.fail(true);
    for path in ["/cart", "/buy/milk", "/view", "/whoami", "/login/ada", "/logout"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.cookies().is_empty(), "{path}");
    }
    assert_eq!(browser.get("/ignore").await.status, 200);
    store.fail(false);
    assert_eq!(browser.cookie(), cookie);
    assert_eq!(browser.read("/cart").await, "tea");
}

#[tokio::test]
async fn a_shop_window_may_stay_open_but_takes_no_orders() {
    let store = Store::default();
    let mut config = SessionLayerConfig::default();
    config.on_unavailable = OnUnavailable::ReadOnlyEmpty;
    let routes = routes(&Gate::new());
    let browser = Browser::new(serve_with(store.clone(), "http://localhost", config, routes).await);
    browser.read("/buy/tea").await;
    store.fail(true);
    assert_eq!(browser.read("/cart").await, "");
    assert_eq!(browser.get("/buy/milk").await.status, 503);
    store.fail(false);
    assert_eq!(browser.read("/cart").await, "tea");
}

#[tokio::test]
async fn what_a_failing_handler_wrote_is_kept_unless_told_otherwise() {
    for (policy, views) in [(OnServerError::Commit, "2"), (OnServerError::Discard, "1")] {
        let mut config = SessionLayerConfig::default();
        config.on_server_error = policy;
        let routes = routes(&Gate::new());
        let server = serve_with(Store::default(), "http://localhost", config, routes).await;
        let browser = Browser::new(server);
        browser.read("/view").await;
        assert_eq!(browser.get("/crash").await.status, 500);
        assert_eq!(browser.read("/views").await, views);
    }
}

#[tokio::test]
async fn what_is_too_large_is_413_and_changes_nothing() {
    let store = Store::default();
    let big = axum::Router::new().route(
        "/big",
        axum::routing::get(async |session: standfast_session::http::Session| {
            session.set(&crate::routes::NAME, "x".repeat(20_000));
            session.add(&crate::routes::VIEWS, 1);
        }),
    );
    let browser = Browser::new(serve(store, routes(&Gate::new()).merge(big)).await);
    browser.read("/view").await;
    assert_eq!(browser.get("/big").await.status, 413);
    assert_eq!(browser.read("/views").await, "1");
}

#[tokio::test]
async fn a_handler_without_the_layer_is_told_so() {
    use tower_service::Service as _;
    let mut app = routes(&Gate::new());
    let request = http::Request::get("/ignore").body(axum::body::Body::empty()).unwrap();
    assert_eq!(app.call(request).await.unwrap().status(), 500);
}
