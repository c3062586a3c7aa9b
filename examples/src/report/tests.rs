//! Whole files, from disk to report.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

/// A directory of its own for one test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("report-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn input(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join("input.csv");
        fs::write(&path, text).unwrap();
        path
    }

    fn build(&self, text: impl AsRef<[u8]>) -> Result<Summary, ReportError> {
        build(&self.input(text), "g", "n", &self.0, &mut |_, _, _| {})
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_sample_makes_a_report() {
    let scratch = Scratch::new();
    let input = scratch.input(SAMPLE);
    let columns = inspect_file(&input).unwrap();
    assert_eq!(columns.columns, ["date", "region", "product", "units", "revenue"]);
    assert_eq!(columns.rows, Some(5000));

    let mut seen = Vec::new();
    let mut progress = |done, total, words: &str| seen.push((done, total, words.to_owned()));
    let summary = build(&input, "region", "revenue", &scratch.0, &mut progress).unwrap();
    assert_eq!((summary.rows, summary.groups, summary.empty_cells), (5000, 6, 0));

    let size = SAMPLE.len() as u64;
    assert!(seen.is_sorted_by_key(|(done, ..)| *done));
    assert!(seen.iter().all(|(_, total, _)| *total == size));
    assert_eq!(seen.last().unwrap(), &(size, size, "writing the report".to_owned()));

    assert_eq!(scratch.files(), ["input.csv", "report.html", "totals.csv"]);
    let totals = scratch.read(TOTALS_FILE);
    assert!(totals.starts_with("region,revenue\nWest,"), "{totals}");
    assert_eq!(totals.lines().count(), 7);
    let sum = |total: Amount, line: &str| {
        let (_, sum) = line.split_once(',').unwrap();
        total.checked_add(Amount::parse(sum).unwrap()).unwrap()
    };
    assert_eq!(totals.lines().skip(1).fold(Amount::default(), sum), summary.total);

    let page = scratch.read(REPORT_FILE);
    assert!(page.contains("<h1><bdi>revenue</bdi> by <bdi>region</bdi></h1>"));
    assert!(page.contains("<svg") && page.ends_with("</html>\n"));
}

#[test]
fn the_page_offers_the_columns_of_the_sample() {
    let page = include_str!("../server/page.html");
    assert!(page.contains("data-columns=\"date,region,product,units,revenue\""));
    assert!(page.contains("data-rows=\"5000\""));
}

#[test]
fn the_page_has_what_its_script_looks_for() {
    let page = include_str!("../server/page.html");
    let script = include_str!("../../web/app.mjs");
    let ids: Vec<_> =
        script.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(ids.contains(&"start"));
    for id in ids {
        assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
    }
    assert!(!page.contains("<style") && !page.contains(" style="));
}

#[test]
fn hostile_text_stays_text() {
    let attack = "</title></style><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;";
    let scratch = Scratch::new();
    let text = format!("\"{attack}\",\"{attack}2\"\n\"{attack}\",1\n\"\" onload=alert(3)\",2\n");
    let input = scratch.input(text);
    build(&input, attack, &format!("{attack}2"), &scratch.0, &mut |_, _, _| {}).unwrap();
    let page = scratch.read(REPORT_FILE);
    for markup in ["<script", "<img", "</style><", "\" onload"] {
        assert!(!page.contains(markup), "{markup} in {page}");
    }
    assert_eq!(page.matches("<title>").count(), 1);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn a_failed_build_leaves_no_report() {
    let scratch = Scratch::new();
    let error = scratch.build("g,n\na,1\nb,one\n").unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(scratch.files(), ["input.csv"]);
}

#[test]
fn a_second_build_replaces_the_first() {
    let scratch = Scratch::new();
    scratch.build("g,n\na,1\n").unwrap();
    fs::write(scratch.0.join(".totals.csv.part"), "left by a killed process").unwrap();
    scratch.build("g;n\na;2\n").unwrap();
    assert_eq!(scratch.read(TOTALS_FILE), "g,n\na,2\n");
    assert_eq!(scratch.files(), ["input.csv", "report.html", "totals.csv"]);
}

#[test]
fn a_missing_file_may_come_back() {
    let scratch = Scratch::new();
    let gone = scratch.0.join("gone.csv");
    assert!(!inspect_file(&gone).unwrap_err().is_permanent());
    let error = build(&gone, "g", "n", &scratch.0, &mut |_, _, _| {}).unwrap_err();
    assert!(!error.is_permanent());
}

#[test]
fn many_groups_are_cut_on_the_page_but_not_in_the_totals() {
    let rows: String = (0..2000).map(|n| format!("group {n},{n}\n")).collect();
    let scratch = Scratch::new();
    scratch.build(format!("g,n\n{rows}")).unwrap();
    assert_eq!(scratch.read(TOTALS_FILE).lines().count(), 2001);
    let page = scratch.read(REPORT_FILE);
    assert_eq!(page.matches("<tr><td class=\"number\">").count(), 500);
    assert!(page.contains("the first 500 of 2,000 groups"));
    assert!(page.contains("1,988 other groups"));
}

#[test]
fn negative_sums_have_no_shares() {
    let scratch = Scratch::new();
    let summary = scratch.build("g,n\na,1.5\nb,-4\n").unwrap();
    assert_eq!(summary.total.to_string(), "-2.5");
    assert!(!scratch.read(REPORT_FILE).contains("--share:"));
}
