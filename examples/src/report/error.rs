//! What can be wrong with an upload, in words for the person who uploaded it.

use std::io;

use thiserror::Error;

/// Why a file was refused or a report was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// There is not a single byte of text.
    #[error("the file is empty")]
    Empty,

    /// The file is recognisably something else.
    #[error("this is {kind}, not a CSV file; export the table as CSV and upload that")]
    Binary {
        /// What it looks like, with its article.
        kind: &'static str,
    },

    /// The file starts with a UTF-16 byte order mark.
    #[error("the file is saved as UTF-16 (\"Unicode text\"); save it as \"CSV UTF-8\" instead")]
    Utf16,

    /// Bytes that are no UTF-8 text.
    #[error("line {line} has characters that are not UTF-8; save the file as \"CSV UTF-8\"")]
    NotUtf8 {
        /// Where, counted from 1.
        line: u64,
    },

    /// The first line is blank.
    #[error("the first line is empty; it should hold the column names")]
    NoHeader,

    /// A column without a name.
    #[error("column {position} has no name in the first line")]
    UnnamedColumn {
        /// Which column, counted from 1.
        position: usize,
    },

    /// Two columns with one name.
    #[error("two columns are called \"{name}\"; each needs a name of its own")]
    DuplicateColumn {
        /// The name, shortened.
        name: String,
    },

    /// Nothing separates the first line into columns.
    #[error(
        "the only column is \"{name}\"; a report needs one to group by and one to add up, \
         separated by commas, semicolons, tabs or |"
    )]
    OneColumn {
        /// The name, shortened.
        name: String,
    },

    /// More columns than a record may have.
    #[error("line {line} has more than {limit} columns")]
    TooManyColumns {
        /// Where, counted from 1.
        line: u64,
        /// How many there may be.
        limit: usize,
    },

    /// A header and nothing else.
    #[error("the file has column names but no rows below them")]
    NoRows,

    /// A row that does not fit the header.
    #[error("line {line} has {found} values, but there are {expected} columns")]
    Ragged {
        /// Where the row begins, counted from 1.
        line: u64,
        /// How many columns the header has.
        expected: usize,
        /// How many values the row has.
        found: usize,
    },

    /// The file ends inside quotes.
    #[error("the row on line {line} opens a quote (\") that is never closed")]
    UnterminatedQuote {
        /// Where the row begins, counted from 1.
        line: u64,
    },

    /// A row beyond the memory set aside for one.
    #[error(
        "the row on line {line} is longer than {} KiB; perhaps a quote (\") is never closed, \
         or this is not a table",
        limit / 1024
    )]
    RowTooLong {
        /// Where the row begins, counted from 1.
        line: u64,
        /// How many bytes it may have.
        limit: usize,
    },

    /// A column that the header does not name.
    #[error("there is no column \"{name}\"; the columns are {known}")]
    NoSuchColumn {
        /// The name asked for, shortened.
        name: String,
        /// The names there are, shortened.
        known: String,
    },

    /// Grouping by the column that is added up.
    #[error("choose two different columns: one to group by and one to add up")]
    SameColumn,

    /// A cell of the column to add up is not a number.
    #[error(
        "line {line}: \"{value}\" in column \"{column}\" is not a number; write numbers like \
         1234.56, with a point and without thousands separators or currency signs"
    )]
    NotANumber {
        /// Where the row begins, counted from 1.
        line: u64,
        /// The column, shortened.
        column: String,
        /// The cell, shortened.
        value: String,
    },

    /// A number or a sum beyond exact arithmetic.
    #[error(
        "line {line}: the numbers in column \"{column}\" have too many digits to add up exactly"
    )]
    TooManyDigits {
        /// Where the row begins, counted from 1.
        line: u64,
        /// The column, shortened.
        column: String,
    },

    /// More groups than a report can hold.
    #[error(
        "column \"{column}\" has more than {limit} different values; choose one with fewer, \
         such as a category"
    )]
    TooManyGroups {
        /// The column, shortened.
        column: String,
        /// How many there may be.
        limit: usize,
    },

    /// A group's name is a text of its own.
    #[error("line {line}: the value in column \"{column}\" is too long to be a group's name")]
    GroupTooLong {
        /// Where the row begins, counted from 1.
        line: u64,
        /// The column, shortened.
        column: String,
    },

    /// The plotting library gave up.
    #[error("the chart could not be drawn: {0}")]
    Chart(String),

    /// Reading or writing failed, whatever the file says.
    #[error("a file could not be read or written: {0}")]
    Io(#[from] io::Error),
}

impl ReportError {
    /// Whether trying again with the same file must fail the same way.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}
