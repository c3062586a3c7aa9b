use std::time::{Duration, Instant};

use standfast_core::testkit::RedisCluster;
use standfast_core::testkit::redis::{self, RedisServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn started() -> Option<RedisCluster> {
    RedisCluster::start(RedisServerConfig::default()).await
}

async fn slot_of(cluster: &RedisCluster, key: &str) -> u16 {
    cluster.command(&["CLUSTER", "KEYSLOT", key]).await.parse().unwrap()
}

#[tokio::test]
async fn a_started_cluster_is_whole_on_every_node() {
    let began = Instant::now();
    let Some(cluster) = started().await else { return };
    println!("the cluster was ready after {:?}", began.elapsed());
    for node in cluster.nodes() {
        let info = node.command(&["CLUSTER", "INFO"]).await;
        assert!(info.contains("cluster_state:ok"), "{info}");
        assert!(info.contains("cluster_known_nodes:6"), "{info}");
        // three times a primary and its replica
        let slots = node.command(&["CLUSTER", "SLOTS"]).await;
        for port in cluster.ports() {
            assert!(slots.lines().any(|line| line == port.to_string()), "{slots}");
        }
    }
    for number in 0..50 {
        let (key, value) = (format!("key {number}"), number.to_string());
        cluster.command(&["SET", &key, &value]).await;
        assert_eq!(cluster.command(&["GET", &key]).await, value);
    }
}

#[tokio::test]
async fn a_slot_moves_with_its_keys() {
    let Some(cluster) = started().await else { return };
    for number in 0..250 {
        cluster.command(&["SET", &format!("{{tag}}{number}"), "value"]).await;
    }
    let slot = slot_of(&cluster, "{tag}").await;
    let from = cluster.node_of_slot(slot).await;
    let to = cluster.node_of_slot((slot + 5461) % 16_384).await;
    assert_ne!(from.port(), to.port());

    cluster.begin_migration(slot, to).await;
    cluster.migrate_key("{tag}7", from, to).await;
    let error = from.try_command(&["GET", "{tag}7"]).await.unwrap_err();
    assert_eq!(error, format!("ASK {slot} {}", to.address()));
    let error = from.try_command(&["MGET", "{tag}7", "{tag}8"]).await.unwrap_err();
    assert!(error.starts_with("TRYAGAIN "), "{error}");

    cluster.finish_migration(slot, to).await;
    assert_eq!(cluster.node_of_slot(slot).await.port(), to.port());
    let error = from.try_command(&["GET", "{tag}7"]).await.unwrap_err();
    assert_eq!(error, format!("MOVED {slot} {}", to.address()));
    assert_eq!(to.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).await, "250");
    cluster.await_ready().await;

    // and back
    cluster.migrate_slot(slot, from).await;
    assert_eq!(from.command(&["GET", "{tag}249"]).await, "value");
}

#[tokio::test]
async fn a_replica_takes_over_from_a_killed_primary_which_comes_back_as_its_replica() {
    let Some(cluster) = started().await else { return };
    cluster.command(&["SET", "key", "before"]).await;
    let slot = slot_of(&cluster, "key").await;
    let replica = cluster.replicas_of_slot(slot).await[0];
    let began = Instant::now();
    let killed = cluster.kill_master_of(slot).await;
    cluster.await_ready().await;
    println!("the replica had taken over after {:?}", began.elapsed());
    assert_eq!(cluster.node_of_slot(slot).await.port(), replica.port());
    cluster.command(&["SET", "key", "after"]).await;

    killed.restart().await;
    cluster.await_ready().await;
    let replicas = cluster.replicas_of_slot(slot).await;
    assert_eq!(replicas.iter().map(|node| node.port()).collect::<Vec<_>>(), [killed.port()]);
}

#[tokio::test]
async fn a_replica_takes_over_when_told_to_and_when_its_primary_is_paused() {
    let mut config = RedisServerConfig::default();
    config.password = Some("a b".to_owned());
    let Some(cluster) = RedisCluster::start(config).await else { return };
    let before = cluster.node_of_slot(0).await;
    let after = cluster.failover(0).await;
    assert_ne!(before.port(), after.port());
    assert_eq!(cluster.node_of_slot(0).await.port(), after.port());

    // with a password, slots move too
    let to = cluster.node_of_slot(16_383).await;
    let key = cluster.command(&["SET", "{06S}", "value"]).await;
    assert_eq!((key.as_str(), slot_of(&cluster, "{06S}").await), ("OK", 0));
    cluster.migrate_slot(0, to).await;
    assert_eq!(to.command(&["GET", "{06S}"]).await, "value");

    after.pause();
    cluster.await_ready().await;
    assert_ne!(cluster.node_of_slot(1).await.port(), after.port());
    after.resume();
    cluster.await_ready().await;
}

#[tokio::test]
async fn a_restarted_cluster_is_whole_again() {
    let Some(cluster) = started().await else { return };
    let ports = cluster.ports();
    cluster.kill();
    cluster.try_command(&["GET", "key"]).await.unwrap_err();
    cluster.restart().await;
    assert_eq!(cluster.ports(), ports);
    cluster.command(&["SET", "key", "value"]).await;
}

#[tokio::test]
async fn behind_proxies_the_topology_names_the_proxies() {
    let Some(cluster) = RedisCluster::start_behind_proxies(RedisServerConfig::default()).await
    else {
        return;
    };
    for node in cluster.nodes() {
        let slots = node.command(&["CLUSTER", "SLOTS"]).await;
        for proxy in cluster.proxies() {
            assert!(slots.lines().any(|line| line == proxy.port().to_string()), "{slots}");
            assert!(cluster.url().contains(&proxy.port().to_string()));
        }
    }
    for proxy in cluster.proxies() {
        proxy.refuse();
        proxy.freeze();
    }
    let mut stream = TcpStream::connect(cluster.proxies()[0].address()).await;
    assert!(stream.is_err(), "{stream:?}");
    // the test itself goes past them
    cluster.command(&["SET", "key", "value"]).await;
    for proxy in cluster.proxies() {
        proxy.pass();
    }
    stream = TcpStream::connect(cluster.proxies()[0].address()).await;
    let mut stream = stream.unwrap();
    let waited = timeout(Duration::from_millis(100), stream.read_u8()).await;
    assert!(waited.is_err(), "{waited:?}");

    let killed = cluster.kill_master_of(0).await;
    cluster.await_ready().await;
    killed.restart().await;
    cluster.await_ready().await;
    let slots = cluster.command(&["CLUSTER", "SLOTS"]).await;
    assert!(!slots.lines().any(|line| line == killed.port().to_string()), "{slots}");
}

#[tokio::test]
async fn a_shared_cluster_is_one() {
    let Some(cluster) = redis::cluster() else { return };
    assert!(cluster.url().starts_with("redis+cluster://"));
    for number in 0..10 {
        let key = format!("shared:{number}:{}", std::process::id());
        cluster.command(&["SET", &key, "value", "EX", "60"]).await;
        assert_eq!(redis::cluster().unwrap().command(&["GET", &key]).await, "value");
    }
}
