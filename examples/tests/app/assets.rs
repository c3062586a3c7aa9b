//! The page's own assets: addresses that change with what they lead to.

use std::path::Path;

use standfast_asset_hash::{AssetId, AssetStore, AssetTree, Commit, LocalSet};
use standfast_blobstore::FsBlobStore;

use crate::support::{Server, program};

/// Publishes for a commit what is in `web`, or something else.
fn publish(store: &Path, commit: &str, other: Option<LocalSet>) -> AssetId {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let set = match other {
            Some(set) => set,
            None => AssetTree::new(web).read_async().await.unwrap(),
        };
        let assets = AssetStore::new(FsBlobStore::open(store).await.unwrap());
        assets.publish(&set, &Commit::new(commit).unwrap()).await.unwrap().id
    })
}

/// The addresses in the head of the page.
fn addresses(page: &str) -> Vec<String> {
    let head = page.split("</head>").next().unwrap();
    let quoted = ["href=\"", "src=\""].into_iter().flat_map(|name| head.split(name).skip(1));
    quoted.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn what_is_compiled_in_is_served_for_ever_under_its_hash() {
    let server = Server::start();
    let page = server.get("/").text();
    let addresses = addresses(&page);
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    assert_eq!(page.matches(" integrity=\"sha256-").count(), 2);
    for address in &addresses {
        assert!(address.starts_with("/assets/"), "{address}");
        let asset = server.get(address);
        assert_eq!(asset.status, 200, "{address}");
        assert!(asset.header("cache-control").unwrap().contains("immutable"), "{address}");
        let other = address.replacen("/assets/", "/assets/0", 1);
        assert_eq!(server.get(&other).status, 404);
    }
}

#[test]
fn a_commit_names_the_assets_of_its_page() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("assets");
    let id = publish(&store, "9fceb02", None);
    let options = ["--asset-store", store.to_str().unwrap(), "--commit", "9fceb02", "--assets"];
    let server = Server::with(&[&options[..], &["https://cdn.example/a/{id}"]].concat());
    let page = server.get("/");
    for address in addresses(&page.text()) {
        assert!(address.starts_with(&format!("https://cdn.example/a/{id}/")), "{address}");
        let own = address.replace("https://cdn.example/a", "/assets");
        assert_eq!(server.get(&own).status, 200, "what is compiled in is the same set");
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self' https://cdn.example;"), "{policy}");
}

#[test]
fn assets_that_cannot_be_had_end_the_start_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("assets");
    publish(&store, "other", Some(LocalSet::embedded(&[("site.css", b"")]).unwrap()));
    let (there, gone) = (store.to_str().unwrap(), home.path().join("gone"));
    let base = "/a/{id}/";
    let wait = ["--asset-wait", "0"];
    for (code, words, arguments) in [
        (
            1,
            "publish them with",
            &["--asset-store", there, "--commit", "none", "--assets", base][..],
        ),
        (
            1,
            "is no directory",
            &["--asset-store", gone.to_str().unwrap(), "--commit", "c", "--assets", base],
        ),
        (1, "no assets of ours", &["--asset-store", there, "--commit", "other", "--assets", base]),
        (2, "go together", &["--asset-store", there, "--assets", base]),
        (2, "go together", &["--commit", "c"]),
        (2, "with {id} in it", &["--assets", "https://cdn.example/"]),
    ] {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--blobs", "memory:"]).args(wait).args(arguments);
        let output = command.env("TMPDIR", home.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
}
