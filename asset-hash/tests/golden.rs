//! A tree whose manifest another program computed, by the description of the algorithm alone.

use std::num::NonZero;
use std::path::PathBuf;

use standfast_asset_hash::{Manifest, Rules, hash_tree};

const MANIFEST: &str = include_str!("golden/manifest-v1.json");

fn tree() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree")
}

#[test]
fn the_golden_tree_has_the_golden_manifest() {
    for threads in [1, 2, 64] {
        let rules = Rules::new().threads(NonZero::new(threads).unwrap());
        let manifest = hash_tree(tree(), &rules).unwrap();
        assert_eq!(manifest.to_json(), MANIFEST);
        assert_eq!(manifest.id().to_string(), "27b82a37077c03e7a61a777344c2b8a4040695b0");
    }
}

#[test]
fn the_golden_manifest_is_read_by_todays_code() {
    let manifest = Manifest::from_json(MANIFEST.as_bytes()).unwrap();
    assert_eq!(manifest.to_json(), MANIFEST);
    assert_eq!(manifest.file("css/site.css").unwrap().size, 7);
    assert_eq!((manifest.files().len(), manifest.total_size()), (8, 46));
}
