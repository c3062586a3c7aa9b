//! The guarantee table of the README is the one that the suite generates.

use standfast_session::testkit::guarantees;

#[test]
fn the_readme_shows_the_guarantees_of_the_suite() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(&guarantees()), "replace the table by:\n{}", guarantees());
}
