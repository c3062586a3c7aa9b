//! An upload that is still on its way.

use super::{
    ReportError,
    records::{MAX_COLUMNS, MAX_RECORD},
    sniff::{check_start, check_text},
};

/// How many bytes it takes to tell what kind of file this is.
const TELLING: usize = 8;
/// No line of a record within its limits is longer: it may have all its quotes doubled, and two
/// more and a separator for each value.
const MAX_LINE: usize = 2 * MAX_RECORD + 3 * MAX_COLUMNS + 1;

/// Looks at a file while it arrives, so that half a gigabyte of what can be no table is refused
/// at its beginning.
///
/// Passing means little: see [`inspect_file`](super::inspect_file), which is to follow.
#[derive(Debug, Default)]
pub struct Arrival {
    start: Vec<u8>,
    lines: u64,
    /// The bytes since the last line break.
    unbroken: usize,
}

impl Arrival {
    /// Looks at the next bytes; how the file is cut into pieces makes no difference.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), ReportError> {
        if self.start.len() < TELLING {
            let more = bytes.len().min(TELLING - self.start.len());
            self.start.extend_from_slice(&bytes[..more]);
            if self.start.len() < TELLING {
                return Ok(());
            }
            check_start(&self.start)?;
        }
        check_text(bytes)?;
        self.unbroken = match bytes.iter().rposition(|b| matches!(b, b'\r' | b'\n')) {
            Some(last) => bytes.len() - last - 1,
            None => self.unbroken + bytes.len(),
        };
        self.lines += bytes.iter().filter(|b| **b == b'\n').count() as u64;
        if self.unbroken > MAX_LINE {
            return Err(ReportError::RowTooLong { line: self.lines + 1, limit: MAX_RECORD });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::inspect;

    fn arrive(pieces: &[&[u8]]) -> Result<(), ReportError> {
        let mut arrival = Arrival::default();
        pieces.iter().try_for_each(|piece| arrival.check(piece))
    }

    #[test]
    fn pieces_of_any_size_are_the_same_file() {
        let zip = b"PK\x03\x04\x14\0\0\0\0";
        let utf16 = b"\xff\xfea\0,\0b\0\n\0";
        for (file, word) in [(&zip[..], "zip"), (utf16, "UTF-16")] {
            let single: Vec<_> = file.chunks(1).collect();
            for error in [arrive(&[file]).unwrap_err(), arrive(&single).unwrap_err()] {
                assert!(error.to_string().contains(word), "{error}");
            }
        }
        arrive(&[b"\xef\xbb\xbf", b"", b"a,b\n1,2\n"]).unwrap();
        assert!(matches!(arrive(&[b"\xef\xbb\xbf\r", b"\na,b\n"]), Err(ReportError::NoHeader)));
    }

    #[test]
    fn a_line_without_end_is_refused_where_it_is() {
        let (head, piece) = (&b"a,b\n1,2\n3,"[..], [b'x'; 64 << 10]);
        let mut arrival = Arrival::default();
        arrival.check(head).unwrap();
        let passed = (0..).take_while(|_| arrival.check(&piece).is_ok()).count();
        assert_eq!(passed, MAX_LINE / piece.len());
        let error = arrival.check(&piece).unwrap_err();
        assert!(matches!(error, ReportError::RowTooLong { line: 3, .. }), "{error}");
    }

    #[test]
    fn the_longest_line_of_a_good_record_passes() {
        let quotes = "\"\"".repeat(MAX_RECORD - 100);
        for end in ["\r", "\n", "\r\n"] {
            let text = format!("a,b{end}\"{quotes}\",2{end}");
            arrive(&[text.as_bytes()]).unwrap();
            assert_eq!(inspect(text.as_bytes()).unwrap().rows, Some(1));
        }
    }
}
