//! What the first bytes of a file tell.

use super::ReportError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const SIGNATURES: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF-", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x89PNG", "a picture"),
];

const DELIMITERS: [u8; 4] = *b",;\t|";

/// Refuses a file whose first bytes already show that it is no CSV.
pub(super) fn check_start(start: &[u8]) -> Result<(), ReportError> {
    if let Some((_, kind)) = SIGNATURES.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(ReportError::Binary { kind });
    }
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return Err(ReportError::Utf16);
    }
    check_text(start)?;
    match without_mark(start).first() {
        None => Err(ReportError::Empty),
        Some(b'\r' | b'\n') => Err(ReportError::NoHeader),
        Some(_) => Ok(()),
    }
}

/// Refuses NUL bytes, which no text has.
pub(super) fn check_text(bytes: &[u8]) -> Result<(), ReportError> {
    if bytes.contains(&0) {
        return Err(ReportError::Binary { kind: "a binary file" });
    }
    Ok(())
}

/// The bytes behind a UTF-8 byte order mark, which spreadsheets like to write.
pub(super) fn without_mark(start: &[u8]) -> &[u8] {
    start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start)
}

/// The separator that occurs most often in the first line, outside quotes.
pub(super) fn delimiter(start: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [0usize; DELIMITERS.len()];
    for byte in start {
        match byte {
            b'"' => quoted = !quoted,
            b'\r' | b'\n' if !quoted => break,
            byte if !quoted => {
                if let Some(at) = DELIMITERS.iter().position(|d| d == byte) {
                    counts[at] += 1;
                }
            }
            _ => {}
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let first = counts.iter().position(|count| *count == most).unwrap_or(0);
    DELIMITERS[first]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_separator_wins() {
        for (header, expected) in [
            ("a,b,c", b','),
            ("a;b;c", b';'),
            ("a\tb", b'\t'),
            ("a|b\n,,,,", b'|'),
            ("name, first;age;city", b';'),
            ("\"a;b;c;d\",e", b','),
            ("alone", b','),
        ] {
            assert_eq!(delimiter(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn other_kinds_of_file_are_named() {
        for (start, word) in [
            (&b"PK\x03\x04\x14\x00"[..], "zip"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (b"%PDF-1.7", "PDF"),
            (b"\xd0\xcf\x11\xe0\xa1", "Excel"),
            (b"a,b\n1,\x002\n", "binary"),
            (b"\xff\xfea\x00", "UTF-16"),
            (b"\xfe\xff\x00a", "UTF-16"),
        ] {
            let error = check_start(start).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert!(error.is_permanent());
        }
    }

    #[test]
    fn a_start_of_text_passes() {
        check_start(b"a,b\n1").unwrap();
        check_start(b"\xef\xbb\xbfa,b").unwrap();
        assert!(matches!(check_start(b"\xef\xbb\xbf"), Err(ReportError::Empty)));
        assert!(matches!(check_start(b"\r\na,b"), Err(ReportError::NoHeader)));
    }
}
