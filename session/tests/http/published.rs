//! What the tests of tower-sessions ask of every store, of our own layer: its words for the same
//! behaviours, and what is different on purpose.
//!
//! | there | here |
//! |---|---|
//! | `cycle_id` | `renew`, and `login` where somebody logs in |
//! | `flush` | `logout` |
//! | `Expiry::OnSessionEnd`, `OnInactivity` | `is_persistent`, and the timeouts of the layer |
//! | `with_domain` | none: the cookie belongs to its host |

use std::time::Duration;

use standfast_session::http::SessionLayerConfig;
use standfast_session::{SessionToken, Timeouts};

use crate::routes::{Gate, routes};
use crate::support::{Browser, Store, serve, serve_with};

async fn browser() -> Browser {
    Browser::new(serve(Store::default(), routes(&Gate::new())).await)
}

async fn persistent(is_persistent: bool, timeouts: Timeouts) -> Browser {
    let mut config = SessionLayerConfig::default();
    config.is_persistent = is_persistent;
    config.timeouts = timeouts;
    let routes = routes(&Gate::new());
    Browser::new(serve_with(Store::default(), "http://localhost", config, routes).await)
}

/// What the one cookie of an answer says besides its value.
async fn attributes(browser: &Browser, path: &str) -> Vec<String> {
    let answer = browser.get(path).await;
    let cookies = answer.cookies();
    let [cookie] = cookies[..] else { panic!("{path}: {answer:?}") };
    cookie.split("; ").skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn no_session_set() {
    assert!(browser().await.get("/ignore").await.cookies().is_empty());
}

#[tokio::test]
async fn bogus_session_cookie() {
    let browser = browser().await;
    let bogus = format!("id={}", SessionToken::random().expose());
    browser.set_cookie(&bogus);
    browser.read("/name/Ada").await;
    assert_ne!(browser.cookie(), bogus, "an id of ours");
    assert_eq!(browser.read("/name").await, "Ada");
}

#[tokio::test]
async fn malformed_session_cookie() {
    let browser = browser().await;
    browser.set_cookie("id=malformed");
    browser.read("/name/Ada").await;
    assert_ne!(browser.cookie(), "id=malformed");
    assert_eq!(browser.read("/name").await, "Ada");
}

#[tokio::test]
async fn insert_session() {
    let said = attributes(&browser().await, "/name/Ada").await;
    assert_eq!(said, ["Path=/", "HttpOnly", "SameSite=Lax"]);
}

#[tokio::test]
async fn session_max_age() {
    let hour = Duration::from_secs(3600);
    let browser = persistent(true, Timeouts::new(hour / 2, hour)).await;
    assert!(attributes(&browser, "/name/Ada").await.contains(&"Max-Age=3600".to_owned()));
}

#[tokio::test]
async fn get_session() {
    let browser = browser().await;
    browser.read("/name/Ada").await;
    let answer = browser.get("/name").await;
    assert_eq!((answer.body.as_str(), answer.cookies().len()), ("Ada", 0));
}

#[tokio::test]
async fn get_no_value() {
    assert_eq!(browser().await.read("/name").await, "");
}

#[tokio::test]
async fn remove_last_value() {
    let browser = browser().await;
    browser.read("/name/Ada").await;
    browser.read("/forget").await;
    assert_eq!(browser.read("/name").await, "");
    // the session is there all the same
    assert_eq!(browser.read("/reference").await.len(), 32);
}

#[tokio::test]
async fn cycle_session_id() {
    let browser = browser().await;
    browser.read("/name/Ada").await;
    let before = browser.stolen();
    browser.read("/login/ada").await;
    assert_ne!(browser.cookie(), before.cookie());
    assert_eq!(
        (browser.read("/name").await, before.read("/name").await),
        ("Ada".into(), "".into())
    );
}

#[tokio::test]
async fn flush_session() {
    let browser = browser().await;
    browser.read("/name/Ada").await;
    let before = browser.stolen();
    let said = attributes(&browser, "/logout").await;
    assert_eq!(said, ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=0"]);
    assert_eq!(before.read("/name").await, "");
}

/// A cookie is removed by the attributes it was set with, and has no domain, neither time: with one
/// it would be every sibling host's too.
#[tokio::test]
async fn flush_with_domain() {
    let browser = browser().await;
    let mut set = attributes(&browser, "/name/Ada").await;
    set.push("Max-Age=0".into());
    assert_eq!(attributes(&browser, "/logout").await, set);
    assert!(!set.iter().any(|part| part.starts_with("Domain")), "{set:?}");
}

#[tokio::test]
async fn set_expiry() {
    let short = Timeouts::new(Duration::from_millis(500), Duration::from_secs(3600));
    let browser = persistent(false, short).await;
    browser.read("/name/Ada").await;
    let gone = async {
        // to look does not extend it, but a touch after the response may, at most once in a while
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            if browser.read("/name").await.is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it expires");
}

#[tokio::test]
async fn change_expiry_type() {
    for (is_persistent, count) in [(true, 1), (false, 0)] {
        let browser = persistent(is_persistent, Timeouts::default()).await;
        let said = attributes(&browser, "/name/Ada").await;
        let ages = said.iter().filter(|part| part.starts_with("Max-Age=")).count();
        assert_eq!(ages, count, "{said:?}");
    }
}
