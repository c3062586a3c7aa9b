//! What goes out as a cookie, and what comes in as one.

use std::sync::Arc;

use standfast_session::http::SessionLayerConfig;
use standfast_session::{SessionHandlerExt, SessionInit, SessionToken};

use crate::routes::{Gate, routes};
use crate::support::{Browser, Store, ask, serve, serve_with};

#[tokio::test]
async fn the_first_write_sets_a_cookie_and_nothing_else_does() {
    let server = serve(Store::default(), routes(&Gate::new())).await;
    let browser = Browser::new(server);
    for path in ["/ignore", "/views", "/cart", "/flashes", "/whoami", "/logout"] {
        assert!(browser.get(path).await.cookies().is_empty(), "{path}");
    }
    let first = browser.get("/view").await;
    let [cookie] = first.cookies()[..] else { panic!("{first:?}") };
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");
    assert!(pair.strip_prefix("id=").unwrap().parse::<SessionToken>().is_ok());
    assert!(first.head.contains("cache-control: no-store"), "{}", first.head);
    assert!(browser.get("/view").await.cookies().is_empty(), "it has one");
    assert_eq!(browser.read("/views").await, "2");
}

#[tokio::test]
async fn under_https_the_cookie_is_bound_to_its_host() {
    let mut config = SessionLayerConfig::default();
    config.is_persistent = true;
    let routes = routes(&Gate::new());
    let server = serve_with(Store::default(), "https://shop.example", config, routes).await;
    let answer = ask(server, "/view", b"").await;
    let cookie = answer.cookies()[0].to_owned();
    assert!(cookie.starts_with("__Host-id="), "{cookie}");
    let end = "; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=28800";
    assert!(cookie.ends_with(end), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(ask(server, "/views", pair.as_bytes()).await.body, "1");
    // without the prefix it could come from a sibling host
    let bare = pair.trim_start_matches("__Host-");
    assert_eq!(ask(server, "/views", bare.as_bytes()).await.body, "0");
}

#[tokio::test]
async fn a_cookie_that_is_none_of_ours_is_nobodys_and_never_adopted() {
    let store = Store::default();
    let server = serve(store.clone(), routes(&Gate::new())).await;
    let good = store.memory.start(&SessionInit::new()).await.unwrap().token;
    let (unknown, forged) = (SessionToken::random().expose(), good.renewed().expose());
    let good = good.expose();
    for bad in [
        String::new(),
        "x".into(),
        good[..64].into(),
        format!("{good}0"),
        good.to_uppercase(),
        "a".repeat(10_000),
        "é".repeat(32),
        unknown.clone(),
    ] {
        let cookie = format!("id={bad}");
        let answer = ask(server, "/views", cookie.as_bytes()).await;
        assert_eq!((answer.status, &*answer.body), (200, "0"), "{bad}");
        let answer = ask(server, "/view", cookie.as_bytes()).await;
        assert_eq!(answer.status, 200, "{bad}");
        let given = answer.cookies()[0].split(';').next().unwrap();
        let given: SessionToken = given.strip_prefix("id=").unwrap().parse().unwrap();
        assert!(!unknown.starts_with(&given.session().to_string()), "{bad}");
    }
    // a reference that leaked does not log in, and its session stays as it was
    let cookie = format!("id={forged}");
    let answer = ask(server, "/views", cookie.as_bytes()).await;
    assert_eq!((answer.status, &*answer.body), (200, "0"));
    assert_eq!(ask(server, "/view", cookie.as_bytes()).await.status, 409);
    let fine = format!("theme=\u{e9}; id={good}");
    assert_eq!(ask(server, "/views", fine.as_bytes()).await.body, "0");
    assert_eq!(ask(server, "/view", fine.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_stale_cookie_is_not_removed_since_another_response_may_have_set_a_fresh_one() {
    let server = serve(Store::default(), routes(&Gate::new())).await;
    let browser = Browser::new(server);
    browser.read("/view").await;
    let late = browser.stolen();
    browser.read("/login/ada").await;
    let answer = late.get("/views").await;
    assert_eq!((answer.status, &*answer.body), (200, "0"));
    assert!(answer.cookies().is_empty(), "{answer:?}");
    let answer = late.get("/view").await;
    assert_eq!(answer.status, 409);
    assert!(answer.cookies().is_empty(), "{answer:?}");
    assert_eq!(browser.read("/whoami").await, "ada");
}

#[tokio::test]
async fn an_eager_layer_puts_verified_references_only_where_others_look() {
    use axum::extract::Request;
    use standfast_core::{Context, SessionRef};

    let store = Store::default();
    let mut config = SessionLayerConfig::default();
    config.is_eager = true;
    let look = axum::routing::get(async |request: Request| {
        let session = request.extensions().get::<SessionRef>().copied();
        let context = request.extensions().get::<Context>().unwrap();
        assert_eq!(context.session, session);
        assert!(context.request_id.is_some());
        session.map(|session| session.to_string()).unwrap_or_default()
    });
    let routes = axum::Router::new().route("/", look);
    let server = serve_with(store.clone(), "http://localhost", config, routes).await;
    let token = Arc::new(store.memory.start(&SessionInit::new()).await.unwrap().token);
    let seen = async |token: &SessionToken| {
        ask(server, "/", format!("id={}", token.expose()).as_bytes()).await.body
    };
    assert_eq!(seen(&token).await, token.session().to_string());
    assert_eq!(seen(&token.renewed()).await, "");
    assert_eq!(seen(&SessionToken::random()).await, "");
    assert_eq!(ask(server, "/", b"").await.body, "");
}

/// With a public URL of http, what real clients do: the cookie comes back to the same host, and
/// whoever keeps it knows that scripts must not see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_keeps_the_cookie_of_an_http_url() {
    use std::io::Write as _;

    let curl = || tokio::process::Command::new("curl");
    if curl().arg("--version").output().await.is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: curl_keeps_the_cookie needs curl");
        return;
    }
    let server = serve(Store::default(), routes(&Gate::new())).await;
    let jar = std::env::temp_dir().join(format!("standfast-{}", standfast_core::Id128::random()));
    let ask = async |path: &str| {
        let url = format!("http://localhost:{}{path}", server.port());
        let mut command = curl();
        command.args(["--silent", "--show-error", "--fail", "--ipv4", "--noproxy", "*"]);
        let answer =
            command.arg("-b").arg(&jar).arg("-c").arg(&jar).arg(url).output().await.unwrap();
        assert!(answer.status.success(), "{path}: {answer:?}");
        String::from_utf8(answer.stdout).unwrap()
    };
    ask("/buy/tea").await;
    assert_eq!(ask("/buy/milk").await, "tea,milk");
    let kept = std::fs::read_to_string(&jar).unwrap();
    let line = kept.lines().find(|line| line.contains("\tid\t")).expect("it is kept");
    let parts: Vec<&str> = line.split('\t').collect();
    // host only, every path, not for https alone, until the browser ends
    assert_eq!(parts[..5], ["#HttpOnly_localhost", "FALSE", "/", "FALSE", "0"]);
    ask("/logout").await;
    assert_eq!(ask("/cart").await, "");
    assert!(!std::fs::read_to_string(&jar).unwrap().contains("\tid\t"), "it is taken away");
    std::fs::remove_file(&jar).unwrap();
}
