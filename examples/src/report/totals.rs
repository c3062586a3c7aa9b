//! Rows added up by group.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
};

use super::{
    Amount, ReportError,
    amount::Invalid,
    records::Record,
    table::{QUOTED, Table, choose},
    text::{shorten, thousands},
};

/// The most groups of one report.
const MAX_GROUPS: usize = 100_000;
/// The most bytes of a group's name; with [`MAX_GROUPS`] it bounds the memory of a report.
const MAX_NAME: usize = 1024;
/// How many bytes are read between two words on progress.
const PROGRESS_STEP: u64 = 256 << 10;

/// One value of the grouping column and what belongs to it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rows: u64,
    pub(super) sum: Amount,
}

/// A whole file added up.
#[derive(Debug)]
pub(super) struct Totals {
    /// The column whose values name the groups.
    pub(super) group_by: String,
    /// The column that was added up.
    pub(super) sum: String,
    /// The largest sum first; equal sums by name.
    pub(super) groups: Vec<Group>,
    pub(super) rows: u64,
    /// How many rows had nothing to add.
    pub(super) empty_cells: u64,
    pub(super) total: Amount,
}

impl Totals {
    /// Adds up `sum` for each value of `group_by`, telling how many bytes are done.
    pub(super) fn read(
        input: impl Read,
        group_by: &str,
        sum: &str,
        progress: &mut dyn FnMut(u64, &str),
    ) -> Result<Self, ReportError> {
        let table = Table::open(input)?;
        let chosen = Chosen::new(&table, group_by, sum)?;
        let mut groups: HashMap<String, (u64, Amount)> = HashMap::new();
        let (mut seen, mut empty_cells, mut total) = (0u64, 0, Amount::default());
        let mut next_word = 0;
        let rows = table.for_each(|record| {
            let name = chosen.name(record)?;
            let amount = chosen.amount(record)?.unwrap_or_else(|| {
                empty_cells += 1;
                Amount::default()
            });
            let known = groups.len();
            let (rows, sum) = match groups.get_mut(name) {
                Some(group) => group,
                None if known == MAX_GROUPS => return Err(chosen.too_many_groups()),
                None => groups.entry(name.to_owned()).or_default(),
            };
            let add = |sum: Amount| {
                sum.checked_add(amount).ok_or_else(|| chosen.too_many_digits(record.line))
            };
            *rows += 1;
            *sum = add(*sum)?;
            total = add(total)?;
            seen += 1;
            if record.end >= next_word {
                progress(record.end, &format!("{} rows read", thousands(&seen)));
                next_word = record.end + PROGRESS_STEP;
            }
            Ok(())
        })?;
        let mut groups: Vec<_> = groups
            .into_iter()
            .map(|(name, (rows, sum))| Group { name, rows, sum: sum.written_like(total) })
            .collect();
        groups.sort_unstable_by(|a, b| b.sum.cmp(&a.sum).then_with(|| a.name.cmp(&b.name)));
        let Chosen { group_by, sum, .. } = chosen;
        Ok(Self { group_by, sum, groups, rows, empty_cells, total })
    }

    /// Writes one line per group under a header of the two column names.
    pub(super) fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{},{}", quoted(&self.group_by), quoted(&self.sum))?;
        self.groups
            .iter()
            .try_for_each(|group| writeln!(out, "{},{}", quoted(&group.name), group.sum))
    }
}

/// The two columns of a report, and what is required of them.
struct Chosen {
    key: usize,
    number: usize,
    group_by: String,
    sum: String,
}

impl Chosen {
    fn new<R: Read>(table: &Table<R>, group_by: &str, sum: &str) -> Result<Self, ReportError> {
        let (key, number) = choose(&table.columns, group_by, sum)?;
        let [group_by, sum] = [key, number].map(|column| table.columns[column].clone());
        Ok(Self { key, number, group_by, sum })
    }

    fn name<'a>(&self, record: &'a Record<'_>) -> Result<&'a str, ReportError> {
        let name = record.value(self.key);
        if name.len() > MAX_NAME {
            let column = shorten(&self.group_by, QUOTED);
            return Err(ReportError::GroupTooLong { line: record.line, column });
        }
        Ok(name)
    }

    fn amount(&self, record: &Record<'_>) -> Result<Option<Amount>, ReportError> {
        let value = record.value(self.number);
        if value.is_empty() {
            return Ok(None);
        }
        Amount::parse(value).map(Some).map_err(|invalid| match invalid {
            Invalid::TooManyDigits => self.too_many_digits(record.line),
            Invalid::NotANumber => ReportError::NotANumber {
                line: record.line,
                column: shorten(&self.sum, QUOTED),
                value: shorten(value, QUOTED),
            },
        })
    }

    fn too_many_digits(&self, line: u64) -> ReportError {
        ReportError::TooManyDigits { line, column: shorten(&self.sum, QUOTED) }
    }

    fn too_many_groups(&self) -> ReportError {
        ReportError::TooManyGroups { column: shorten(&self.group_by, QUOTED), limit: MAX_GROUPS }
    }
}

/// A CSV value, in quotes unless it plainly needs none.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '/' | ':');
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(text: &str) -> Result<Totals, ReportError> {
        Totals::read(text.as_bytes(), "g", "n", &mut |_, _| {})
    }

    fn csv(text: &str) -> String {
        let mut out = Vec::new();
        totals(text).unwrap().write_csv(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn groups_come_largest_first_then_by_name() {
        let text = "n,g\n1,b\n0.1,c\n 2 , a \n0.25,c\n-3,d\n1,a2\n-1,a\n";
        assert_eq!(csv(text), "g,n\na,1.00\na2,1.00\nb,1.00\nc,0.35\nd,-3.00\n");
    }

    #[test]
    fn empty_cells_count_as_nothing() {
        let totals = totals("g,n\na,\na,2\n,  \n").unwrap();
        assert_eq!((totals.rows, totals.empty_cells), (3, 2));
        assert_eq!(totals.total.to_string(), "2");
        let shape: Vec<_> = totals.groups.iter().map(|g| (g.name.as_str(), g.rows)).collect();
        assert_eq!(shape, [("a", 2), ("", 1)]);
    }

    #[test]
    fn totals_are_legal_csv_again() {
        let text = "g,n\n\"say \"\"hi\"\", all\nof you\",1\n=1+1,2\n,3\n";
        let written = csv(text);
        assert_eq!(written, "g,n\n\"\",3\n\"=1+1\",2\n\"say \"\"hi\"\", all\nof you\",1\n");
        assert_eq!(csv(&written), written);
    }

    #[test]
    fn what_is_no_number_is_shown_with_its_line() {
        for value in ["1,234.50", "12 €", "1e5", "n/a", &"9x".repeat(100)] {
            let error = totals(&format!("g,n\na,1\na,\"{value}\"\n")).unwrap_err().to_string();
            assert!(error.starts_with("line 3: \""), "{error}");
            assert!(error.contains(&shorten(value, QUOTED)) && error.len() < 300, "{error}");
        }
    }

    #[test]
    fn sums_too_large_to_be_exact_are_refused() {
        let large = "9".repeat(38);
        for text in [
            format!("g,n\na,{large}0\n"),
            format!("g,n\na,1\na,{large}\na,{large}\n"),
            format!("g,n\na,{large}\nb,{large}\n"),
        ] {
            let error = totals(&text).unwrap_err();
            assert!(matches!(error, ReportError::TooManyDigits { .. }), "{error}");
        }
    }

    #[test]
    fn a_column_of_identifiers_makes_too_many_groups() {
        let rows: String = (0..=MAX_GROUPS).map(|id| format!("{id},1\n")).collect();
        let error = totals(&format!("g,n\n{rows}")).unwrap_err().to_string();
        assert!(error.starts_with("column \"g\" has more than 100000 different values"), "{error}");
        let error = totals(&format!("g,n\n{},1\n", "x".repeat(MAX_NAME + 1))).unwrap_err();
        assert!(matches!(error, ReportError::GroupTooLong { line: 2, .. }), "{error}");
    }

    #[test]
    fn the_columns_must_exist_and_differ() {
        let read = |group_by, sum| {
            Totals::read("g,n\na,1\n".as_bytes(), group_by, sum, &mut |_, _| {}).unwrap_err()
        };
        assert!(matches!(read("x", "n"), ReportError::NoSuchColumn { .. }));
        assert!(matches!(read("g", "x"), ReportError::NoSuchColumn { .. }));
        assert!(matches!(read("g", "g"), ReportError::SameColumn));
    }
}
