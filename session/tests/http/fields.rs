//! Values, flash messages and links through a request.

use crate::routes::{Gate, routes};
use crate::support::{Browser, Store, serve};

async fn browser() -> Browser {
    Browser::new(serve(Store::default(), routes(&Gate::new())).await)
}

#[tokio::test]
async fn what_was_set_is_read_by_the_next_request() {
    let browser = browser().await;
    browser.read("/name/Ada").await;
    assert_eq!(browser.read("/name").await, "Ada");
    browser.read("/forget").await;
    assert_eq!(browser.read("/name").await, "");
    assert_eq!(browser.read("/buy/tea").await, "tea");
    assert_eq!(browser.read("/buy/milk").await, "tea,milk");
    assert_eq!(browser.read("/cart").await, "tea,milk");
}

#[tokio::test]
async fn a_flash_message_is_shown_once() {
    let browser = browser().await;
    browser.read("/flash/one").await;
    browser.read("/flash/two").await;
    browser.read("/views").await;
    assert_eq!(browser.read("/flashes").await, "one,two");
    assert_eq!(browser.read("/flashes").await, "");
}

#[tokio::test]
async fn two_tabs_do_not_swap_their_order_silently() {
    let browser = browser().await;
    browser.read("/order/17").await;
    assert_eq!(browser.get("/order/18").await.status, 409);
}

#[tokio::test]
async fn a_key_that_compares_is_not_set_unread() {
    let browser = browser().await;
    browser.read("/buy/tea").await;
    assert_eq!(browser.get("/replace").await.status, 500);
    assert_eq!(browser.read("/cart").await, "tea");
}

#[tokio::test]
async fn a_login_keeps_the_cart_and_kills_the_old_secret() {
    let browser = browser().await;
    browser.read("/buy/tea").await;
    let planted = browser.stolen();
    let reference = browser.read("/reference").await;
    browser.read("/login/ada").await;
    assert_ne!(browser.cookie(), planted.cookie());
    assert_eq!(
        (browser.read("/whoami").await, browser.read("/cart").await),
        ("ada".into(), "tea".into())
    );
    assert_eq!(
        browser.read("/reference").await,
        reference,
        "jobs that were sent before still know it"
    );
    assert_eq!(planted.read("/whoami").await, "nobody");
    assert_eq!(planted.read("/cart").await, "");
}

#[tokio::test]
async fn a_renewal_leaves_the_old_secret_its_grace() {
    let browser = browser().await;
    browser.read("/view").await;
    let late = browser.stolen();
    browser.read("/renew").await;
    assert_ne!(browser.cookie(), late.cookie());
    late.read("/view").await;
    // a second renewal with the old secret changes nothing and sets no cookie
    assert!(late.get("/renew").await.cookies().is_empty());
    assert_eq!(browser.read("/views").await, "2");
}

#[tokio::test]
async fn a_login_without_a_session_begins_one() {
    let browser = browser().await;
    browser.read("/login/ada").await;
    assert_eq!(browser.read("/whoami").await, "ada");
}
