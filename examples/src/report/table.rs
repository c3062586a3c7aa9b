//! A header and the rows that fit it.

use std::{collections::HashSet, io::Read};

use serde::{Deserialize, Serialize};

use super::{
    ReportError,
    records::{Record, Records},
    text::shorten,
};

/// How much of a name or value an error message repeats.
pub(super) const QUOTED: usize = 40;
/// How many column names an error message lists.
const LISTED: usize = 12;

/// What a file offers to report on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Columns {
    /// The column names, in the file's order.
    pub columns: Vec<String>,
    /// How many rows follow the header, if they were counted.
    pub rows: Option<u64>,
}

/// Reads a header and the rows below it.
pub(super) struct Table<R> {
    records: Records<R>,
    /// The column names.
    pub(super) columns: Vec<String>,
}

impl<R: Read> Table<R> {
    /// Reads and checks the header.
    pub(super) fn open(reader: R) -> Result<Self, ReportError> {
        let mut records = Records::open(reader)?;
        let header = records.next()?.ok_or(ReportError::NoHeader)?;
        let columns: Vec<String> = header.values().map(str::to_owned).collect();
        check_header(&columns)?;
        Ok(Self { records, columns })
    }

    /// Shows each row, which has a value for every column, and counts them.
    pub(super) fn for_each(
        mut self,
        mut visit: impl FnMut(&Record<'_>) -> Result<(), ReportError>,
    ) -> Result<u64, ReportError> {
        let mut rows = 0;
        while let Some(record) = self.records.next()? {
            if record.is_blank() {
                continue;
            }
            let (expected, found) = (self.columns.len(), record.len());
            if found != expected {
                return Err(ReportError::Ragged { line: record.line, expected, found });
            }
            visit(&record)?;
            rows += 1;
        }
        if rows == 0 { Err(ReportError::NoRows) } else { Ok(rows) }
    }
}

/// Reads all of a CSV file, checks its shape and counts its rows.
pub(super) fn inspect(reader: impl Read) -> Result<Columns, ReportError> {
    let table = Table::open(reader)?;
    let columns = table.columns.clone();
    let rows = table.for_each(|_| Ok(()))?;
    Ok(Columns { columns, rows: Some(rows) })
}

fn check_header(columns: &[String]) -> Result<(), ReportError> {
    if columns.iter().all(String::is_empty) {
        return Err(ReportError::NoHeader);
    }
    if let Some(empty) = columns.iter().position(String::is_empty) {
        return Err(ReportError::UnnamedColumn { position: empty + 1 });
    }
    let mut seen = HashSet::new();
    if let Some(name) = columns.iter().find(|name| !seen.insert(*name)) {
        return Err(ReportError::DuplicateColumn { name: shorten(name, QUOTED) });
    }
    match columns {
        [name] => Err(ReportError::OneColumn { name: shorten(name, QUOTED) }),
        _ => Ok(()),
    }
}

/// Where the two columns of a report are.
pub(super) fn choose(
    columns: &[String],
    group_by: &str,
    sum: &str,
) -> Result<(usize, usize), ReportError> {
    let position = |name: &str| {
        let found = columns.iter().position(|column| column == name.trim());
        found.ok_or_else(|| ReportError::NoSuchColumn {
            name: shorten(name, QUOTED),
            known: listed(columns),
        })
    };
    let (key, number) = (position(group_by)?, position(sum)?);
    if key == number { Err(ReportError::SameColumn) } else { Ok((key, number)) }
}

fn listed(columns: &[String]) -> String {
    let names: Vec<_> =
        columns.iter().take(LISTED).map(|name| format!("\"{}\"", shorten(name, QUOTED))).collect();
    match columns.len().saturating_sub(LISTED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> ReportError {
        inspect(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn columns_and_rows_are_found() {
        for text in ["a,b\n1,2\n3,4", "\u{feff}\"a\" ; b\r\n1;2\r\n   \r\n\r\n3;4\r\n"] {
            let expected = Columns { columns: vec!["a".into(), "b".into()], rows: Some(2) };
            assert_eq!(inspect(text.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn files_without_a_table_are_refused() {
        assert!(matches!(refusal(""), ReportError::Empty));
        assert!(matches!(refusal("\na,b\n1,2\n"), ReportError::NoHeader));
        assert!(matches!(refusal("   \na,b\n1,2\n"), ReportError::NoHeader));
        assert!(matches!(refusal(",,\n1,2,3\n"), ReportError::NoHeader));
        assert!(matches!(refusal("a,b"), ReportError::NoRows));
        assert!(matches!(refusal("a,b\n \n\n"), ReportError::NoRows));
    }

    #[test]
    fn column_names_must_tell_columns_apart() {
        let unnamed = refusal("a,,c\n1,2,3\n");
        assert_eq!(unnamed.to_string(), "column 2 has no name in the first line");
        let twice = refusal("a,b, a\n1,2,3\n");
        assert!(twice.to_string().starts_with("two columns are called \"a\""));
        let alone = refusal("<p>hello</p>\nx\n");
        assert!(alone.to_string().starts_with("the only column is \"<p>hello</p>\""));
    }

    #[test]
    fn a_ragged_row_is_located() {
        let error = refusal("a,b,c\n1,\"x\ny\",3\n1,2\n");
        assert_eq!(error.to_string(), "line 4 has 2 values, but there are 3 columns");
    }

    #[test]
    fn an_unknown_column_gets_a_short_list_of_the_known() {
        let header = (1..=20).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
        let table = Table::open(header.as_bytes()).unwrap();
        assert_eq!(choose(&table.columns, " c20 ", "c1").unwrap().0, 19);
        let error = choose(&table.columns, "nope", "c1").unwrap_err().to_string();
        assert!(error.starts_with("there is no column \"nope\"; the columns are \"c1\", "));
        assert!(error.ends_with("\"c12\" and 8 more"), "{error}");
    }
}
