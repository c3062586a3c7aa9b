//! The program: what it prints, and with which code it ends.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_standfast-asset-hash");

struct World {
    dir: TempDir,
    store: String,
}

/// A tree `dist` and an empty store beside it.
fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("dist/css")).unwrap();
    fs::create_dir(dir.path().join("store")).unwrap();
    fs::write(dir.path().join("dist/css/app.css"), "body {}").unwrap();
    fs::write(dir.path().join("dist/app.js"), "run()").unwrap();
    let store = format!("file://{}/store", dir.path().display());
    World { dir, store }
}

impl World {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.dir.path()).args(arguments).env("ASSET_STORE", &self.store);
        command.env_remove("ASSET_COMMIT").output().unwrap()
    }

    fn code(&self, arguments: &[&str]) -> i32 {
        let output = self.run(arguments);
        assert!(output.status.success() || !output.stderr.is_empty() || !output.stdout.is_empty());
        output.status.code().unwrap()
    }

    /// The result as text, without the line's end.
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).unwrap();
    }

    /// How many commits are bound.
    fn bound(&self) -> usize {
        fs::read_dir(self.path("store/commits%")).map_or(0, Iterator::count)
    }
}

#[test]
fn a_deploy_from_build_to_rollback() {
    let world = world();
    let id = world.text(&["hash", "dist", "--manifest", "v1.json"]);
    assert_eq!(id.len(), 40);
    let publish = ["publish", "dist", "--commit", "v1", "--channel", "production"];
    let tried = world.json(&[&publish[..], &["--dry-run"]].concat());
    assert_eq!((tried["uploaded"].as_u64(), world.bound()), (Some(2), 0));
    assert_eq!(world.text(&publish), id);
    let again = world.json(&publish);
    assert_eq!((again["new"].as_bool(), again["skipped"].as_u64()), (Some(false), Some(2)));

    world.write("dist/app.js", "run(2)");
    let second = world.json(&["publish", "dist", "--commit", "v2", "--channel", "production"]);
    assert_eq!((second["uploaded"].as_u64(), second["copied"].as_u64()), (Some(1), Some(1)));
    let base = ["resolve", "--commit", "v2", "--base-url", "https://cdn.example/{id}"];
    let expected = format!("https://cdn.example/{}/", second["id"].as_str().unwrap());
    assert_eq!(world.text(&base), expected);

    let listed = world.json(&["list"]);
    assert_eq!(listed["sets"].as_array().unwrap().len(), 2);
    assert!(world.text(&["list"]).contains("live in production"));
    assert_eq!(world.text(&["diff", "v1.json", "v1.json"]), "");
    let diff = world.run(&["diff", "v1.json", "commit:v2"]);
    assert_eq!((diff.status.code(), &*diff.stdout), (Some(4), &b"~ app.js\n"[..]));
    assert_eq!(world.code(&["verify", "--commit", "v2", "--dir", "dist"]), 0);
    assert_eq!(world.code(&["verify", "--commit", "v1", "--dir", "dist"]), 4);
    assert_eq!(world.code(&["verify", "--channel", "production", "--depth", "contents"]), 0);

    let rollback = ["rollback", "--channel", "production"];
    assert_eq!(world.text(&[&rollback[..], &["--dry-run"]].concat()), id);
    assert_eq!(world.text(&rollback), id);
    assert_eq!(world.text(&["resolve", "--channel", "production"]), id);
    assert_eq!(world.code(&rollback), 3, "there is nothing before");

    world.text(&["pin", &id, "--reason", "the conference"]);
    let collected = world.json(&["gc"]);
    assert_eq!((collected["kept"].as_u64(), collected["dry_run"].as_bool()), (Some(2), Some(true)));
    assert_eq!(world.json(&["gc", "--apply"])["dry_run"].as_bool(), Some(false));
    world.text(&["pin", &id, "--remove"]);
    assert_eq!(world.code(&["pin", &id, "--remove"]), 3);
}

#[test]
fn formats_and_integrity_are_those_of_other_tools() {
    let world = world();
    let dist = world.path("dist");
    let tool = |script: &str| {
        let output = Command::new("sh").args(["-c", script]).current_dir(&dist).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let sums = world.text(&["hash", "dist", "--format", "sha256sum"]);
    assert_eq!(sums, tool("sha256sum app.js css/app.css"));
    let git = tool("git init -q && git -c core.fileMode=false add -A && git write-tree");
    assert_eq!(world.text(&["hash", "dist", "--format", "git-tree"]), git);
    fs::remove_dir_all(dist.join(".git")).unwrap();
    assert!(world.text(&["hash", "dist", "--format", "h1"]).starts_with("h1:"));
    assert_eq!(world.code(&["hash", "dist", "--format", "h1", "--include", "*.js"]), 1);

    let sri = world.text(&["sri", "dist/app.js", "--algorithm", "sha384"]);
    // as `openssl dgst -sha384 -binary | base64` gives it
    let known = "SVfatnSJinMW2kaY0tNr8GWYTbuLjipKiHfYDnLbPSlyVycMxOEHwtGmEAbxJXc1";
    assert_eq!(sri, format!("sha384-{known}  dist/app.js"));
    assert_eq!(world.text(&["sri", "dist"]).lines().count(), 2);
}

#[test]
fn what_is_printed_is_for_people_or_for_programs() {
    let world = world();
    let output = world.run(&["hash", "dist"]);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(notes, "2 files, 12 B\n", "no progress in a pipe");
    assert!(world.run(&["--quiet", "hash", "dist"]).stderr.is_empty());
    let error = world.json(&["hash", "missing"]);
    assert_eq!(error["error"]["exit_code"].as_u64(), Some(3));
    assert_eq!(error["error"]["kind"].as_str(), Some("not found"));
    let help = world.text(&["--help"]);
    assert!(help.contains("Exit codes:") && help.contains("5  conflict"));
    for command in ["hash", "publish", "resolve", "verify", "list", "gc", "rollback", "pin"] {
        assert!(help.contains(command));
        assert!(world.text(&[command, "--help"]).contains("Usage:"));
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(world.text(&["completions", shell]).contains("rollback"));
    }
    // the way a shell asks for what `standfast-asset-hash ro` may become
    world.write("completions", &world.text(&["completions", "bash"]));
    let asked = "source ./completions; COMP_WORDS=(standfast-asset-hash ro); COMP_CWORD=1; \
                 eval \"$(complete -p standfast-asset-hash | sed 's/.*-F \\([^ ]*\\).*/\\1/') \
                 standfast-asset-hash ro standfast-asset-hash\"; echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash").args(["-c", asked]).current_dir(world.dir.path()).output();
    assert_eq!(&*bash.unwrap().stdout, b"rollback\n");
    // on a terminal, what takes longer than a moment shows how far it is
    fs::write(world.path("dist/large"), vec![0; 300 << 20]).unwrap();
    let shown = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{PROGRAM} hash --threads 1 {}", world.path("dist").display()))
        .arg("/dev/null")
        .output()
        .expect("this test needs script, of util-linux");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("hashing ["), "{shown:?}");
}

#[test]
fn a_wrong_command_line_is_told_from_a_wrong_input() {
    let world = world();
    for wrong in [
        &["bogus"][..],
        &["hash"],
        &["hash", "dist", "--include", "a["],
        &["publish", "dist", "--commit", "../x"],
        &["publish", "dist"],
        &["resolve"],
        &["resolve", "--commit", "a", "--channel", "b"],
        &["resolve", "--commit", "v1", "--wait", "soon"],
        &["list", "--store", "ftp://host/x"],
        &["list", "--store", "file://host/x"],
        &["pin", "no-id"],
        &["gc", "--apply", "--dry-run"],
    ] {
        assert_eq!(world.code(wrong), 2, "{wrong:?}");
    }
    assert_eq!(world.code(&["gc", "--grace", "5s"]), 1);
    world.text(&["publish", "dist", "--commit", "v1"]);
    let base = ["resolve", "--commit", "v1", "--base-url", "https://cdn.example/"];
    assert_eq!(world.code(&base), 2, "without a place for the id");
}

type Spoil = fn(&World);

/// Everything that is wrong with a tree ends with its code, and nothing is bound.
#[test]
fn a_tree_that_cannot_be_a_set_is_refused_and_nothing_is_bound() {
    let non_utf8: Spoil = |world| {
        let name = OsStr::from_bytes(b"\xff.js");
        fs::write(world.path("dist").join(name), "").unwrap();
    };
    let table: [(&str, Spoil, i32); 9] = [
        ("cycle", |world| symlink("..", world.path("dist/css/up")).unwrap(), 1),
        ("own link", |world| symlink("self", world.path("dist/self")).unwrap(), 1),
        ("escape", |world| symlink("../../etc", world.path("dist/out")).unwrap(), 1),
        ("not UTF-8", non_utf8, 1),
        ("control character", |world| world.write("dist/a\nb", ""), 1),
        (
            "one name in NFC",
            |world| {
                world.write("dist/e\u{301}", "");
                world.write("dist/\u{e9}", "");
            },
            1,
        ),
        ("one name without case", |world| world.write("dist/APP.js", ""), 1),
        (
            "a socket",
            |world| {
                std::os::unix::net::UnixListener::bind(world.path("dist/socket")).unwrap();
            },
            1,
        ),
        ("no directory", |world| fs::remove_dir_all(world.path("dist")).unwrap(), 3),
    ];
    for (what, spoil, code) in table {
        let world = world();
        spoil(&world);
        assert_eq!(world.code(&["publish", "dist", "--commit", "v1"]), code, "{what}");
        assert_eq!(world.bound(), 0, "{what}");
    }
    let world = world();
    world.write("dist/APP.js", "");
    world.text(&["publish", "dist", "--commit", "v1", "--allow-case-collisions"]);
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let world = world();
    let secret = world.path("dist/secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let publish = ["publish", "dist", "--commit", "v1"];
    // root reads everything
    let output = if fs::metadata(&secret).unwrap().uid() == 0 {
        for (dir, mode) in [(".", 0o755), ("dist", 0o755), ("store", 0o777)] {
            fs::set_permissions(world.path(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", PROGRAM]).args(publish);
        command.current_dir(world.dir.path()).env("ASSET_STORE", &world.store);
        command.output().expect("this test needs setpriv, of util-linux")
    } else {
        world.run(&publish)
    };
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("denied") && message.contains("secret"), "{message}");
    assert_eq!(world.bound(), 0);
}

#[test]
fn a_file_that_changes_meanwhile_is_a_reason_to_try_again() {
    let world = world();
    let large = world.path("dist/large");
    fs::write(&large, vec![0; 64 << 20]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut file = fs::File::options().write(true).open(large).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.rewind().unwrap();
                file.write_all(b"x").unwrap();
            }
        }
    });
    let code = world.code(&["publish", "dist", "--commit", "v1"]);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!((code, world.bound()), (6, 0));
}

#[test]
fn a_store_that_is_not_right_is_told_by_its_code() {
    let world = world();
    assert_eq!(world.code(&["list", "--store", "file:///nowhere/at/all"]), 3);
    assert!(!Path::new("/nowhere").exists(), "a typing error makes no store");
    assert_eq!(world.code(&["resolve", "--commit", "v1"]), 3);
    assert_eq!(world.code(&["resolve", "--commit", "v1", "--wait", "1s"]), 3);

    let id = world.text(&["publish", "dist", "--commit", "v1"]);
    world.write("dist/app.js", "other");
    world.write("dist/more.js", "");
    let taken = world.run(&["publish", "dist", "--commit", "v1"]);
    let message = String::from_utf8(taken.stderr).unwrap();
    assert_eq!((taken.status.code(), world.bound()), (Some(5), 1));
    assert!(message.contains("app.js") && message.contains("more.js"), "{message}");
    world.text(&["publish", "dist", "--commit", "v1", "--rebind"]);

    // through the store, so that only the digest of the manifest can tell
    tamper(&world, &format!("sets/{id}.txt"), "app.js", "apq.js");
    assert_eq!(world.code(&["resolve", "--id", &id]), 4);
    let verify = ["verify", "--id", &id];
    assert_eq!(world.code(&verify), 4);

    let id = world.text(&["hash", "dist"]);
    tamper(&world, &format!("{id}/app.js"), "other", "othex");
    assert_eq!(world.code(&["verify", "--id", &id]), 4);
    let found = world.json(&["verify", "--id", &id, "--depth", "contents"]);
    assert_eq!(found["problems"][0].as_str(), Some("\"app.js\" has other bytes"));
}

/// Replaces text in a blob of the store.
fn tamper(world: &World, key: &str, old: &str, new: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = standfast_blobstore::FsBlobStore::open(world.path("store")).await.unwrap();
        let blobs = standfast_blobstore::Blobs::new(store);
        let text = blobs.get_bytes(key).await.unwrap().to_vec();
        let text = String::from_utf8(text).unwrap().replace(old, new);
        blobs.put(key, text).await.unwrap();
    });
}

#[test]
fn what_a_server_serves_is_compared_with_the_set() {
    let world = world();
    let id = world.text(&["publish", "dist", "--commit", "v1"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/{{id}}/", listener.local_addr().unwrap());
    let root = world.path("dist");
    // a server that knows what lies in the tree, and one file of it wrong
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap().trim_start_matches('/');
            let (set, path) = path.split_once('/').unwrap();
            assert_eq!(set, id);
            let mut body = fs::read(root.join(path)).unwrap();
            if path == "app.js" {
                body[0] = b'X';
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    let output = world.run(&["verify", "--commit", "v1", "--via", &base]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(&*output.stdout, b"\"app.js\" has other bytes\n");
    let resolve = ["resolve", "--commit", "v1", "--base-url", &base, "--sample", "2"];
    assert_eq!(world.code(&resolve), 4);
    let nobody = ["verify", "--commit", "v1", "--via", "http://127.0.0.1:1/{id}/"];
    assert_eq!(world.code(&nobody), 6);
}
