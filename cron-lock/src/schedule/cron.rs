//! Cron expressions: croner reads and matches them, on the wall; zones are dealt with elsewhere.

use std::fmt;

use chrono::{Datelike, NaiveDate, NaiveDateTime};
use croner::Weekday;

use super::wall::Wall;

/// A cron expression that is due some day.
#[derive(Clone)]
pub(crate) struct Expression {
    text: String,
    cron: croner::Cron,
    is_fixed: bool,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Reads five to seven fields or a name such as `@daily`; else says what is wrong, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fields = fields(text);
        let wrong = |at: usize, what: &dyn fmt::Display| {
            let column = text[..at].chars().count() + 1;
            format!("cron expression {text:?}, column {column}: {what}")
        };
        let is_name = fields.len() == 1 && text.contains('@');
        if !is_name {
            check_fields(text, &fields).map_err(|(at, what)| wrong(at, &what))?;
        }
        let cron: croner::Cron =
            text.parse().map_err(|error| wrong(fields.first().map_or(0, |f| f.0), &error))?;
        let time_fields = if is_name { 0 } else { fields.len().min(6) - 3 };
        let is_fixed = match is_name {
            true => !text.trim().eq_ignore_ascii_case("@hourly"),
            false => !fields[..time_fields].iter().any(|(_, field)| field.starts_with('*')),
        };
        let expression = Self { text: text.trim().to_owned(), cron, is_fixed };
        if !expression.has_a_date() {
            let day_of_month = fields.get(time_fields).map_or(0, |field| field.0);
            return Err(wrong(day_of_month, &"there is no such date"));
        }
        Ok(expression)
    }

    /// Whether any day of the Gregorian cycle of 400 years matches.
    fn has_a_date(&self) -> bool {
        let pattern = &self.cron.pattern;
        let years = (1970..2370).filter(|year| pattern.year_match(*year).unwrap_or(false));
        years.flat_map(|year| (1..=12).map(move |month| (year, month))).any(|(year, month)| {
            pattern.month_match(month).unwrap_or(false)
                && (1..=31).any(|day| {
                    NaiveDate::from_ymd_opt(year, month, day).is_some_and(|date| {
                        let weekday = date.weekday().num_days_from_sunday();
                        let weekday = Weekday::from_days_from_sunday(weekday);
                        pattern.day_match(year, month, day, weekday).unwrap_or(false)
                    })
                })
        })
    }
}

impl Wall for Expression {
    fn next_after(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_next_occurrence(&after, false).ok()
    }

    fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    fn describe(&self) -> String {
        format!("cron `{}`", self.text)
    }
}

/// The fields, each with the byte at which it begins.
fn fields(text: &str) -> Vec<(usize, &str)> {
    let start = text.as_ptr().addr();
    text.split_whitespace().map(|field| (field.as_ptr().addr() - start, field)).collect()
}

/// Finds the first item of the first field that croner does not take, by asking it about each item
/// with all else a `*`: its own errors do not say where.
fn check_fields(text: &str, fields: &[(usize, &str)]) -> Result<(), (usize, String)> {
    if !(5..=7).contains(&fields.len()) {
        let at = fields.get(7).map_or_else(|| text.trim_end().len(), |field| field.0);
        return Err((at, format!("{} fields, not 5 to 7", fields.len())));
    }
    let first = usize::from(fields.len() == 5);
    for (index, (start, field)) in fields.iter().enumerate() {
        let mut at = *start;
        for item in field.split(',') {
            let letters = letters(index + first, item);
            if item.is_empty() || !letters {
                let what = if item.is_empty() { "nothing between commas" } else { "no such name" };
                return Err((at, what.to_owned()));
            }
            let mut probe = vec!["*"; fields.len()];
            probe[index] = item;
            if let Err(error) = probe.join(" ").parse::<croner::Cron>() {
                return Err((at, error.to_string()));
            }
            at += item.len() + 1;
        }
    }
    Ok(())
}

/// Whether the letters of an item are names of its field; croner takes the names of weekdays and
/// months anywhere. Fields are counted with seconds as 0.
fn letters(field: usize, item: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let mut words = item.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.all(|word| {
        let word = word.to_uppercase();
        match field {
            3 => ["L", "W", "LW"].contains(&&*word),
            4 => MONTHS.contains(&&*word),
            5 => word == "L" || DAYS.contains(&word.strip_suffix('L').unwrap_or(&word)),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(text: &str) -> usize {
        let error = Expression::parse(text).expect_err(text);
        let (_, rest) = error.rsplit_once("column ").expect("a column");
        rest.split(':').next().unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_column() {
        for (text, at) in [
            ("", 1),
            ("* * * *", 8),
            ("* * * * * * * *", 15),
            ("60 * * * *", 1),
            ("0 24 * * *", 3),
            ("0 0 32 * *", 5),
            ("0 0 0 * *", 5),
            ("0 0 1 13 *", 7),
            ("0 0 1 * 8", 9),
            ("0 0 1,5,32 * *", 9),
            ("0 0 1,,5 * *", 7),
            ("0 0 1, * *", 7),
            ("5-1 * * * *", 1),
            ("*/0 * * * *", 1),
            ("0 é * * *", 3),
            ("SUN * * * *", 1),
            ("0 0 * MON *", 7),
            ("0 0 * * FEB", 9),
            ("0 0 * * MO", 9),
            ("  0   0 32 * *", 9),
            ("@fortnightly", 1),
        ] {
            assert_eq!(column(text), at, "{text:?}");
        }
    }

    #[test]
    fn dates_that_never_come_are_refused_at_the_day() {
        for (text, at) in [
            ("0 0 30 2 *", 5),
            ("0 0 31 4,6,9,11 *", 5),
            ("0 0 30,31 FEB *", 5),
            ("0 0 0 29 2 * 2027", 7),
        ] {
            assert_eq!(column(text), at, "{text:?}");
        }
        for text in ["0 0 29 2 *", "0 0 31 4,5 *", "0 0 30 2 1", "0 0 29 2 +1", "0 0 L 2 *"] {
            assert!(Expression::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn what_is_taken_means_what_vixie_cron_means() {
        let next = |text: &str, after: &str| {
            let next = Expression::parse(text).expect(text).next_after(after.parse().unwrap());
            next.unwrap().to_string()
        };
        for (text, after, expected) in [
            ("*/15 * * * *", "2026-03-01T11:30:00", "2026-03-01 11:45:00"),
            ("0 9 * * MON-FRI", "2026-02-27T09:00:00", "2026-03-02 09:00:00"),
            // the 13th, or any Friday
            ("0 0 13 * 5", "2026-03-01T00:00:00", "2026-03-06 00:00:00"),
            // the 13th, if it is a Friday
            ("0 0 13 * +5", "2026-03-14T00:00:00", "2026-11-13 00:00:00"),
            ("0 0 L * *", "2026-02-01T00:00:00", "2026-02-28 00:00:00"),
            ("0 0 * * 7", "2026-03-02T00:00:00", "2026-03-08 00:00:00"),
            ("0 0 * * mon#1", "2026-03-03T00:00:00", "2026-04-06 00:00:00"),
            ("@monthly", "2026-02-01T00:00:00", "2026-03-01 00:00:00"),
            ("30 0 0 1 1 * 2028", "2026-02-01T00:00:00", "2028-01-01 00:00:30"),
        ] {
            assert_eq!(next(text, after), expected, "{text:?}");
        }
    }

    #[test]
    fn a_star_in_the_time_makes_an_interval() {
        for (text, is_fixed) in [
            ("30 2 * * *", true),
            ("0 2,14 * * *", true),
            ("0 9-17 * * *", true),
            ("30 * * * *", false),
            ("*/5 2 * * *", false),
            ("* 30 2 * * *", false),
            ("0 30 2 * * *", true),
            ("@daily", true),
            ("@hourly", false),
        ] {
            assert_eq!(Expression::parse(text).unwrap().is_fixed, is_fixed, "{text:?}");
        }
    }
}
