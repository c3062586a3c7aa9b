//! Store operations, counted.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::testkit::ManualClock;
use standfast_session::{MemorySessionHandler, SessionLimits, Timeouts};

use crate::routes::{Gate, routes};
use crate::support::{Browser, Store, serve};

#[tokio::test]
async fn each_kind_of_request_costs_what_the_documentation_says() {
    let store = Store::default();
    let browser = Browser::new(serve(store.clone(), routes(&Gate::new())).await);
    for (path, operations) in [
        ("/ignore", 0),
        ("/views", 0),
        ("/view", 1),
        ("/ignore", 0),
        ("/views", 1),
        ("/view", 1),
        ("/buy/tea", 2),
        ("/flash/hello", 1),
        ("/flashes", 2),
        ("/flashes", 1),
        ("/login/ada", 1),
        ("/whoami", 1),
        ("/renew", 1),
        ("/logout", 1),
        ("/views", 0),
    ] {
        browser.read(path).await;
        assert_eq!(store.count(), operations, "{path}");
    }
}

#[tokio::test]
async fn a_touch_that_is_due_runs_after_the_response() {
    let clock = ManualClock::new();
    let memory =
        MemorySessionHandler::with_config(SessionLimits::default(), Arc::new(clock.clone()));
    let store = Store { memory, ..Store::default() };
    let browser = Browser::new(serve(store.clone(), routes(&Gate::new())).await);
    browser.read("/view").await;
    browser.read("/views").await;
    assert_eq!(store.count(), 2, "no touch is due");
    // read again and again, it lives on
    for _ in 0..12 {
        clock.advance(Timeouts::default().idle / 4);
        assert_eq!(browser.read("/views").await, "1");
        let touched = async {
            while store.calls.load(std::sync::atomic::Ordering::SeqCst) < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), touched).await.expect("it is touched");
        assert_eq!(store.count(), 2);
    }
}
