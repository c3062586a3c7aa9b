//! From a CSV file to a report: rows grouped by one column, another column added up.
//!
//! Everything here is synchronous and takes bounded memory however large the file is, so a worker
//! can run it in a process of its own. An upload is checked in two steps: by an [`Arrival`] on its
//! way, by [`inspect_file`] when it is complete. [`build`] trusts neither and checks again.

mod amount;
mod arrival;
mod chart;
mod error;
mod page;
mod publish;
mod records;
mod sniff;
mod table;
mod text;
mod totals;

#[cfg(test)]
mod tests;

use std::{fs::File, path::Path};

pub(crate) use self::text::{Html, shorten};
pub use self::{
    amount::Amount, arrival::Arrival, error::ReportError, page::CONTENT_SECURITY_POLICY,
    table::Columns,
};
use self::{publish::publish, totals::Totals};

/// A year of invented orders, for trying the application without a file at hand.
pub const SAMPLE: &[u8] = include_bytes!("../../data/sample.csv");

/// What [`build`] calls the page it writes.
pub const REPORT_FILE: &str = "report.html";

/// What [`build`] calls the table it writes.
pub const TOTALS_FILE: &str = "totals.csv";

/// What a report found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many rows were added up.
    pub rows: u64,
    /// How many of them had nothing in the column to add up.
    pub empty_cells: u64,
    /// How many groups there are.
    pub groups: usize,
    /// The sum of all rows.
    pub total: Amount,
}

impl Columns {
    /// Whether a report can be made with these two columns.
    pub fn check(&self, group_by: &str, sum: &str) -> Result<(), ReportError> {
        table::choose(&self.columns, group_by, sum).map(|_| ())
    }
}

/// [`inspect_file`] for [`SAMPLE`].
pub fn inspect_sample() -> Result<Columns, ReportError> {
    table::inspect(SAMPLE)
}

/// Reads a whole CSV file, checks its shape and counts its rows.
///
/// This is as fast as the disk, but it is not instant: keep it off an async thread.
pub fn inspect_file(path: &Path) -> Result<Columns, ReportError> {
    table::inspect(File::open(path)?)
}

/// Adds up column `sum` for each value of column `group_by` and writes [`TOTALS_FILE`] and then
/// [`REPORT_FILE`] to `out_dir`.
///
/// Totals are ordered by their sum, the largest first, equal ones by name. Each file appears only
/// when it is complete, so a report that exists has totals beside it. `progress` is told the bytes
/// done, the bytes there are and what is going on.
pub fn build(
    input: &Path,
    group_by: &str,
    sum: &str,
    out_dir: &Path,
    progress: &mut dyn FnMut(u64, u64, &str),
) -> Result<Summary, ReportError> {
    let file = File::open(input)?;
    let size = file.metadata()?.len();
    let totals = Totals::read(file, group_by, sum, &mut |done, words| progress(done, size, words))?;
    progress(size, size, "writing the report");
    let page = page::render(&totals)?;
    publish(out_dir, TOTALS_FILE, |out| totals.write_csv(out))?;
    publish(out_dir, REPORT_FILE, |out| out.write_all(page.as_bytes()))?;
    Ok(Summary {
        rows: totals.rows,
        empty_cells: totals.empty_cells,
        groups: totals.groups.len(),
        total: totals.total,
    })
}
