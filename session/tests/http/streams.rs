//! What is written after the head of the response.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use standfast_core::ErrorKind;
use standfast_session::http::{Session, SessionError};

use crate::routes::{Gate, VIEWS, routes};
use crate::support::{Browser, Store, serve};

type Late = Arc<Mutex<Option<Session>>>;

/// Routes that leave their session to whoever goes on after the response, as streams do.
fn leaving(late: &Late) -> Router {
    let (begun, bare) = (Arc::clone(late), Arc::clone(late));
    Router::new()
        .route(
            "/begin",
            get(async move |session: Session| -> Result<String, SessionError> {
                let reference = session.ensure().await?;
                *begun.lock().unwrap() = Some(session);
                Ok(reference.to_string())
            }),
        )
        .route("/bare", get(async move |session: Session| *bare.lock().unwrap() = Some(session)))
        .merge(routes(&Gate::new()))
}

#[tokio::test]
async fn a_stream_commits_by_itself_and_only_what_is_new() {
    let (late, store) = (Late::default(), Store::default());
    let browser = Browser::new(serve(store.clone(), leaving(&late)).await);
    let reference = browser.read("/begin").await;
    assert_eq!(browser.read("/reference").await, reference);
    let session = late.lock().unwrap().take().unwrap();
    for views in 1..=3 {
        session.add(&VIEWS, 1);
        session.commit().await.unwrap();
        store.count();
        session.commit().await.unwrap();
        assert_eq!(store.count(), 0, "nothing is new");
        assert_eq!(browser.read("/views").await, views.to_string());
    }
    browser.read("/logout").await;
    session.add(&VIEWS, 1);
    let error = session.commit().await.unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn no_session_begins_and_no_secret_changes_after_the_head() {
    let late = Late::default();
    let browser = Browser::new(serve(Store::default(), leaving(&late)).await);
    browser.read("/bare").await;
    let session = late.lock().unwrap().take().unwrap();
    session.add(&VIEWS, 1);
    assert_eq!(session.commit().await.unwrap_err().error().kind(), ErrorKind::Invalid);
    assert_eq!(session.login("ada").await.unwrap_err().error().kind(), ErrorKind::Invalid);
    browser.read("/begin").await;
    let session = late.lock().unwrap().take().unwrap();
    for refused in [session.login("ada").await, session.renew().await] {
        assert_eq!(refused.unwrap_err().error().kind(), ErrorKind::Invalid);
    }
    assert_eq!(browser.read("/whoami").await, "nobody");
    assert_eq!(browser.read("/reference").await.len(), 32, "the cookie still counts");
}
