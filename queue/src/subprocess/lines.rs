//! Lines of bounded length, and the tail of a stream.

use std::collections::VecDeque;

/// How much of a line that is not kept is still held, for the log.
const HEAD: usize = 2 * 1024;

/// Splits a stream into lines, holding a bounded part of each.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    held: Vec<u8>,
    cut: bool,
}

impl Lines {
    /// Lines of up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), cut: false }
    }

    /// Takes a part of the stream. `longer` says, from the first bytes of a line above the limit,
    /// how long that line may be; `each` gets every line that ended and whether it was cut.
    pub(super) fn push(
        &mut self,
        mut part: &[u8],
        longer: impl Fn(&[u8]) -> usize,
        mut each: impl FnMut(&[u8], bool),
    ) {
        while let Some(end) = part.iter().position(|&byte| byte == b'\n') {
            self.take(&part[..end], &longer);
            self.emit(&mut each);
            part = &part[end + 1..];
        }
        self.take(part, &longer);
    }

    /// The last line, if the stream did not end with a line end.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&[u8], bool)) {
        if !self.held.is_empty() {
            self.emit(&mut each);
        }
    }

    fn take(&mut self, part: &[u8], longer: &impl Fn(&[u8]) -> usize) {
        if self.cut {
            return;
        }
        let (fits, rest) =
            part.split_at(part.len().min(self.limit.saturating_sub(self.held.len())));
        self.held.extend_from_slice(fits);
        if rest.is_empty() {
            return;
        }
        if self.held.len() + rest.len() <= longer(&self.held) {
            self.held.extend_from_slice(rest);
        } else {
            self.cut = true;
            self.held.truncate(HEAD);
        }
    }

    fn emit(&mut self, each: &mut impl FnMut(&[u8], bool)) {
        let line = self.held.strip_suffix(b"\r").unwrap_or(&self.held);
        each(line, self.cut);
        self.held.clear();
        self.held.shrink_to(self.limit);
        self.cut = false;
    }
}

/// The last bytes of a stream.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: VecDeque::new(), cut: false }
    }

    pub(super) fn push(&mut self, part: &[u8]) {
        self.cut |= self.bytes.len() + part.len() > self.limit;
        let part = &part[part.len().saturating_sub(self.limit)..];
        let over = (self.bytes.len() + part.len()).saturating_sub(self.limit);
        self.bytes.drain(..over);
        self.bytes.extend(part);
    }

    /// The text. A character that the cut divides is left out; bytes that are no UTF-8 are replaced.
    pub(super) fn into_text(mut self) -> String {
        const LONGEST_REST: usize = 3;
        let bytes = self.bytes.make_contiguous();
        let divided = if self.cut {
            bytes.iter().take(LONGEST_REST).take_while(|&&byte| byte & 0xc0 == 0x80).count()
        } else {
            0
        };
        String::from_utf8_lossy(&bytes[divided..]).into_owned()
    }
}

/// A line as text for the log, at most `HEAD` bytes of it.
pub(super) fn log_text(line: &[u8]) -> String {
    if line.len() <= HEAD {
        return String::from_utf8_lossy(line).into_owned();
    }
    let mut end = HEAD;
    while end > HEAD - 4 && line[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    String::from_utf8_lossy(&line[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(limit: usize, longer: usize, parts: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::new(limit);
        let mut seen = Vec::new();
        let longer = |head: &[u8]| if head.starts_with(b"long") { longer } else { 0 };
        for part in parts {
            lines.push(part, longer, |line, cut| seen.push((line.to_vec(), cut)));
        }
        lines.finish(|line, cut| seen.push((line.to_vec(), cut)));
        seen
    }

    #[test]
    fn lines_are_put_together() {
        let seen = split(8, 0, &[b"a", b"b\n\ncd\r\nef", b"g"]);
        let expect: [(&[u8], bool); 4] =
            [(b"ab", false), (b"", false), (b"cd", false), (b"efg", false)];
        assert_eq!(seen, expect.map(|(line, cut)| (line.to_vec(), cut)));
    }

    #[test]
    fn a_line_over_the_limit_is_cut_unless_it_may_be_longer() {
        let seen =
            split(8, 12, &[b"123456789\nlong56789012\nlong567890123\nlon", b"g56789012", b"3\nx"]);
        let expect: [(&[u8], bool); 5] = [
            (b"12345678", true),
            (b"long56789012", false),
            (b"long5678", true),
            (b"long56789012", true),
            (b"x", false),
        ];
        assert_eq!(seen, expect.map(|(line, cut)| (line.to_vec(), cut)));
    }

    #[test]
    fn a_flood_without_line_end_is_not_held() {
        let mut lines = Lines::new(64 * 1024);
        for _ in 0..1000 {
            lines.push(&[b'x'; 16 * 1024], |_| 0, |_, _| panic!("no line ended"));
        }
        assert!(lines.held.len() <= HEAD);
        lines.push(b"\n", |_| 0, |line, cut| assert!(cut && line.len() == HEAD));
        assert!(lines.held.capacity() <= 64 * 1024);
    }

    #[test]
    fn the_tail_starts_at_a_character() {
        let mut tail = Tail::new(4);
        tail.push("aé".as_bytes());
        tail.push("öü".as_bytes());
        assert_eq!(tail.into_text(), "öü");
        let mut tail = Tail::new(4);
        tail.push("12345éä1".as_bytes());
        assert_eq!(tail.into_text(), "ä1");
        let mut tail = Tail::new(4);
        tail.push(b"\xa9a");
        assert_eq!(tail.into_text(), "\u{fffd}a");
    }

    #[test]
    fn log_text_is_bounded() {
        let line = "é".repeat(HEAD);
        assert_eq!(log_text(line.as_bytes()).len(), HEAD);
        let line = format!("a{line}");
        assert_eq!(log_text(line.as_bytes()).len(), HEAD - 1);
    }
}
