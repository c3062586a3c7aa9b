//! The formats of other tools, against those tools where they are here and against values computed
//! by their documented algorithm where they are not.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use standfast_asset_hash::{AssetTree, Format, Rules};
use standfast_core::ErrorKind;
use tempfile::TempDir;

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Names that sort differently by path and by directory, links, modes, and what only a raw tree has.
fn tree() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for path in ["a/b", "a.b", "a-b", "a0", "Ab", "dir/deep/er/x", "e\u{301}", "\u{e9}", ".hid/.x"]
    {
        write(root.path(), path, format!("content of {path}\r\n"));
    }
    write(root.path(), "empty", "");
    write(root.path(), "long", vec![7; 300_001]);
    write(root.path(), "with space/back\\slash", "1");
    fs::create_dir_all(root.path().join("nothing/here")).unwrap();
    fs::set_permissions(root.path().join("a0"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a/b", root.path().join("link")).unwrap();
    root
}

fn format(root: &Path, format: Format) -> String {
    AssetTree::new(root).format(format).unwrap()
}

fn git(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(root)
        .args(["-c", "core.autocrlf=false", "-c", "core.fileMode=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("these tests need git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn git_tree_is_what_git_writes() {
    let root = tree();
    write(root.path(), ".gitignore", "empty\n");
    symlink("nowhere", root.path().join("broken")).unwrap();
    symlink("dir", root.path().join("a.dir")).unwrap();
    let before = format(root.path(), Format::GitTree);
    git(root.path(), &["init", "--quiet"]);
    git(root.path(), &["add", "--all", "--force"]);
    assert_eq!(before, git(root.path(), &["write-tree"]));
    assert_eq!(format(root.path(), Format::GitTree), before, ".git does not count");
}

#[test]
fn the_tree_of_nothing_is_that_of_git() {
    let root = tempfile::tempdir().unwrap();
    let nothing = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    assert_eq!(format(root.path(), Format::GitTree), nothing);
    write(root.path(), "sub/.git/HEAD", "");
    let error = AssetTree::new(root.path()).format(Format::GitTree).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn sha256sum_checks_the_list() {
    let root = tree();
    write(root.path(), "line\nfeed", "2");
    write(root.path(), "carriage\rreturn", "3");
    let list = format(root.path(), Format::Sha256Sum);
    assert_eq!(list.lines().count(), 15);
    let check = |list: &str| {
        let mut check = Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet"])
            .current_dir(root.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        check.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
        check.wait().unwrap().success()
    };
    assert!(check(&list));
    write(root.path(), "a-b", "other");
    assert!(!check(&list));
}

#[test]
fn patterns_choose_lines_but_not_what_another_tool_hashes() {
    let root = tree();
    let tree = AssetTree::new(root.path()).rules(Rules::new().include("a*").unwrap());
    let list = tree.format(Format::Sha256Sum).unwrap();
    let names: Vec<_> = list.lines().map(|line| &line[66..]).collect();
    assert_eq!(names, ["a-b", "a.b", "a0"]);
    for format in [Format::H1, Format::GitTree] {
        assert_eq!(tree.format(format).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

/// The values were computed by another program, from the description in the documentation of
/// `golang.org/x/mod/sumdb/dirhash`.
#[test]
fn h1_is_that_of_go() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree");
    assert_eq!(format(&golden, Format::H1), include_str!("golden/h1.txt").trim());

    let root = tree();
    assert_eq!(format(root.path(), Format::H1), "h1:Wo800XgNoIH+wPU+oVG6Cadv8cJlVfW2lIei6V0W4iU=");

    write(root.path(), "line\nfeed", "");
    let error = AssetTree::new(root.path()).format(Format::H1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
