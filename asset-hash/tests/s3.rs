//! The program on a bucket of the service that `STANDFAST_TEST_S3` names.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use support::bucket::{Bucket, Counting};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_standfast-asset-hash");

struct World {
    dir: TempDir,
    bucket: Bucket,
}

/// A tree of two files and a prefix with nothing below it.
fn world() -> Option<World> {
    let bucket = Bucket::find()?;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("dist/css")).unwrap();
    let world = World { dir, bucket };
    world.write("dist/css/app.css", "body {}");
    world.write("dist/app.js", "run()");
    Some(world)
}

impl World {
    fn write(&self, path: &str, content: &str) {
        fs::write(self.dir.path().join(path), content).unwrap();
    }

    fn run_at(&self, store: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.dir.path()).args(arguments).env("ASSET_STORE", store);
        command.env_remove("ASSET_COMMIT").output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_at(&self.bucket.url(), arguments)
    }

    fn code(&self, arguments: &[&str]) -> Option<i32> {
        self.run(arguments).status.code()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[tokio::test]
async fn a_deploy_from_build_to_rollback() {
    let Some(world) = world() else { return };
    let publish = ["publish", "dist", "--commit", "v1", "--channel", "production"];
    let tried = world.json(&[&publish[..], &["--dry-run"]].concat());
    assert_eq!(tried["uploaded"].as_u64(), Some(2));
    assert_eq!(world.code(&["resolve", "--commit", "v1"]), Some(3), "it was dry");
    let id = world.text(&publish);
    let again = world.json(&publish);
    assert_eq!((again["new"].as_bool(), again["skipped"].as_u64()), (Some(false), Some(2)));
    let css = world.bucket.blobs().await.head(format!("{id}/css/app.css")).await.unwrap().unwrap();
    assert_eq!(css.attributes.content_type.as_deref(), Some("text/css; charset=utf-8"));
    let cache = css.attributes.cache_control.unwrap();
    assert_eq!(cache, "public, max-age=31536000, immutable");
    assert!(css.sha256.is_some());

    world.write("dist/app.js", "run(2)");
    let second = world.json(&["publish", "dist", "--commit", "v2", "--channel", "production"]);
    assert_eq!((second["uploaded"].as_u64(), second["copied"].as_u64()), (Some(1), Some(1)));
    let base = ["resolve", "--commit", "v2", "--base-url", "https://cdn.example/{id}"];
    let expected = format!("https://cdn.example/{}/", second["id"].as_str().unwrap());
    assert_eq!(world.text(&base), expected);
    for depth in ["listing", "checksums", "contents"] {
        let verify = ["verify", "--channel", "production", "--depth", depth];
        assert_eq!(world.code(&verify), Some(0), "{depth}");
    }
    assert_eq!(world.code(&["verify", "--commit", "v1", "--dir", "dist"]), Some(4));
    assert_eq!(world.json(&["list"])["sets"].as_array().unwrap().len(), 2);

    assert_eq!(world.text(&["rollback", "--channel", "production"]), id);
    assert_eq!(world.text(&["resolve", "--channel", "production"]), id);
    world.text(&["pin", &id, "--reason", "the conference"]);
    assert!(world.text(&["list"]).contains("pinned (the conference)"));
    world.text(&["pin", &id, "--remove"]);
    assert_eq!(world.json(&["gc"])["kept"].as_u64(), Some(2));
    assert_eq!(world.json(&["gc", "--apply"])["kept"].as_u64(), Some(2));
    world.text(&[
        "publish",
        "dist",
        "--commit",
        "v2",
        "--cache-control",
        "no-store",
        "--reprofile",
    ]);
    let key = format!("{}/app.js", second["id"].as_str().unwrap());
    let js = world.bucket.blobs().await.head(key).await.unwrap().unwrap();
    assert_eq!(js.attributes.cache_control.as_deref(), Some("no-store"));
}

#[tokio::test]
async fn what_was_tampered_with_or_is_bound_is_told_by_its_code() {
    let Some(world) = world() else { return };
    let id = world.text(&["publish", "dist", "--commit", "v1"]);
    world.write("dist/app.js", "other");
    world.write("dist/more.js", "");
    let taken = world.run(&["publish", "dist", "--commit", "v1"]);
    let message = String::from_utf8(taken.stderr).unwrap();
    assert_eq!(taken.status.code(), Some(5));
    assert!(message.contains("app.js") && message.contains("more.js"), "{message}");

    let blobs = world.bucket.blobs().await;
    blobs.put(format!("{id}/app.js"), "ruin!").await.unwrap();
    assert_eq!(world.code(&["verify", "--id", &id]), Some(4));
    let marker = format!("sets/{id}.txt");
    let text = String::from_utf8(blobs.get_bytes(&*marker).await.unwrap().to_vec()).unwrap();
    blobs.put(marker, text.replace("app.js", "apq.js")).await.unwrap();
    assert_eq!(world.code(&["resolve", "--commit", "v1"]), Some(4));
    assert_eq!(world.code(&["publish", "dist", "--commit", "v2", "--previous", &id]), Some(4));
    assert_eq!(world.code(&["resolve", "--commit", "v2"]), Some(3), "nothing was bound");
}

#[test]
fn a_bucket_that_is_not_right_is_told_by_its_code() {
    let Some(world) = world() else { return };
    let code = |store: &str, arguments: &[&str]| world.run_at(store, arguments).status.code();
    let publish = ["publish", "dist", "--commit", "v1"];
    let missing = world.bucket.url().replacen(world.bucket.name(), "no-such-bucket", 1);
    for arguments in [&["list"][..], &["resolve", "--commit", "v1"], &publish] {
        let output = world.run_at(&missing, arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {message}");
        assert!(message.contains("ucket"), "{message}");
    }
    let away = world.bucket.at("http://127.0.0.1:1");
    assert_eq!(code(&away, &publish), Some(6));
    for wrong in ["s3://", "s3://id:secret@bucket", "s3://bucket?what=ever"] {
        assert_eq!(code(wrong, &["list"]), Some(2), "{wrong}");
    }
    // whoever may not, may not
    let mut command = Command::new(PROGRAM);
    command.current_dir(world.dir.path()).args(publish).env("ASSET_STORE", world.bucket.url());
    let denied = command.env("AWS_SECRET_ACCESS_KEY", "a guess").output().unwrap();
    let message = String::from_utf8_lossy(&denied.stderr).into_owned();
    assert_eq!(denied.status.code(), Some(1), "{message}");
    assert!(message.contains("denied") && !message.contains("guess"), "{message}");
    assert_eq!(world.code(&["resolve", "--commit", "v1"]), Some(3), "nothing was bound");
}

/// What the service is asked, counted on the wire.
#[test]
fn what_has_not_changed_costs_three_requests_and_one_changed_file_one_upload() {
    let Some(world) = world() else { return };
    for number in 0..998 {
        world.write(&format!("dist/{number}.js"), &format!("file {number}"));
    }
    let counting = Counting::before(&world.bucket.endpoint());
    let store = world.bucket.at(&counting.endpoint);
    let run = |arguments: &[&str]| {
        let output = world.run_at(&store, &[&["--json"], arguments].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        (json, counting.take())
    };
    let (first, asked) = run(&["publish", "dist", "--commit", "v1"]);
    assert_eq!(first["uploaded"].as_u64(), Some(1000), "{first}");
    // the files, the marker, the pointer
    assert_eq!(asked["put"], 1002, "{asked:?}");

    let unchanged = BTreeMap::from([("get".to_owned(), 2), ("put".to_owned(), 1)]);
    let (again, asked) = run(&["publish", "dist", "--commit", "v1"]);
    assert_eq!((again["new"].as_bool(), asked), (Some(false), unchanged.clone()));
    let (again, asked) = run(&["publish", "dist", "--commit", "v2"]);
    assert_eq!((again["new"].as_bool(), asked), (Some(false), unchanged));
    let (_, asked) = run(&["resolve", "--commit", "v2"]);
    assert_eq!(asked, BTreeMap::from([("get".to_owned(), 2)]));

    world.write("dist/500.js", "changed");
    let (changed, asked) = run(&["publish", "dist", "--commit", "v3"]);
    let done = [&changed["uploaded"], &changed["copied"], &changed["skipped"]].map(Value::as_u64);
    assert_eq!(done, [Some(1), Some(999), Some(0)]);
    assert_eq!((asked["put"], asked["copy"]), (3, 999), "{asked:?}");
}
