//! Tables of any size, and what they add up to: computed in whole cents, without the application.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Sums in cents by group.
pub(crate) type Totals = BTreeMap<String, i64>;

const GROUPS: [&str; 5] = ["East", "North", "North, \"upper\"", "South", "Übersee"];

/// So many rows, each with a note of so many bytes.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) rows: u32,
    pub(crate) note: usize,
}

impl Table {
    /// About this many megabytes.
    pub(crate) fn of_megabytes(megabytes: u32) -> Self {
        Self { rows: megabytes * 1000, note: 970 }
    }

    pub(crate) fn write(self, out: &mut dyn Write) -> io::Result<()> {
        let note = "n".repeat(self.note);
        writeln!(out, "id,region,amount,note")?;
        for row in 0..self.rows {
            let (group, cents) = cell(row);
            let group = group.replace('"', "\"\"");
            let (sign, size) = (if cents < 0 { "-" } else { "" }, cents.abs());
            writeln!(out, "{row},\"{group}\",{sign}{}.{:02},{note}", size / 100, size % 100)?;
        }
        Ok(())
    }

    pub(crate) fn text(self) -> Vec<u8> {
        let mut text = Vec::new();
        self.write(&mut text).unwrap();
        text
    }

    pub(crate) fn totals(self) -> Totals {
        let mut totals = Totals::new();
        for (group, cents) in (0..self.rows).map(cell) {
            *totals.entry(group.to_owned()).or_default() += cents;
        }
        totals
    }
}

/// Group and cents of a row, scattered but the same each time.
fn cell(row: u32) -> (&'static str, i64) {
    let mixed = (row ^ 0x5bd1).wrapping_mul(2_654_435_761);
    (GROUPS[(mixed >> 16) as usize % GROUPS.len()], i64::from(mixed % 100_000) - 20_000)
}

/// The sample's revenue by region. Only products are quoted there, and they stand between the two.
pub(crate) fn sample_totals() -> Totals {
    let mut totals = Totals::new();
    for row in include_str!("../../data/sample.csv").lines().skip(1) {
        let (region, revenue) = (row.split(',').nth(1), row.rsplit(',').next());
        let cents: i64 = revenue.unwrap().replace('.', "").parse().unwrap();
        *totals.entry(region.unwrap().to_owned()).or_default() += cents;
    }
    totals
}

/// What a file of totals says, which is to have this header.
pub(crate) fn read_totals(file: &[u8], header: &str) -> Totals {
    let text = str::from_utf8(file).unwrap();
    let (first, rows) = text.split_once('\n').unwrap();
    assert_eq!(first, header);
    let cents = |sum: &str| match sum.split_once('.') {
        Some((_, fraction)) if fraction.len() == 2 => sum.replace('.', "").parse::<i64>().unwrap(),
        _ => sum.parse::<i64>().unwrap() * 100,
    };
    let row = |row: &str| {
        let (group, sum) = row.rsplit_once(',').unwrap();
        let group =
            group.strip_prefix('"').and_then(|group| group.strip_suffix('"')).unwrap_or(group);
        (group.replace("\"\"", "\""), cents(sum))
    };
    rows.lines().map(row).collect()
}
