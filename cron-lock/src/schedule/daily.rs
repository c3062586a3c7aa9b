use chrono::{Days, NaiveDateTime, NaiveTime};

use super::wall::Wall;

/// Once a day, at one time on the wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Daily {
    time: NaiveTime,
}

impl Daily {
    /// From `02:30` or `02:30:15`, and what is wrong with anything else.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_well_formed = text.bytes().enumerate().all(|(i, byte)| match i % 3 {
            2 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
        let format = match text.len() {
            5 => "%H:%M",
            8 => "%H:%M:%S",
            _ => return Err(format!("time {text:?}: neither HH:MM nor HH:MM:SS")),
        };
        // chrono reads the leap second :60, which no wall shows
        let is_leap = text.ends_with(":60");
        match NaiveTime::parse_from_str(text, format) {
            Ok(time) if is_well_formed && !is_leap => Ok(Self { time }),
            _ => Err(format!("time {text:?}: there is no such time of day")),
        }
    }
}

impl Wall for Daily {
    fn next_after(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let today = after.date().and_time(self.time);
        if today > after { Some(today) } else { today.checked_add_days(Days::new(1)) }
    }

    fn is_fixed(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        format!("daily at {}", self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_of_day_is_refused() {
        for wrong in ["", "2:30", "24:00", "12:60", "12:30:60", "ab:cd", "12-30", "12:30:", "+2:30"]
        {
            assert!(Daily::parse(wrong).is_err(), "{wrong:?}");
        }
        for right in ["00:00", "23:59:59"] {
            assert!(Daily::parse(right).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn the_next_one_is_today_or_tomorrow() {
        let daily = Daily::parse("02:30").unwrap();
        for (after, next) in [
            ("2026-02-28T02:29:59", "2026-02-28T02:30:00"),
            ("2026-02-28T02:30:00", "2026-03-01T02:30:00"),
        ] {
            assert_eq!(daily.next_after(after.parse().unwrap()), next.parse().ok());
        }
    }
}
