//! An application that the tests share.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use standfast_core::BusinessRef;
use standfast_session::http::{Session, SessionError};
use standfast_session::{FlashLevel, Key};
use tokio::sync::Semaphore;

pub(crate) const CART: Key<Vec<String>> = Key::cas("cart");
pub(crate) const NAME: Key<String> = Key::lww("name");
pub(crate) const VIEWS: Key<i64> = Key::counter("views");

type Answered = Result<String, SessionError>;

/// Holds requests until the test lets them go.
#[derive(Clone)]
pub(crate) struct Gate {
    /// One permit for each request that has arrived.
    pub(crate) arrived: Arc<Semaphore>,
    pub(crate) open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

async fn buy(session: Session, Path(item): Path<String>) -> Answered {
    let cart = session.update(&CART, move |cart| cart.push(item.clone())).await?;
    Ok(cart.join(","))
}

async fn buy_slowly(State(gate): State<Gate>, session: Session, item: Path<String>) -> Answered {
    let answer = buy(session, item).await?;
    gate.pass().await;
    Ok(answer)
}

async fn rename_slowly(State(gate): State<Gate>, session: Session, name: Path<String>) -> Answered {
    session.get(&NAME).await?;
    gate.pass().await;
    session.set(&NAME, name.0);
    Ok(String::new())
}

async fn view_slowly(State(gate): State<Gate>, session: Session) -> Answered {
    gate.pass().await;
    session.add(&VIEWS, 1);
    Ok(String::new())
}

async fn flashes(session: Session) -> Answered {
    let flashes = session.take_flashes().await?;
    Ok(flashes.into_iter().map(|flash| flash.text).collect::<Vec<_>>().join(","))
}

async fn whoami(session: Session) -> Answered {
    Ok(session.principal().await?.unwrap_or_else(|| "nobody".into()))
}

pub(crate) fn routes(gate: &Gate) -> Router {
    Router::new()
        .route("/ignore", get(async |_: Session| "ignored"))
        .route("/view", get(async |session: Session| session.add(&VIEWS, 1)))
        .route(
            "/views",
            get(async |session: Session| -> Answered {
                Ok(session.get(&VIEWS).await?.unwrap_or_default().to_string())
            }),
        )
        .route("/buy/{item}", get(buy))
        .route("/slow/buy/{item}", get(buy_slowly))
        .route("/slow/name/{name}", get(rename_slowly))
        .route("/slow/view", get(view_slowly))
        .route(
            "/cart",
            get(async |session: Session| -> Answered {
                Ok(session.get(&CART).await?.unwrap_or_default().join(","))
            }),
        )
        .route(
            "/name/{name}",
            get(async |session: Session, Path(name): Path<String>| session.set(&NAME, name)),
        )
        .route(
            "/name",
            get(async |session: Session| -> Answered {
                Ok(session.get(&NAME).await?.unwrap_or_default())
            }),
        )
        .route("/forget", get(async |session: Session| session.remove(&NAME)))
        .route("/replace", get(async |session: Session| session.set(&CART, vec![])))
        .route(
            "/flash/{text}",
            get(async |session: Session, Path(text): Path<String>| {
                session.flash(FlashLevel::Info, text);
            }),
        )
        .route("/flashes", get(flashes))
        .route(
            "/order/{id}",
            get(async |session: Session, Path(id): Path<String>| {
                session.attach("order", &BusinessRef::new(id));
            }),
        )
        .route("/whoami", get(whoami))
        .route(
            "/login/{user}",
            get(async |session: Session, Path(user): Path<String>| session.login(user).await),
        )
        .route("/renew", get(async |session: Session| session.renew().await))
        .route("/logout", get(async |session: Session| session.logout().await))
        .route(
            "/logout_and_greet",
            get(async |session: Session| -> Result<(), SessionError> {
                session.logout().await?;
                session.flash(FlashLevel::Info, "bye");
                Ok(())
            }),
        )
        .route(
            "/logout_everywhere",
            get(async |session: Session| -> Answered {
                Ok(session.logout_everywhere().await?.to_string())
            }),
        )
        .route(
            "/reference",
            get(async |session: Session| -> Answered {
                Ok(session.reference().await?.map(|it| it.to_string()).unwrap_or_default())
            }),
        )
        .route(
            "/crash",
            get(async |session: Session| {
                session.add(&VIEWS, 1);
                http::StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .with_state(gate.clone())
}
