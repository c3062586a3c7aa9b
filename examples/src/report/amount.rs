//! Decimal numbers that add up exactly or not at all.
//!
//! Money summed as floating point drifts, and decimal types that round when digits run out hide it;
//! this one says so.

use std::{
    cmp::Ordering,
    fmt::{self, Display},
};

/// The most digits behind the point.
const MAX_SCALE: u32 = 18;

/// An exact decimal number: `units` divided by ten to the power of `scale`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Amount {
    units: i128,
    scale: u32,
}

/// Why a text is not an [`Amount`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    /// It is not a plainly written number.
    NotANumber,
    /// It is a number, but has too many digits.
    TooManyDigits,
}

impl Amount {
    /// Reads an optional sign and digits around an optional point.
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let (negative, digits) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let plain = |b: &u8| b.is_ascii_digit() || *b == b'.';
        let points = digits.iter().filter(|b| **b == b'.').count();
        if !digits.iter().all(plain) || points > 1 || digits.len() == points {
            return Err(Invalid::NotANumber);
        }
        let scale = digits.iter().rev().position(|b| *b == b'.').unwrap_or(0);
        let scale = u32::try_from(scale)
            .ok()
            .filter(|scale| *scale <= MAX_SCALE)
            .ok_or(Invalid::TooManyDigits)?;
        let units = digits
            .iter()
            .filter(|b| b.is_ascii_digit())
            .try_fold(0i128, |sum, b| sum.checked_mul(10)?.checked_add((b - b'0').into()))
            .ok_or(Invalid::TooManyDigits)?;
        Ok(Self { units: if negative { -units } else { units }, scale })
    }

    /// The exact sum, or nothing when it has too many digits.
    pub(super) fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let units = self.units_at(scale)?.checked_add(other.units_at(scale)?)?;
        Some(Self { units, scale })
    }

    /// The same number with as many digits behind the point as `other`, if they fit.
    pub(super) fn written_like(self, other: Self) -> Self {
        self.checked_add(Self { units: 0, scale: other.scale }).unwrap_or(self)
    }

    /// Whether it is below zero.
    pub(super) fn is_negative(self) -> bool {
        self.units < 0
    }

    /// The nearest floating-point number, for drawing.
    pub(super) fn approximate(self) -> f64 {
        self.units as f64 / 10f64.powi(self.scale as i32)
    }

    fn units_at(self, scale: u32) -> Option<i128> {
        self.units.checked_mul(10i128.pow(scale - self.scale))
    }

    /// The whole part, and the rest in the smallest units there are.
    fn parts(self) -> (i128, i128) {
        let one = 10i128.pow(self.scale);
        (self.units / one, self.units % one * 10i128.pow(MAX_SCALE - self.scale))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Amount {}

impl Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10u128.pow(self.scale);
        let sign = if self.is_negative() { "-" } else { "" };
        let size = self.units.unsigned_abs();
        write!(out, "{sign}{}", size / one)?;
        match self.scale as usize {
            0 => Ok(()),
            width => write!(out, ".{:0width$}", size % one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn plain_numbers_are_read_and_written() {
        for (text, shown) in [
            ("0", "0"),
            ("-0", "0"),
            ("+7", "7"),
            ("007.50", "7.50"),
            ("-.5", "-0.5"),
            ("3.", "3"),
            ("-12345678901234567890.123", "-12345678901234567890.123"),
        ] {
            assert_eq!(amount(text).to_string(), shown);
        }
    }

    #[test]
    fn other_notations_are_no_numbers() {
        for text in
            ["", "-", ".", "1,234", "1 234", "1.2.3", "1e5", "0x1f", "--1", "€5", "NaN", "١"]
        {
            assert_eq!(Amount::parse(text), Err(Invalid::NotANumber), "{text}");
        }
    }

    #[test]
    fn digits_that_do_not_fit_are_refused() {
        assert_eq!(Amount::parse(&"9".repeat(40)), Err(Invalid::TooManyDigits));
        assert_eq!(Amount::parse(&format!("0.{}", "1".repeat(19))), Err(Invalid::TooManyDigits));
    }

    #[test]
    fn sums_are_exact_or_absent() {
        assert_eq!(amount("0.1").checked_add(amount("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(amount("1.5").checked_add(amount("-2")).unwrap().to_string(), "-0.5");
        let large = amount(&"9".repeat(38));
        assert!(large.checked_add(large).is_none());
        assert!(large.checked_add(amount("0.1")).is_none());
    }

    #[test]
    fn numbers_can_be_written_alike() {
        assert_eq!(amount("2").written_like(amount("0.10")).to_string(), "2.00");
        assert_eq!(amount("2.125").written_like(amount("0.1")).to_string(), "2.125");
    }

    #[test]
    fn order_ignores_how_a_number_is_written() {
        let rising = ["-10", "-1.5", "-0.2", "0", "0.05", "0.3", "2", "10"].map(amount);
        assert!(rising.is_sorted());
        assert_eq!(amount("1.50"), amount("1.5"));
        assert_eq!(amount("-0.20").cmp(&amount("-0.2")), Ordering::Equal);
    }
}
