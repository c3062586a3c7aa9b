//! Small renderings of text and numbers for people.

use std::fmt::{self, Display, Write};

/// The first `limit` characters, marked when some were left off; control characters show as blanks.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(limit).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Text made safe for HTML content and quoted attributes.
pub(crate) struct Html<'a>(pub(crate) &'a str);

impl Display for Html<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            '\0' => out.write_char('\u{fffd}'),
            other => out.write_char(other),
        })
    }
}

/// A plainly written number with commas between its thousands.
pub(super) fn thousands(number: &impl Display) -> String {
    let plain = number.to_string();
    let whole = plain.find('.').unwrap_or(plain.len());
    let first = plain.starts_with('-').into();
    let mut grouped = String::with_capacity(plain.len() * 4 / 3);
    for (at, c) in plain.char_indices() {
        if at > first && at < whole && (whole - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped
}

/// About how much, in a few characters: `1.2M`.
pub(super) fn compact(value: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")];
    let size = value.abs();
    if size >= 1e15 {
        return format!("{value:.1e}");
    }
    let (scaled, unit) = UNITS
        .iter()
        .find(|(step, _)| size >= *step)
        .map_or((value, ""), |(step, unit)| (value / step, *unit));
    let digits = if scaled.abs() >= 100.0 || scaled == scaled.trunc() { 0 } else { 1 };
    if size > 0.0 && size < 0.1 {
        return format!("{value:.1e}");
    }
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shorten("grüße", 5), "grüße");
        assert_eq!(shorten("grüße", 3), "grü…");
        assert_eq!(shorten("two\nlines", 20), "two lines");
    }

    #[test]
    fn markup_is_only_text() {
        assert_eq!(Html("<b a='\"'>&").to_string(), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn commas_stand_between_thousands() {
        for (plain, grouped) in [
            ("7", "7"),
            ("123", "123"),
            ("-123", "-123"),
            ("1234", "1,234"),
            ("-1234567.8912", "-1,234,567.8912"),
        ] {
            assert_eq!(thousands(&plain), grouped);
        }
    }

    #[test]
    fn compact_numbers_keep_what_matters() {
        for (value, short) in [
            (0.0, "0"),
            (12.5, "12.5"),
            (950.0, "950"),
            (1234.0, "1.2k"),
            (-2_000_000.0, "-2M"),
            (0.004, "4.0e-3"),
            (3e20, "3.0e20"),
        ] {
            assert_eq!(compact(value), short);
        }
    }
}
