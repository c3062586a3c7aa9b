//! Publishing, finding, releasing and collecting sets, on the memory store.
#![cfg(feature = "blobstore")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use standfast_asset_hash::{
    AssetStore, AssetTree, Channel, Depth, LocalSet, Previous, Problem, Profile, SetName, SetState,
};
use standfast_blobstore::{Blobs, MemoryBlobStore, Visibility};
use standfast_core::testkit::ManualClock;
use standfast_core::{Error, ErrorKind, Reason};
use support::{Counter, Gated, commit, set};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct World {
    clock: ManualClock,
    counter: Arc<Counter>,
    store: MemoryBlobStore,
    blobs: Blobs,
    assets: AssetStore,
}

fn world() -> World {
    let clock = ManualClock::new();
    let counter = Arc::new(Counter::default());
    let store = MemoryBlobStore::new().with_clock(Arc::new(clock.clone()));
    let gate = Arc::new(Arc::clone(&counter));
    let assets = AssetStore::new(Gated::new(store.clone(), gate));
    World { clock, counter, blobs: Blobs::new(store.clone()), store, assets }
}

impl World {
    async fn keys(&self, prefix: &str) -> Vec<String> {
        self.blobs.list(prefix).map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap()
    }
}

fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

#[tokio::test]
async fn a_set_is_published_with_its_headers_and_found_by_its_commit() {
    let world = world();
    let set = LocalSet::embedded(&[("css/a.css", b"body {}"), ("img/a b.png", b"\x89")]).unwrap();
    let published = world.assets.publish(&set, &commit("v1")).await.unwrap();
    assert!(published.is_new);
    assert_eq!((published.uploaded, published.uploaded_bytes, published.skipped), (2, 8, 0));
    let id = published.id;

    let meta = world.blobs.head(format!("{id}/css/a.css")).await.unwrap().unwrap();
    assert_eq!(meta.visibility, Visibility::Public);
    assert_eq!(meta.attributes.content_type.as_deref(), Some("text/css; charset=utf-8"));
    let cache = meta.attributes.cache_control.unwrap();
    assert_eq!(cache, "public, max-age=31536000, immutable");
    let pointer = world.blobs.get_bytes("commits/v1.txt").await.unwrap();
    assert_eq!(pointer, format!("{id}\n"));
    for key in ["commits/v1.txt".to_owned(), format!("sets/{id}.txt")] {
        let meta = world.blobs.head(key).await.unwrap().unwrap();
        assert_eq!(meta.visibility, Visibility::Private);
        assert_eq!(meta.attributes.cache_control.as_deref(), Some("no-cache"));
    }
    let resolved = world.assets.resolve(commit("v1")).await.unwrap();
    assert_eq!((&resolved.manifest, resolved.is_tombstoned), (set.manifest(), false));
    let missing = world.assets.resolve(commit("v2")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_has_not_changed_costs_at_most_three_requests() {
    let world = world();
    let one = set(1000, &[]);
    world.assets.publish(&one, &commit("v1")).await.unwrap();
    let first = world.counter.take();
    // the pointer and the marker are looked for, and written; what is there is listed, then again;
    // which set was published last is asked
    assert_eq!(first, counts(&[("get", 2), ("list", 3), ("put", 1002)]));

    let again = world.assets.publish(&one, &commit("v1")).await.unwrap();
    assert!(!again.is_new && again.uploaded == 0 && again.skipped == 1000);
    assert_eq!(world.counter.total(), 3, "the same commit");
    world.assets.publish(&one, &commit("v2")).await.unwrap();
    assert_eq!(world.counter.total(), 3, "the same files for another commit");
}

#[tokio::test]
async fn of_a_thousand_files_only_the_changed_one_is_uploaded() {
    let world = world();
    world.assets.publish(&set(1000, &[]), &commit("v1")).await.unwrap();
    world.counter.take();
    let new = set(1000, &[(500, "changed")]);
    let tried = world.assets.publish(&new, &commit("v2")).dry_run().await.unwrap();
    assert_eq!((tried.uploaded, tried.copied), (1, 999));
    assert!(!world.counter.take().contains_key("put"));

    let done = world.assets.publish(&new, &commit("v2")).await.unwrap();
    assert_eq!((done.uploaded, done.copied, done.skipped), (1, 999, 0));
    // the file, the marker, the pointer
    assert_eq!(world.counter.take()["put"], 3);
    let verified = world.assets.verify(commit("v2")).depth(Depth::Contents).await.unwrap();
    assert!(verified.is_sound() && verified.files == 1000);

    let third = set(1000, &[(7, "another")]);
    let publish = world.assets.publish(&third, &commit("v3")).previous(Previous::None);
    assert_eq!(publish.await.unwrap().uploaded, 1000);
}

#[tokio::test]
async fn a_commit_names_one_set_and_what_differs_is_told() {
    let world = world();
    let (one, other) = (set(30, &[]), set(31, &[(3, "x")]));
    world.assets.publish(&one, &commit("v1")).await.unwrap();
    world.counter.take();
    let error = world.assets.publish(&other, &commit("v1")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false));
    let text = error.to_string();
    assert!(text.contains("added: \"js/0030.js\""), "{text}");
    assert!(text.contains("changed: \"js/0003.js\""), "{text}");
    assert_eq!(world.counter.take(), counts(&[("get", 2)]), "nothing was uploaded");

    let done = world.assets.publish(&other, &commit("v1")).rebind().await.unwrap();
    assert_eq!(done.rebound, Some(one.manifest().id()));
    assert_eq!(world.assets.resolve(commit("v1")).await.unwrap().id, other.manifest().id());
}

#[tokio::test]
async fn an_interrupted_publication_is_gone_on_with() {
    let world = world();
    let set = set(10, &[]);
    let id = set.manifest().id();
    for left in [0, 4] {
        let key = format!("{id}/js/{left:04}.js");
        world.blobs.put(key, set.bytes(&format!("js/{left:04}.js")).unwrap()).await.unwrap();
    }
    // not one of ours
    world.blobs.put(format!("{id}/js/0005.js"), "garbage").await.unwrap();
    let done = world.assets.publish(&set, &commit("v1")).await.unwrap();
    assert_eq!((done.uploaded, done.skipped), (8, 2));
    let verified = world.assets.verify(commit("v1")).depth(Depth::Contents).await.unwrap();
    assert_eq!(verified.problems, []);
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_hashed_is_not_published() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    type Change<'a> = &'a dyn Fn(&std::path::Path);
    let other: Change<'_> = &|path| std::fs::write(path, "2").unwrap();
    let longer: Change<'_> = &|path| std::fs::write(path, "longer").unwrap();
    let gone: Change<'_> = &|path| std::fs::remove_file(path).unwrap();
    for change in [other, longer, gone] {
        let path = dir.path().join("a.js");
        std::fs::write(&path, "1").unwrap();
        let set = AssetTree::new(dir.path()).read().unwrap();
        change(&path);
        let error = world.assets.publish(&set, &commit("v1")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ChangedDuringRead));
        assert!(error.is_retryable());
        assert!(world.keys("").await.is_empty(), "nothing was bound");
    }
}

#[tokio::test]
async fn a_marker_that_was_tampered_with_stops_everything() {
    let world = world();
    let set = set(3, &[]);
    world.assets.publish(&set, &commit("v1")).await.unwrap();
    let key = format!("sets/{}.txt", set.manifest().id());
    let text = world.blobs.get_bytes(&*key).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap().replace("0001.js", "0009.js");
    world.blobs.put(&*key, text).await.unwrap();
    for error in [
        world.assets.publish(&set, &commit("v2")).await.unwrap_err(),
        world.assets.resolve(commit("v1")).await.unwrap_err(),
        world.assets.promote(&channel("p"), commit("v1")).await.unwrap_err(),
        world.assets.gc().await.unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::Checksum | ErrorKind::Corrupt), "{error}");
    }
    assert_eq!(world.keys("commits/").await, ["commits/v1.txt"]);
    world.blobs.put("commits/v1.txt", "<html>").await.unwrap();
    assert_eq!(world.assets.resolve(commit("v1")).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn other_headers_are_given_on_request() {
    let world = world();
    let set = set(5, &[]);
    world.assets.publish(&set, &commit("v1")).await.unwrap();
    let profile = Profile::default().media_type("js", "text/plain").cache_control("max-age=60");
    let publish = || world.assets.publish(&set, &commit("v1")).profile(profile.clone());
    assert!(publish().await.unwrap().has_other_profile);
    let given = publish().reprofile().await.unwrap();
    assert!(!given.has_other_profile);
    let key = format!("{}/js/0003.js", given.id);
    let meta = world.blobs.head(&*key).await.unwrap().unwrap();
    assert_eq!(meta.attributes.content_type.as_deref(), Some("text/plain"));
    assert_eq!(meta.attributes.cache_control.as_deref(), Some("max-age=60"));
    assert!(!publish().await.unwrap().has_other_profile);

    let private = Profile::default().private();
    let publish = world.assets.publish(&set, &commit("v1")).profile(private).reprofile();
    publish.await.unwrap();
    let meta = world.blobs.head(key).await.unwrap().unwrap();
    assert_eq!(meta.visibility, Visibility::Private);
}

#[tokio::test(start_paused = true)]
async fn requests_are_repeated_while_that_may_help() {
    let counter = Arc::new(Counter::default());
    let gate = Arc::new(Arc::clone(&counter));
    let assets = AssetStore::new(Gated::new(MemoryBlobStore::new(), gate));
    let set = set(3, &[]);
    let error = |kind| Error::new(kind, "test", "test");
    *counter.before.lock().unwrap() = vec![error(ErrorKind::Unavailable); 4];
    counter.lose_answers_to("put");
    let published = assets.publish(&set, &commit("v1")).await.unwrap();
    assert_eq!(published.id, set.manifest().id());
    assert!(assets.verify(commit("v1")).depth(Depth::Contents).await.unwrap().is_sound());

    *counter.before.lock().unwrap() = vec![error(ErrorKind::Unavailable); 100];
    let error_of = |error: Error| (error.kind(), error.is_retryable());
    let away = assets.resolve(commit("v1")).await.unwrap_err();
    assert_eq!(error_of(away), (ErrorKind::Unavailable, true));
    *counter.before.lock().unwrap() = vec![error(ErrorKind::Denied)];
    let denied = assets.resolve(commit("v1")).await.unwrap_err();
    assert_eq!(error_of(denied), (ErrorKind::Denied, false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_does_not_roll_back_twice() {
    let counter = Arc::new(Counter::default());
    let gate = Arc::new(Arc::clone(&counter));
    let assets = AssetStore::new(Gated::new(MemoryBlobStore::new(), gate));
    let channel = channel("production");
    for (number, text) in ["a", "b", "c"].into_iter().enumerate() {
        let name = commit(&format!("v{number}"));
        assets.publish(&set(1, &[(0, text)]), &name).channel(channel.clone()).await.unwrap();
    }
    assert_eq!(assets.releases(&channel).await.unwrap().len(), 3);
    counter.lose_answers_to("put");
    let release = assets.rollback(&channel, None).await.unwrap();
    assert_eq!(release.commit.as_deref(), Some("v1"));
    assert_eq!(assets.releases(&channel).await.unwrap()[0], release);
}

#[tokio::test]
async fn resolving_waits_and_remembers() {
    let world = world();
    let clock = world.clock.clone();
    let assets = world.assets.clone().with_clock(Arc::new(clock.clone()));
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("assets.json");
    let set = set(3, &[]);

    let waiting = tokio::spawn({
        let (assets, cache) = (assets.clone(), cache.clone());
        async move { assets.resolve(commit("v1")).wait(HOUR).cache(cache).await }
    });
    for _ in 0..20 {
        clock.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    assets.publish(&set, &commit("v1")).await.unwrap();
    clock.advance(Duration::from_secs(5));
    let found = waiting.await.unwrap().unwrap();
    assert!(!found.is_cached && found.id == set.manifest().id());

    // the store is away
    let away = vec![Error::new(ErrorKind::Unavailable, "test", "test"); 100];
    world.counter.before.lock().unwrap().clone_from(&away);
    let ticking = tokio::spawn({
        let clock = clock.clone();
        async move {
            loop {
                clock.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        }
    });
    let found = assets.resolve(commit("v1")).cache(&cache).await.unwrap();
    assert!(found.is_cached && found.manifest == *set.manifest());
    // the answer to another question is none
    world.counter.before.lock().unwrap().clone_from(&away);
    let error = assets.resolve(commit("v2")).cache(&cache).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // nor is there one when the store says that there is no such set
    world.counter.before.lock().unwrap().clear();
    world.blobs.delete("commits/v1.txt").await.unwrap();
    let error = assets.resolve(commit("v1")).cache(&cache).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    ticking.abort();
}

#[tokio::test]
async fn channels_move_on_and_back() {
    let world = world();
    let production = channel("production");
    let none = world.assets.rollback(&production, None).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    let mut ids = Vec::new();
    for (number, text) in ["a", "b", "c"].into_iter().enumerate() {
        let (set, name) = (set(2, &[(0, text)]), commit(&format!("v{number}")));
        let publish = world.assets.publish(&set, &name).channel(production.clone());
        ids.push(publish.await.unwrap().id);
    }
    let live = || async { world.assets.resolve(production.clone()).await.unwrap().id };
    assert_eq!(live().await, ids[2]);
    assert_eq!(world.assets.rollback(&production, None).await.unwrap().id, ids[1]);
    assert_eq!(world.assets.rollback(&production, None).await.unwrap().id, ids[0]);
    assert_eq!(live().await, ids[0]);
    assert!(world.assets.rollback(&production, None).await.is_err(), "there is none before");
    // what was rolled back is no place to roll back to
    world.assets.promote(&production, commit("v2")).await.unwrap();
    assert_eq!(world.assets.rollback(&production, None).await.unwrap().id, ids[0]);
    world.assets.promote(&production, ids[1]).await.unwrap();
    world.assets.promote(&production, ids[1]).await.unwrap();
    assert_eq!(world.assets.releases(&production).await.unwrap().len(), 2);
    world.assets.rollback(&production, Some(ids[0])).await.unwrap();
    assert_eq!(live().await, ids[0]);

    // not to a set whose files are wrong
    let key = format!("{}/js/0000.js", ids[1]);
    world.blobs.put(&*key, "x").await.unwrap();
    let error = world.assets.promote(&production, ids[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checksum);
    world.blobs.delete(key).await.unwrap();
    let error = world.assets.promote(&production, ids[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(live().await, ids[0]);
    let unknown = SetName::from(set(9, &[]).manifest().id());
    assert!(world.assets.promote(&production, unknown).await.is_err());
}

#[tokio::test]
async fn verification_finds_what_is_wrong() {
    let world = world();
    let set = set(10, &[]);
    let id = world.assets.publish(&set, &commit("v1")).await.unwrap().id;
    world.blobs.put(format!("{id}/js/0001.js"), "x".repeat(2)).await.unwrap();
    world.blobs.put(format!("{id}/js/0002.js"), "longer").await.unwrap();
    world.blobs.delete(format!("{id}/js/0003.js")).await.unwrap();
    world.blobs.put(format!("{id}/more.js"), "x").await.unwrap();
    let (content, size) =
        (Problem::Content("js/0001.js".into()), Problem::Size("js/0002.js".into()));
    let (missing, extra) =
        (Problem::Missing("js/0003.js".into()), Problem::Extra("more.js".into()));
    let all = [content, size.clone(), missing.clone(), extra.clone()];
    for depth in [Depth::Checksums, Depth::Contents] {
        assert_eq!(world.assets.verify(id).depth(depth).await.unwrap().problems, all);
    }
    let listing = world.assets.verify(id).depth(Depth::Listing).await.unwrap();
    assert_eq!(listing.problems, [size, missing, extra]);

    // through what serves them
    let blobs = &world.blobs;
    let fetch = |url: String| async move {
        let key = url.strip_prefix("https://cdn/").unwrap().to_owned();
        blobs.get_bytes(key).await
    };
    let via = world.assets.verify_via(id, "https://cdn/{id}", None, fetch).await.unwrap();
    assert_eq!((via.problems, via.files), (all[..3].to_vec(), 10));
    let some = world.assets.verify_via(id, "https://cdn/{id}", Some(2), fetch).await.unwrap();
    assert_eq!((some.files, some.is_sound()), (2, true));
}

#[tokio::test]
async fn what_nothing_keeps_is_collected_after_the_grace_period() {
    let world = world();
    let ids: Vec<_> = {
        let mut ids = Vec::new();
        for (number, text) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            let (set, name) = (set(3, &[(0, text)]), commit(&format!("v{number}")));
            ids.push(world.assets.publish(&set, &name).await.unwrap().id);
        }
        ids
    };
    world.assets.promote(&channel("production"), ids[0]).await.unwrap();
    world.assets.promote(&channel("production"), ids[1]).await.unwrap();
    world.assets.pin(ids[2], "the conference").await.unwrap();
    let gc = || world.assets.gc();
    assert_eq!(gc().await.unwrap().kept, 5, "commits are young");

    world.clock.advance(31 * DAY);
    // whoever publishes it again makes its commit young
    world.assets.publish(&set(3, &[(0, "d")]), &commit("v3")).await.unwrap();
    let now = world.assets.clone().with_clock(Arc::new(world.clock.clone()));
    let tried = now.gc().dry_run().await.unwrap();
    let done = gc().await.unwrap();
    assert_eq!((done.kept, &done.tombstoned), (4, &vec![ids[4]]));
    assert_eq!(tried, done);
    assert_eq!(gc().await.unwrap().waiting, [ids[4]]);
    // it still resolves
    let resolved = world.assets.resolve(commit("v4")).await.unwrap();
    assert!(resolved.is_tombstoned);

    world.clock.advance(8 * DAY);
    let before = world.keys("").await.len();
    let done = gc().await.unwrap();
    assert_eq!((&done.deleted, done.objects), (&vec![ids[4]], 4));
    // the marker, too
    assert_eq!(world.keys("").await.len(), before - 5);
    assert!(world.keys(&format!("{}/", ids[4])).await.is_empty());
    assert_eq!(world.assets.resolve(commit("v4")).await.unwrap_err().kind(), ErrorKind::NotFound);
    for id in &ids[..4] {
        let verified = world.assets.verify(*id).depth(Depth::Contents).await.unwrap();
        assert!(verified.is_sound());
    }

    // without its roots, the rest goes as well; a release that is long past is no root
    world.assets.unpin(ids[2]).await.unwrap();
    world.clock.advance(31 * DAY);
    let done = gc().keep_releases(0).keep([ids[3]]).await.unwrap();
    assert_eq!((done.kept, done.tombstoned.len()), (2, 2));
    // a tombstone is taken back by whoever wants the set
    world.assets.publish(&set(3, &[(0, "a")]), &commit("new")).await.unwrap();
    assert!(!world.assets.resolve(ids[0]).await.unwrap().is_tombstoned);
    world.clock.advance(8 * DAY);
    let done = gc().keep_releases(0).keep([ids[3]]).await.unwrap();
    assert_eq!((done.kept, done.deleted), (3, vec![ids[2]]));
    assert!(gc().grace(HOUR / 2).await.is_err());
}

#[tokio::test]
async fn a_tombstone_that_has_a_root_again_is_revived_by_the_collector() {
    let world = world();
    let id = world.assets.publish(&set(3, &[]), &commit("v1")).await.unwrap().id;
    world.clock.advance(31 * DAY);
    assert_eq!(world.assets.gc().await.unwrap().tombstoned, [id]);
    world.clock.advance(8 * DAY);
    assert_eq!(world.assets.gc().keep([id]).await.unwrap().revived, [id]);
    let inventory = world.assets.inventory().await.unwrap();
    assert_eq!(inventory.sets[0].state, SetState::Live);
}

#[tokio::test]
async fn files_that_nobody_finished_publishing_are_collected() {
    let world = world();
    let set = set(3, &[]);
    let id = set.manifest().id();
    world.blobs.put(format!("{id}/js/0000.js"), "t").await.unwrap();
    world.clock.advance(6 * DAY);
    world.blobs.put(format!("{id}/js/0001.js"), "th").await.unwrap();
    world.clock.advance(2 * DAY);
    assert!(world.assets.gc().await.unwrap().unfinished.is_empty(), "somebody was at it");
    world.clock.advance(8 * DAY);
    let done = world.assets.gc().await.unwrap();
    assert_eq!((done.unfinished, done.objects), (vec![id], 0));
    assert_eq!(world.assets.gc().await.unwrap().waiting, [id]);
    world.clock.advance(2 * HOUR);
    let done = world.assets.gc().await.unwrap();
    assert_eq!((done.deleted, done.objects, done.bytes), (vec![id], 2, 3));
    assert_eq!(world.keys("").await, ["gc/clock.txt"]);
}

#[tokio::test]
async fn the_inventory_shows_what_names_what() {
    let world = world();
    let (one, two) = (set(3, &[]), set(4, &[]));
    for (set, name) in [(&one, "v1"), (&one, "v2"), (&two, "v3")] {
        world.assets.publish(set, &commit(name)).await.unwrap();
        world.clock.advance(HOUR);
    }
    let (one, two) = (one.manifest().id(), two.manifest().id());
    world.assets.promote(&channel("p"), commit("v1")).await.unwrap();
    world.assets.pin(two, "why").await.unwrap();
    let lost = format!("{}\n", set(5, &[]).manifest().id());
    world.blobs.put("commits/lost.txt", lost).await.unwrap();
    let inventory = world.assets.inventory().await.unwrap();
    let shown: Vec<_> = inventory
        .sets
        .iter()
        .map(|set| (set.id, set.files, set.commits.len(), set.channels.len(), set.pin.as_deref()))
        .collect();
    assert_eq!(shown, [(two, 4, 1, 0, Some("why")), (one, 3, 2, 1, None)]);
    assert_eq!(inventory.dangling, [commit("lost")]);
    assert_eq!(inventory.channels[&channel("p")].commit.as_deref(), Some("v1"));
}

#[tokio::test]
async fn where_versions_name_contents_nobody_writes_what_may_be_deleted_in_that_moment() {
    let world = world();
    let gate = Arc::new(support::Open);
    let store = Gated { by_content: true, ..Gated::new(world.store.clone(), gate) };
    let clock = Arc::new(world.clock.clone());
    let assets = AssetStore::new(store).with_clock(clock);
    let set = set(3, &[]);
    let id = assets.publish(&set, &commit("v1")).await.unwrap().id;
    world.clock.advance(31 * DAY);
    assert_eq!(assets.gc().await.unwrap().tombstoned, [id]);
    world.clock.advance(8 * DAY);
    let done = assets.gc().await.unwrap();
    // the pointer, too
    assert_eq!((&done.deleted, done.objects), (&vec![id], 4));
    assert_eq!(assets.resolve(commit("v1")).await.unwrap_err().kind(), ErrorKind::NotFound);

    world.clock.advance(HOUR / 4);
    for publish in
        [assets.publish(&set, &commit("v2")), assets.publish(&set, &commit("v2")).dry_run()]
    {
        let error = publish.await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
        let wait = error.retry_after().unwrap();
        assert!(wait > HOUR / 2 && wait <= HOUR * 3 / 4, "{wait:?}");
    }
    assert_eq!(assets.gc().await.unwrap().waiting, [id]);
    world.clock.advance(HOUR);
    assert_eq!(assets.publish(&set, &commit("v2")).await.unwrap().uploaded, 3);
    assert!(assets.verify(commit("v2")).depth(Depth::Contents).await.unwrap().is_sound());

    // with nobody in between, the marker goes an hour later
    world.clock.advance(31 * DAY);
    assert_eq!(assets.gc().await.unwrap().tombstoned, [id]);
    world.clock.advance(8 * DAY);
    assert_eq!(assets.gc().await.unwrap().deleted, [id]);
    world.clock.advance(HOUR);
    assert_eq!(assets.gc().await.unwrap().deleted, []);
    assert_eq!(world.keys("").await, ["gc/clock.txt"]);
}
