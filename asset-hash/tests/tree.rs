//! What makes two trees the same set, and which trees are none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use standfast_asset_hash::{Manifest, Rules, Symlinks, hash_tree};
use standfast_core::{ErrorKind, Reason};
use tempfile::TempDir;

fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

fn hash(root: &TempDir) -> Manifest {
    hash_tree(root.path(), &Rules::new()).unwrap()
}

fn paths(manifest: &Manifest) -> Vec<&str> {
    manifest.files().iter().map(|file| &*file.path).collect()
}

fn refused(root: &Path, rules: &Rules) -> (ErrorKind, Option<Reason>) {
    let error = hash_tree(root, rules).unwrap_err();
    (error.kind(), error.reason())
}

#[test]
fn paths_and_contents_alone_make_the_id() {
    let one = tree(&[("a", "1"), ("dir/b", "2")]);
    let two = tree(&[("dir/b", "2"), ("a", "1")]);
    fs::create_dir(two.path().join("empty")).unwrap();
    fs::File::open(two.path().join("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(hash(&one), hash(&two));
}

#[test]
fn every_difference_makes_another_id() {
    let trees = [
        &[("a", "1"), ("b", "2")][..],
        &[("a", "1"), ("b", "3")],
        &[("a", "2"), ("b", "1")],
        &[("a", "1"), ("c", "2")],
        &[("a", "1")],
        &[("a", "12"), ("b", "")],
        &[("a", "1"), ("dir/b", "2")],
        &[("ab", "12")],
        &[],
    ];
    let ids: std::collections::BTreeSet<_> = trees.iter().map(|t| hash(&tree(t)).id()).collect();
    assert_eq!(ids.len(), trees.len());
}

#[test]
fn files_are_in_the_order_of_their_whole_paths() {
    let root = tree(&[("a/b", ""), ("a.b", ""), ("a-b", ""), ("B", ""), (".hidden", "")]);
    assert_eq!(paths(&hash(&root)), [".hidden", "B", "a-b", "a.b", "a/b"]);
}

#[test]
fn rules_choose_the_files_and_prune_directories() {
    let root = tree(&[
        ("js/a.js", ""),
        ("js/a.js.map", ""),
        ("drafts/x.js", ""),
        (".git/config", ""),
        ("sub/.DS_Store", ""),
        (".gitignore", "js"),
    ]);
    // what is excluded may be unfit for a set
    fs::write(root.path().join("drafts/a\\b"), "").unwrap();
    let rules = Rules::new().exclude("**/*.map").unwrap().exclude("drafts").unwrap();
    let manifest = hash_tree(root.path(), &rules).unwrap();
    assert_eq!(paths(&manifest), [".gitignore", "js/a.js"]);
    let rules = rules.include("**/*.js").unwrap();
    assert_eq!(paths(&hash_tree(root.path(), &rules).unwrap()), ["js/a.js"]);
}

#[test]
fn names_are_compared_in_one_normal_form() {
    let composed = tree(&[("caf\u{e9}.css", "1")]);
    let decomposed = tree(&[("cafe\u{301}.css", "1")]);
    assert_eq!(hash(&composed), hash(&decomposed));
    let both = tree(&[("caf\u{e9}.css", "1"), ("cafe\u{301}.css", "1")]);
    let name = (ErrorKind::Invalid, Some(Reason::InvalidName));
    assert_eq!(refused(both.path(), &Rules::new()), name);
}

#[test]
fn paths_that_differ_by_case_alone_are_refused_unless_allowed() {
    let root = tree(&[("Site.css", "1"), ("site.css", "2")]);
    let name = (ErrorKind::Invalid, Some(Reason::InvalidName));
    assert_eq!(refused(root.path(), &Rules::new()), name);
    let manifest = hash_tree(root.path(), &Rules::new().allow_case_collisions()).unwrap();
    assert_eq!(paths(&manifest), ["Site.css", "site.css"]);
}

#[test]
fn a_root_that_is_none_is_an_error() {
    let root = tree(&[("file", "")]);
    let missing = refused(&root.path().join("missing"), &Rules::new());
    assert_eq!(missing.0, ErrorKind::NotFound);
    assert_eq!(refused(&root.path().join("file"), &Rules::new()).0, ErrorKind::Invalid);
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn links_inside_the_root_count_as_what_they_point_to() {
        let root = tree(&[("real/a", "1"), ("b", "2")]);
        symlink("real", root.path().join("dir-link")).unwrap();
        symlink("../b", root.path().join("real/file-link")).unwrap();
        let copied = tree(&[
            ("real/a", "1"),
            ("real/file-link", "2"),
            ("dir-link/a", "1"),
            ("dir-link/file-link", "2"),
            ("b", "2"),
        ]);
        assert_eq!(hash(&root), hash(&copied));
        let rules = Rules::new().symlinks(Symlinks::Reject);
        assert_eq!(refused(root.path(), &rules).0, ErrorKind::Invalid);
        assert!(hash_tree(copied.path(), &rules).is_ok());
        // an excluded link is not looked at
        let rules = rules.exclude("dir-link").unwrap().exclude("**/file-link").unwrap();
        assert_eq!(paths(&hash_tree(root.path(), &rules).unwrap()), ["b", "real/a"]);
    }

    #[test]
    fn links_out_of_the_root_to_nothing_or_in_a_cycle_are_refused() {
        let outside = tree(&[("secret", "1")]);
        let out = outside.path().join("secret");
        for (target, at) in [
            (out.as_path(), "out"),
            (Path::new("missing"), "broken"),
            (Path::new("self"), "self"),
            (Path::new("."), "here"),
            (Path::new(".."), "dir/up"),
            (Path::new("../../dir"), "dir/deep/back"),
        ] {
            let root = tree(&[("dir/deep/a", "1")]);
            symlink(target, root.path().join(at)).unwrap();
            assert_eq!(refused(root.path(), &Rules::new()).0, ErrorKind::Invalid, "{at}");
        }
        // a cycle over two links, neither of which points above itself
        let root = tree(&[("a/x", "1"), ("b/y", "1")]);
        symlink("../b", root.path().join("a/to-b")).unwrap();
        symlink("../a", root.path().join("b/to-a")).unwrap();
        assert_eq!(refused(root.path(), &Rules::new()).0, ErrorKind::Invalid);
    }

    #[test]
    fn modes_do_not_matter_and_what_is_no_file_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let root = tree(&[("a", "1")]);
        let before = hash(&root);
        fs::set_permissions(root.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(hash(&root), before);
        let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
        assert_eq!(refused(root.path(), &Rules::new()).0, ErrorKind::Invalid);
        let rules = Rules::new().exclude("socket").unwrap();
        assert_eq!(hash_tree(root.path(), &rules).unwrap(), before);
    }

    #[test]
    fn names_that_cannot_be_urls_are_refused() {
        for name in [&b"a\nb"[..], b"a\\b", b"\xff"] {
            let root = tree(&[]);
            fs::write(root.path().join(OsStr::from_bytes(name)), "").unwrap();
            let expected = (ErrorKind::Invalid, Some(Reason::InvalidName));
            assert_eq!(refused(root.path(), &Rules::new()), expected);
        }
    }
}

/// As many files as a large site has, in directories of every size.
#[test]
fn eighty_thousand_files_have_one_id_whatever_reads_them() {
    let root = tree(&[]);
    let mut expected = std::collections::BTreeSet::new();
    for number in 0..80_000_u32 {
        let path = match number % 4 {
            0 => format!("all/{number}.js"),
            1 => format!("by/{}/{number}.css", number % 97),
            2 => format!("deep/{}/{}/{}/x", number % 7, number % 31, number),
            _ => format!("e\u{301}/{}/{number}", number % 13),
        };
        let file = root.path().join(&path);
        if number < 2000 {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
        } else if number % 4 == 2 {
            fs::create_dir(file.parent().unwrap()).unwrap();
        }
        fs::write(file, number.to_le_bytes()).unwrap();
        expected.insert(path.replace("e\u{301}", "\u{e9}"));
    }
    let one = Rules::new().threads(std::num::NonZero::<usize>::MIN);
    let manifest = hash_tree(root.path(), &one).unwrap();
    assert!(manifest.files().iter().map(|file| &file.path).eq(&expected));
    assert_eq!(hash_tree(root.path(), &Rules::new()).unwrap(), manifest);
    assert_eq!(manifest.id().to_string(), "7b2b26e97dbb06c2d853c3d54d3b73307cce0046");
}
