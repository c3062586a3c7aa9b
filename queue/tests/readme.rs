//! The tables of the README are what the suites say.

use standfast_queue::testkit::{QUEUE_CASES, STATUS_CASES, guarantee_table};

/// Compares a table of the README with the suite; with `STANDFAST_UPDATE_README` set, writes it.
fn check(marker: &str, table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).expect("the crate has a README");
    let begin = format!("<!-- {marker} -->\n");
    let start = text.find(&begin).expect("the table has its marker") + begin.len();
    let end = start + text[start..].find("<!-- end -->").expect("the table ends");
    if std::env::var_os("STANDFAST_UPDATE_README").is_some() {
        std::fs::write(path, [&text[..start], table, &text[end..]].concat())
            .expect("the README can be written");
    } else {
        assert_eq!(&text[start..end], table, "run this test with STANDFAST_UPDATE_README=1");
    }
}

#[test]
fn the_tables_are_those_of_the_suites() {
    check("queue", &guarantee_table(QUEUE_CASES.iter().map(|case| (case.line, case.name))));
    check("status", &guarantee_table(STATUS_CASES.iter().map(|case| (case.line, case.name))));
}
