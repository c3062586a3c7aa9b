//! CSV records from any reader, each within a fixed piece of memory.
//!
//! Parsing is csv-core's, which writes into the buffers it is given and never asks for more: a
//! gigabyte without a line break fills one buffer and is refused.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{ReportError, sniff};

/// The most bytes of one record.
pub(super) const MAX_RECORD: usize = 1 << 20;
/// The most values of one record.
pub(super) const MAX_COLUMNS: usize = 1024;
/// How much of the file is looked at to guess its separator.
const START: usize = 64 << 10;

/// Reads one record after the other.
pub(super) struct Records<R> {
    input: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    parser: Reader,
    text: Box<[u8]>,
    ends: Box<[usize]>,
    line: u64,
    consumed: u64,
}

/// One record, borrowed from the [`Records`] that read it.
pub(super) struct Record<'a> {
    /// The line it begins on, counted from 1.
    pub(super) line: u64,
    /// How many bytes of the file it and everything before it take.
    pub(super) end: u64,
    text: &'a str,
    ends: &'a [usize],
}

impl Record<'_> {
    /// How many values it has.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The value at `index` without surrounding blanks.
    pub(super) fn value(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text[start..self.ends[index]].trim()
    }

    /// All values without surrounding blanks.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.value(index))
    }

    /// Whether it is a line of nothing but blanks.
    pub(super) fn is_blank(&self) -> bool {
        self.len() == 1 && self.value(0).is_empty()
    }
}

impl<R: Read> Records<R> {
    /// Looks at the start of `reader` and prepares to read its records.
    pub(super) fn open(mut reader: R) -> Result<Self, ReportError> {
        let mut start = Vec::new();
        reader.by_ref().take(START as u64).read_to_end(&mut start)?;
        sniff::check_start(&start)?;
        let mark = start.len() - sniff::without_mark(&start).len();
        let delimiter = sniff::delimiter(&start[mark..]);
        let mut input = BufReader::with_capacity(START, Cursor::new(start).chain(reader));
        io::copy(&mut input.by_ref().take(mark as u64), &mut io::sink())?;
        Ok(Self {
            input,
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            text: vec![0; MAX_RECORD].into(),
            ends: vec![0; MAX_COLUMNS].into(),
            line: 1,
            consumed: mark as u64,
        })
    }

    /// The next record, skipping empty lines.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, ReportError> {
        self.skip_line_ends()?;
        let line = self.line;
        let (mut filled, mut values) = (0, 0);
        loop {
            let chunk = self.input.fill_buf()?;
            let at_end = chunk.is_empty();
            // A line break ends any last record except one whose quotes are still open.
            let chunk = if at_end { b"\n" } else { chunk };
            let (result, used, written, ended) =
                self.parser.read_record(chunk, &mut self.text[filled..], &mut self.ends[values..]);
            if !at_end {
                let breaks = chunk[..used].iter().filter(|b| **b == b'\n').count();
                self.advance(used, breaks);
            }
            filled += written;
            values += ended;
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::OutputFull => {
                    return Err(ReportError::RowTooLong { line, limit: MAX_RECORD });
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(ReportError::TooManyColumns { line, limit: MAX_COLUMNS });
                }
                ReadRecordResult::InputEmpty if !at_end => {}
                _ if filled == 0 => return Ok(None),
                _ => return Err(ReportError::UnterminatedQuote { line }),
            }
        }
        let (text, ends) = (&self.text[..filled], &self.ends[..values]);
        sniff::check_text(text)?;
        let text = checked_utf8(text, ends).map_err(|valid| {
            let breaks = text[..valid].iter().filter(|b| **b == b'\n').count();
            ReportError::NotUtf8 { line: line + breaks as u64 }
        })?;
        Ok(Some(Record { line, end: self.consumed, text, ends }))
    }

    /// Leaves the rest of a line break and any empty lines behind.
    fn skip_line_ends(&mut self) -> Result<(), ReportError> {
        loop {
            let chunk = self.input.fill_buf()?;
            let run = chunk.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            let breaks = chunk[..run].iter().filter(|b| **b == b'\n').count();
            self.advance(run, breaks);
            if run == 0 {
                return Ok(());
            }
        }
    }

    fn advance(&mut self, bytes: usize, breaks: usize) {
        self.input.consume(bytes);
        self.consumed += bytes as u64;
        self.line += breaks as u64;
    }
}

/// The text, if it and every value in it are UTF-8; else how far it is.
fn checked_utf8<'a>(text: &'a [u8], ends: &[usize]) -> Result<&'a str, usize> {
    let text = str::from_utf8(text).map_err(|e| e.valid_up_to())?;
    match ends.iter().find(|end| !text.is_char_boundary(**end)) {
        Some(end) => Err(*end),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<(u64, Vec<String>)>, ReportError> {
        let mut records = Records::open(text)?;
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            all.push((record.line, record.values().map(str::to_owned).collect()));
        }
        assert_eq!(records.consumed, text.len() as u64);
        Ok(all)
    }

    fn row(line: u64, values: &[&str]) -> (u64, Vec<String>) {
        (line, values.iter().map(|v| (*v).to_owned()).collect())
    }

    /// Hands out one byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let most = out.len().min(1);
            self.0.read(&mut out[..most])
        }
    }

    #[test]
    fn lines_are_counted_through_quotes_and_blank_lines() {
        for end in ["\n", "\r\n"] {
            let text = ["a,b", "1,\"x", "y\"", "", "", "2,\"say \"\"hi\"\"\"", "3,z"].join(end);
            let quoted = format!("x{end}y");
            let expected = [
                row(1, &["a", "b"]),
                row(2, &["1", &quoted]),
                row(6, &["2", "say \"hi\""]),
                row(7, &["3", "z"]),
            ];
            assert_eq!(read(text.as_bytes()).unwrap(), expected);
            assert_eq!(read((text + end + end).as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn short_reads_change_nothing() {
        let text = b"\xef\xbb\xbf a ;b\r\n1;\"x\r\ny\"\r\n";
        let mut records = Records::open(Trickle(text)).unwrap();
        let header = records.next().unwrap().unwrap();
        assert_eq!(header.values().collect::<Vec<_>>(), ["a", "b"]);
        let record = records.next().unwrap().unwrap();
        assert_eq!((record.line, record.value(1)), (2, "x\r\ny"));
        assert!(records.next().unwrap().is_none());
        assert!(records.next().unwrap().is_none());
    }

    #[test]
    fn an_open_quote_is_reported_where_its_row_begins() {
        for tail in ["\"b\nc,d\n", "\"", "\"b\"\""] {
            let text = format!("a,b\n1,2\n3,{tail}");
            let error = read(text.as_bytes()).unwrap_err();
            assert!(matches!(error, ReportError::UnterminatedQuote { line: 3 }), "{error}");
        }
    }

    #[test]
    fn bytes_beyond_utf8_are_located() {
        let error = read(b"a,b\n1,\"x\ny\xe9\"\n").unwrap_err();
        assert!(matches!(error, ReportError::NotUtf8 { line: 3 }), "{error}");
        let error = read(b"a,b\n\xc3,\xa9\n").unwrap_err();
        assert!(matches!(error, ReportError::NotUtf8 { line: 2 }), "{error}");
    }

    #[test]
    fn a_zero_byte_far_down_is_still_binary() {
        let text = [b"a,b\n".as_slice(), &b"1,2\n".repeat(20_000), b"1,\0\n"].concat();
        assert!(matches!(read(&text), Err(ReportError::Binary { .. })));
    }

    #[test]
    fn a_gigabyte_line_is_refused_within_the_buffer() {
        let mut records = Records::open(io::repeat(b'x').take(1 << 30)).unwrap();
        let error = records.next().err().unwrap();
        assert!(matches!(error, ReportError::RowTooLong { line: 1, .. }), "{error}");
        assert!(records.consumed <= (MAX_RECORD + START) as u64);
        assert_eq!(records.text.len(), MAX_RECORD);
        assert!(records.input.capacity() <= START);
    }

    #[test]
    fn a_gigabyte_of_separators_is_refused() {
        let mut records = Records::open(io::repeat(b',').take(1 << 30)).unwrap();
        let error = records.next().err().unwrap();
        assert!(matches!(error, ReportError::TooManyColumns { line: 1, .. }), "{error}");
    }

    #[test]
    fn an_endless_quote_is_refused_within_the_buffer() {
        let text = b"a,b\n1,\"".chain(io::repeat(b'\n').take(1 << 30));
        let mut records = Records::open(text).unwrap();
        records.next().unwrap();
        let error = records.next().err().unwrap();
        assert!(matches!(error, ReportError::RowTooLong { line: 2, .. }), "{error}");
    }
}
