//! Logouts, and requests that are under way then.

use std::time::Duration;

use crate::routes::{Gate, routes};
use crate::support::{Browser, Store, serve};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_logout_ends_the_session_and_removes_the_cookie() {
    let browser = Browser::new(serve(Store::default(), routes(&Gate::new())).await);
    browser.read("/login/ada").await;
    let stolen = browser.stolen();
    let answer = browser.get("/logout").await;
    assert!(answer.cookies()[0].starts_with("id=; "), "{answer:?}");
    assert!(answer.cookies()[0].ends_with("; Max-Age=0"), "{answer:?}");
    assert_eq!(stolen.read("/whoami").await, "nobody");
    // what is written after it is another session
    browser.read("/login/ada").await;
    let before = browser.cookie();
    browser.read("/logout_and_greet").await;
    assert_ne!(browser.cookie(), before);
    assert_eq!(browser.read("/whoami").await, "nobody");
    assert_eq!(browser.read("/flashes").await, "bye");
}

#[tokio::test]
async fn a_logout_everywhere_ends_the_others_too() {
    let server = serve(Store::default(), routes(&Gate::new())).await;
    let browsers = [0; 3].map(|_| Browser::new(server));
    let other = Browser::new(server);
    for browser in &browsers {
        browser.read("/login/ada").await;
    }
    other.read("/login/bob").await;
    assert_eq!(browsers[1].read("/logout_everywhere").await, "3");
    for browser in &browsers {
        assert_eq!(browser.read("/whoami").await, "nobody");
    }
    assert_eq!(other.read("/whoami").await, "bob");
}

/// A request that has begun with `path`, and `meanwhile`, before it goes on.
async fn overtaken(path: &'static str, meanwhile: &'static str) -> (Browser, u16, Vec<String>) {
    let gate = Gate::new();
    let browser = Browser::new(serve(Store::default(), routes(&gate)).await);
    browser.read("/buy/tea").await;
    let tab = browser.stolen();
    let slow = tokio::spawn(async move { tab.get(path).await });
    tokio::time::timeout(SOON, gate.arrived.acquire()).await.expect("it arrives").unwrap().forget();
    browser.read(meanwhile).await;
    gate.open.add_permits(1);
    let answer = tokio::time::timeout(SOON, slow).await.expect("it ends").unwrap();
    let cookies = answer.cookies().into_iter().map(str::to_owned).collect();
    (browser, answer.status, cookies)
}

#[tokio::test]
async fn a_request_that_finishes_after_a_logout_brings_nothing_back() {
    let (browser, status, cookies) = overtaken("/slow/buy/milk", "/logout").await;
    assert_eq!((status, cookies), (409, vec![]));
    assert_eq!(browser.read("/cart").await, "");
}

#[tokio::test]
async fn a_request_that_finishes_after_a_login_is_refused_and_takes_no_cookie_away() {
    for path in ["/slow/buy/milk", "/slow/view"] {
        let (browser, status, cookies) = overtaken(path, "/login/ada").await;
        assert_eq!((status, cookies), (409, vec![]), "{path}");
        assert_eq!(browser.read("/whoami").await, "ada");
        assert_eq!(
            (browser.read("/cart").await, browser.read("/views").await),
            ("tea".into(), "0".into())
        );
    }
}

#[tokio::test]
async fn a_request_that_finishes_after_another_one_loses_nothing() {
    let (browser, status, _) = overtaken("/slow/buy/milk", "/buy/bread").await;
    assert_eq!(status, 200);
    assert_eq!(browser.read("/cart").await, "tea,bread,milk");
    let (browser, status, _) = overtaken("/slow/name/Ada", "/buy/bread").await;
    assert_eq!(status, 200);
    assert_eq!(
        (browser.read("/cart").await, browser.read("/name").await),
        ("tea,bread".into(), "Ada".into())
    );
}

#[tokio::test]
async fn a_request_that_finishes_after_a_renewal_loses_nothing() {
    let (browser, status, cookies) = overtaken("/slow/buy/milk", "/renew").await;
    assert_eq!((status, cookies), (200, vec![]));
    assert_eq!(browser.read("/cart").await, "tea,milk");
}
