//! Sessions in the database that `STANDFAST_TEST_POSTGRES` names.

use standfast_core::testkit::service;
use standfast_session::PostgresSessionHandler;

pub(crate) async fn handler() -> Option<PostgresSessionHandler> {
    let url = service("postgres", "STANDFAST_TEST_POSTGRES")?;
    let handler = PostgresSessionHandler::from_url(&url).expect("a URL");
    handler.migrate().await.expect("the tables are made");
    Some(handler)
}
