//! The table of the README is what the suite says.

macro_rules! add {
    ($topic:ident, $case:ident, $table:expr) => {
        add_row(&mut $table, stringify!($topic), stringify!($case))
    };
}

fn add_row(table: &mut String, topic: &str, case: &str) {
    let first = if table.contains(&format!("| {topic} |")) { "" } else { topic };
    *table += &format!("| {first} | {} |\n", case.replace('_', " "));
}

/// Compares the table of the README with the suite; with `STANDFAST_UPDATE_README` set, writes it.
#[test]
fn the_table_is_that_of_the_suite() {
    let mut table = String::from("| | the suite proves that |\n|---|---|\n");
    standfast_blobstore::blob_cases!(add, table);

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let begin = "<!-- suite -->\n";
    let start = text.find(begin).unwrap() + begin.len();
    let end = start + text[start..].find("<!-- end -->").unwrap();
    if std::env::var_os("STANDFAST_UPDATE_README").is_some() {
        std::fs::write(path, [&text[..start], &table, &text[end..]].concat()).unwrap();
    } else {
        assert_eq!(&text[start..end], table, "run this test with STANDFAST_UPDATE_README=1");
    }
}
