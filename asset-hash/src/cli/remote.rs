//! Commands on a store.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use standfast_asset_hash::{
    AssetId, Channel, Diff, Manifest, Previous, Profile, Progress, SetName,
};
use standfast_core::{Error, ErrorKind};

use super::args::{Depth, Gc, Publish, Resolve, Rules, Verify};
use super::exit::{DIFFERS, DONE, Failure};
use super::local::read;
use super::open::open;
use super::output::{Output, size};

pub(super) async fn publish(args: Publish, output: &Output) -> Result<u8, Failure> {
    let assets = open(&args.store.url).await?;
    let set = read(&args.dir, &args.rules, output).await?;
    let mut profile = Profile::default();
    // of a bucket, its policy says who may read, and no object differs from it
    if args.private || !assets.store().capabilities().public {
        profile = profile.private();
    }
    if let Some(value) = &args.cache_control {
        profile = profile.cache_control(value);
    }
    for (ending, media) in &args.types {
        profile = profile.media_type(ending, media);
    }
    let previous = match args.previous {
        _ if args.no_copy => Previous::None,
        Some(id) => Previous::Set(id),
        None => Previous::Newest,
    };
    let progress = Progress::new();
    let mut publish = assets
        .publish(&set, &args.commit)
        .concurrency(args.concurrency)
        .previous(previous)
        .profile(profile)
        .progress(progress.clone());
    if let Some(channel) = args.channel.clone() {
        publish = publish.channel(channel);
    }
    if args.rebind {
        publish = publish.rebind();
    }
    if args.reprofile {
        publish = publish.reprofile();
    }
    if args.dry.dry_run {
        publish = publish.dry_run();
    }
    let done = output.watch("publishing", &progress, async { publish.await }).await?;
    let json = json!({
        "id": done.id.to_string(), "digest": done.digest, "commit": args.commit.as_str(),
        "new": done.is_new, "uploaded": done.uploaded, "uploaded_bytes": done.uploaded_bytes,
        "copied": done.copied, "skipped": done.skipped, "dry_run": args.dry.dry_run,
        "other_profile": done.has_other_profile,
        "rebound": done.rebound.map(|id| id.to_string()),
    });
    output.result(json, done.id);
    let would = if args.dry.dry_run { "would be " } else { "" };
    output.note(format!(
        "{} {would}uploaded ({}), {} copied, {} there",
        done.uploaded,
        size(done.uploaded_bytes),
        done.copied,
        done.skipped
    ));
    if done.has_other_profile {
        output.note("the set is there with other headers; --reprofile changes them");
    }
    Ok(DONE)
}

pub(super) async fn resolve(args: Resolve, output: &Output) -> Result<u8, Failure> {
    let assets = open(&args.store.url).await?;
    let name = args.which.name();
    let mut resolve = assets.resolve(name).wait(args.wait);
    if let Some(cache) = &args.cache {
        resolve = resolve.cache(cache);
    }
    let found = output.watch("waiting", &Progress::new(), async { resolve.await }).await?;
    let urls = args.base_url.as_ref().map(|base| found.urls(base)).transpose();
    let urls = urls.map_err(|error| Failure::usage(error.to_string()))?;
    if let (Some(base), Some(count)) = (&args.base_url, args.sample) {
        let checked = assets.verify_via(found.id, base, Some(count), fetch).await?;
        for problem in &checked.problems {
            output.note(problem);
        }
        if !checked.is_sound() {
            return Ok(DIFFERS);
        }
    }
    let base = urls.as_ref().map(|urls| urls.base());
    let json = json!({
        "id": found.id.to_string(), "digest": found.manifest.digest(), "base_url": base,
        "cached": found.is_cached, "tombstone": found.is_tombstoned,
    });
    output.result(json, base.map_or_else(|| found.id.to_string(), str::to_owned));
    if found.is_tombstoned {
        output.note("nothing keeps this set: it will be deleted after the grace period");
    }
    if found.is_cached {
        output.note("the store does not answer: this is what it said last time");
    }
    Ok(DONE)
}

pub(super) async fn verify(args: Verify, output: &Output) -> Result<u8, Failure> {
    let assets = open(&args.store.url).await?;
    let name = args.which.name();
    if let Some(dir) = &args.dir {
        let set = read(dir, &args.rules, output).await?;
        let found = assets.resolve(name).await?;
        return Ok(show(&found.manifest.diff(set.manifest()), output));
    }
    let verified = match &args.via {
        Some(base) => assets.verify_via(name, base, args.sample, fetch).await?,
        None => {
            let progress = Progress::new();
            let depth = match args.depth {
                Depth::Listing => standfast_asset_hash::Depth::Listing,
                Depth::Checksums => standfast_asset_hash::Depth::Checksums,
                Depth::Contents => standfast_asset_hash::Depth::Contents,
            };
            let verify = assets.verify(name).depth(depth).progress(progress.clone());
            output.watch("verifying", &progress, async { verify.await }).await?
        }
    };
    let problems: Vec<String> = verified.problems.iter().map(ToString::to_string).collect();
    let json = json!({
        "id": verified.id.to_string(), "files": verified.files, "bytes": verified.bytes,
        "sound": verified.is_sound(), "problems": problems,
    });
    output.result(json, problems.join("\n"));
    output.note(format!("{} files, {}", verified.files, size(verified.bytes)));
    Ok(if verified.is_sound() { DONE } else { DIFFERS })
}

pub(super) async fn list(url: &str, output: &Output) -> Result<u8, Failure> {
    let inventory = open(url).await?.inventory().await?;
    let mut lines = String::new();
    let mut sets = Vec::new();
    for set in &inventory.sets {
        let commits: Vec<_> = set.commits.iter().map(|commit| commit.as_str()).collect();
        let channels: Vec<_> = set.channels.iter().map(|channel| channel.as_str()).collect();
        sets.push(json!({
            "id": set.id.to_string(), "state": set.state.to_string(), "since": set.since,
            "files": set.files, "bytes": set.bytes, "commits": commits, "channels": channels,
            "pin": set.pin,
        }));
        let since = set.since.format("%Y-%m-%d %H:%M");
        let size = size(set.bytes);
        lines += &format!("{} {:9} {since} {:6} files {size:>10}", set.id, set.state, set.files);
        for channel in channels {
            lines += &format!("  live in {channel}");
        }
        if let Some(reason) = &set.pin {
            lines += &format!("  pinned ({reason})");
        }
        lines += &format!("  {}\n", commits.join(" "));
    }
    let dangling: Vec<_> = inventory.dangling.iter().map(|commit| commit.as_str()).collect();
    for commit in &dangling {
        output.note(format!("commit {commit} names a set that is not there"));
    }
    output.result(json!({ "sets": sets, "dangling": dangling }), lines);
    Ok(DONE)
}

pub(super) async fn gc(args: Gc, output: &Output) -> Result<u8, Failure> {
    let assets = open(&args.store.url).await?;
    let mut gc = assets
        .gc()
        .grace(args.grace)
        .keep_commits_for(args.keep_commits)
        .keep_releases(args.keep_releases)
        .keep(args.keep.iter().copied());
    let is_dry = !args.apply || args.dry_run;
    if is_dry {
        gc = gc.dry_run();
    }
    let done = output.watch("collecting", &Progress::new(), async { gc.await }).await?;
    let lists = [
        ("tombstoned", &done.tombstoned),
        ("waiting", &done.waiting),
        ("revived", &done.revived),
        ("deleted", &done.deleted),
        ("unfinished", &done.unfinished),
        ("broken", &done.broken),
    ];
    let mut json = serde_json::Map::new();
    let mut lines = String::new();
    for (what, ids) in lists {
        let ids: Vec<_> = ids.iter().map(AssetId::to_string).collect();
        ids.iter().for_each(|id| lines += &format!("{what:10} {id}\n"));
        json.insert(what.to_owned(), ids.into());
    }
    json.insert("kept".into(), done.kept.into());
    json.insert("objects".into(), done.objects.into());
    json.insert("bytes".into(), done.bytes.into());
    json.insert("dry_run".into(), is_dry.into());
    output.result(json.into(), lines);
    let would = if is_dry { "would be " } else { "" };
    let (objects, freed) = (done.objects, size(done.bytes));
    output.note(format!("{} sets kept, {objects} objects ({freed}) {would}deleted", done.kept));
    if is_dry {
        output.note("nothing was changed; --apply does it");
    }
    Ok(DONE)
}

pub(super) async fn rollback(
    url: &str,
    channel: &Channel,
    to: Option<AssetId>,
    is_dry: bool,
    output: &Output,
) -> Result<u8, Failure> {
    let assets = open(url).await?;
    let release = if is_dry {
        let releases = assets.releases(channel).await?;
        let mut earlier = releases.into_iter().skip(1);
        let found = earlier.find(|release| to.is_none_or(|to| to == release.id));
        found.ok_or_else(|| {
            let detail = format!("channel {channel} has no such release");
            Error::new(ErrorKind::NotFound, "asset store", "rollback").with_detail(detail)
        })?
    } else {
        assets.rollback(channel, to).await?
    };
    let json = json!({
        "channel": channel.as_str(), "id": release.id.to_string(), "commit": release.commit,
        "released_at": release.at, "dry_run": is_dry,
    });
    output.result(json, release.id);
    let would = if is_dry { "would be" } else { "is" };
    let commit = release.commit.as_deref().unwrap_or("no commit");
    output.note(format!("{channel} {would} at the release of {} for {commit}", release.at));
    Ok(DONE)
}

pub(super) async fn pin(
    url: &str,
    id: AssetId,
    reason: &str,
    remove: bool,
    is_dry: bool,
    output: &Output,
) -> Result<u8, Failure> {
    let assets = open(url).await?;
    match (is_dry, remove) {
        (true, _) => drop(assets.resolve(id).await?),
        (false, true) => assets.unpin(id).await?,
        (false, false) => assets.pin(id, reason).await?,
    }
    let json = json!({ "id": id.to_string(), "pinned": !remove, "dry_run": is_dry });
    output.result(json, "");
    Ok(DONE)
}

pub(super) async fn diff(
    names: [&str; 2],
    store: Option<&str>,
    rules: &Rules,
    output: &Output,
) -> Result<u8, Failure> {
    let old = manifest(names[0], store, rules, output).await?;
    let new = manifest(names[1], store, rules, output).await?;
    Ok(show(&old.diff(&new), output))
}

/// A set by whatever somebody may have of it.
async fn manifest(
    name: &str,
    store: Option<&str>,
    rules: &Rules,
    output: &Output,
) -> Result<Manifest, Failure> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(read(path, rules, output).await?.into_manifest());
    }
    if path.is_file() {
        let json = std::fs::read(path).map_err(|error| Failure::io(name, &error))?;
        return Ok(Manifest::from_json(&json)?);
    }
    let wrong = |error: Error| Failure::usage(format!("{name:?}: {error}"));
    let set: SetName = match name.split_once(':') {
        Some(("commit", commit)) => commit.parse().map(SetName::Commit).map_err(wrong)?,
        Some(("channel", channel)) => channel.parse().map(SetName::Channel).map_err(wrong)?,
        _ => match name.parse() {
            Ok(id) => SetName::Id(id),
            Err(_) => {
                let error = std::io::ErrorKind::NotFound.into();
                return Err(Failure::io(name, &error));
            }
        },
    };
    let store = store.ok_or_else(|| Failure::usage(format!("{name:?} needs --store")))?;
    Ok(open(store).await?.resolve(set).await?.manifest)
}

fn show(diff: &Diff, output: &Output) -> u8 {
    let mut lines = String::new();
    for (sign, paths) in [('+', &diff.added), ('~', &diff.changed), ('-', &diff.removed)] {
        paths.iter().for_each(|path| lines += &format!("{sign} {path}\n"));
    }
    let json = json!({
        "same": diff.is_empty(), "added": diff.added, "changed": diff.changed,
        "removed": diff.removed,
    });
    output.result(json, lines);
    if diff.is_empty() { DONE } else { DIFFERS }
}

/// The bytes at an address.
async fn fetch(url: String) -> standfast_core::Result<Bytes> {
    let get = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().new_agent();
        let failed = |kind, error: ureq::Error| {
            Error::new(kind, "http", "get").with_detail(format!("{url}: {error}"))
        };
        let mut response = agent.get(&url).call().map_err(|error| match error {
            ureq::Error::StatusCode(403 | 404 | 410) => failed(ErrorKind::NotFound, error),
            ureq::Error::StatusCode(400..500) => failed(ErrorKind::Denied, error),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => failed(ErrorKind::Invalid, error),
            _ => failed(ErrorKind::Unavailable, error),
        })?;
        let body = response.body_mut().with_config().limit(1 << 32).read_to_vec();
        Ok(Bytes::from(body.map_err(|error| failed(ErrorKind::Unavailable, error))?))
    });
    get.await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Unexpected, "http", "get").with_source(error))
    })
}

const TIMEOUT: Duration = Duration::from_secs(60);
