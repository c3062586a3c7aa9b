//! What a request costs: the table of the README, counted on the wire.

use standfast_core::testkit::FaultProxy;
use standfast_session::{Access, Patch, RedisSessionHandler, Rotation, SessionHandler};

use crate::support::{commit, forgetful, handler_in, known, namespace, start};

/// Round trips of each kind of request.
async fn count(proxy: &FaultProxy, handler: &RedisSessionHandler) -> Vec<(&'static str, u64)> {
    let write = Patch::new().set("a", "1").increment("n", 1);
    let (mut counted, mut so_far) = (Vec::new(), proxy.traffic().requests);
    let mut since = |what| {
        let now = proxy.traffic().requests;
        counted.push((what, now - so_far));
        so_far = now;
    };
    let (token, visitor) = start(handler).await;
    since("start");
    known(handler, &visitor).await;
    since("read");
    commit(handler, &visitor, write.clone()).await;
    since("write");
    let _ = handler.touch(&visitor).await.expect("it answers");
    since("touch");
    known(handler, &visitor).await;
    commit(handler, &visitor, write.clone()).await;
    since("read and write");
    let renewed = token.renewed();
    known(handler, &visitor).await;
    let _ =
        handler.rotate(&visitor, &Rotation::renewal(&renewed), &write).await.expect("it answers");
    since("renewal and write");
    let (new, visitor) = (renewed.renewed(), Access::bearer(&renewed));
    known(handler, &visitor).await;
    let _ =
        handler.rotate(&visitor, &Rotation::login(&new, "ada"), &write).await.expect("it answers");
    since("login and write");
    let _ = handler.destroy(&Access::bearer(&new)).await.expect("it answers");
    since("logout");
    counted
}

#[tokio::test]
async fn each_kind_of_request_costs_what_the_readme_says() {
    let Some(server) = forgetful().await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let handler = handler_in(&server.url_by(proxy.port()), &namespace());
    // connected, and the scripts are known
    count(&proxy, &handler).await;
    assert_eq!(
        count(&proxy, &handler).await,
        [
            ("start", 1),
            ("read", 1),
            ("write", 1),
            ("touch", 1),
            ("read and write", 2),
            ("renewal and write", 2),
            ("login and write", 3),
            ("logout", 2),
        ]
    );
}

#[tokio::test]
async fn a_read_is_two_plain_commands() {
    let Some(server) = forgetful().await else { return };
    let handler = handler_in(&server.url(), &namespace());
    let (_, visitor) = start(&handler).await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    known(&handler, &visitor).await;
    let stats = server.command(&["INFO", "commandstats"]).await;
    let mut called: Vec<&str> = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split(",usec").next())
        .collect();
    called.retain(|command| !command.starts_with("config") && !command.starts_with("info"));
    called.sort_unstable();
    assert_eq!(called, ["hgetall:calls=1", "time:calls=1"]);
}
