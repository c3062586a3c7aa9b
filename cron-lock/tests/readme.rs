//! The guarantee table of the README is the one that the suite generates.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use standfast_cron_lock::testkit::guarantees;

/// With `STANDFAST_UPDATE_README` set it writes the table.
#[test]
fn the_readme_shows_the_guarantees_of_the_suite() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let heading = guarantees().lines().next().unwrap().to_owned();
    let (before, table) = readme.split_at(readme.find(&heading).unwrap());
    let (table, after) = table.split_at(table.find("|\n\n").map_or(table.len(), |end| end + 2));
    if std::env::var_os("STANDFAST_UPDATE_README").is_some() {
        std::fs::write(path, [before, &guarantees(), after].concat()).unwrap();
    } else {
        assert_eq!(table, guarantees(), "run this test with STANDFAST_UPDATE_README=1");
    }
}
