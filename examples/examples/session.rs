//! A session in axum: a cart that two tabs fill at once, a counter, a message shown once.
//!
//! ```sh
//! cargo run -p standfast-examples --example session
//! curl -b jar -c jar -d tea -X POST http://127.0.0.1:8090/
//! ```

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use standfast_core::BoxError;
use standfast_session::http::{Session, SessionError, SessionLayer};
use standfast_session::{FlashLevel, Key, MemorySessionHandler};
use tokio::net::TcpListener;

const CART: Key<Vec<String>> = Key::cas("cart"); // a second writer is told of the first
const VIEWS: Key<i64> = Key::counter("views"); // both writers are added

async fn show(session: Session) -> Result<String, SessionError> {
    session.add(&VIEWS, 1);
    let cart = session.get(&CART).await?.unwrap_or_default();
    let (views, told) = (session.get(&VIEWS).await?, session.take_flashes().await?);
    let told: Vec<_> = told.into_iter().map(|flash| flash.text).collect();
    Ok(format!("cart {cart:?}, view {}, told {told:?}\n", views.unwrap_or_default()))
}

async fn add(session: Session, item: String) -> Result<Redirect, SessionError> {
    session.flash(FlashLevel::Success, format!("{item} added"));
    session.update(&CART, move |cart| cart.push(item.clone())).await?;
    Ok(Redirect::to("/")) // all of it is stored before this goes out
}

pub(crate) fn app(public_url: &str) -> Result<Router, BoxError> {
    let sessions = SessionLayer::new(MemorySessionHandler::new(), public_url)?;
    Ok(Router::new().route("/", get(show).post(add)).layer(sessions))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:8090").await?;
    axum::serve(listener, app("http://127.0.0.1:8090")?).await?;
    Ok(())
}
