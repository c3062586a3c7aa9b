use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::random;

/// 128 bits, written as 32 lower-case hexadecimal digits: what the ids of the family are made of.
///
/// ```
/// use standfast_core::Id128;
///
/// let id = Id128::random();
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id128([u8; 16]);

/// Text that is not 32 hexadecimal digits.
///
/// ```
/// use standfast_core::{Id128, JobId, ParseIdError};
///
/// assert_eq!("job-17".parse::<JobId>(), Err(ParseIdError));
/// let shouted = Id128::from_bytes([0xab; 16]).to_string().to_uppercase();
/// assert_eq!(shouted.parse::<Id128>(), Err(ParseIdError));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not 32 lower-case hexadecimal digits")]
pub struct ParseIdError;

impl Id128 {
    /// Bits that nobody can guess.
    pub fn random() -> Self {
        Self(random::bytes())
    }

    /// The first 128 bits of the SHA-256 of `parts`, each preceded by its length, so that no two
    /// lists of parts meet.
    pub fn derive(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in [domain.as_bytes()].iter().chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(bytes)
    }

    /// The bits themselves.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The id with these bits.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn encode(self, out: &mut [u8; 32]) -> &str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        // invariant: hexadecimal digits are ASCII
        std::str::from_utf8(out).expect("digits are ASCII")
    }
}

impl fmt::Display for Id128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; 32]))
    }
}

impl fmt::Debug for Id128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id128 {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        fn digit(byte: u8) -> Result<u8, ParseIdError> {
            match byte {
                b'0'..=b'9' => Ok(byte - b'0'),
                b'a'..=b'f' => Ok(byte - b'a' + 10),
                _ => Err(ParseIdError),
            }
        }
        let text: &[u8; 32] = text.as_bytes().try_into().map_err(|_| ParseIdError)?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Id128 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.encode(&mut [0; 32]))
    }
}

impl<'de> Deserialize<'de> for Id128 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Id128;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 lower-case hexadecimal digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id128, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// Names one message: chosen by its sender, so that a send repeated after a timeout is the same
/// message. An id is no secret; what a client polls with is the job's status handle.
///
/// ```
/// use chrono::{TimeZone, Utc};
/// use standfast_core::JobId;
///
/// let tick = Utc.with_ymd_and_hms(2026, 3, 1, 2, 30, 0).unwrap();
/// assert_eq!(JobId::derive("shop", "invoices", tick), JobId::derive("shop", "invoices", tick));
/// assert_ne!(JobId::random(), JobId::random());
/// ```
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct JobId(Id128);

impl JobId {
    /// A fresh id.
    pub fn random() -> Self {
        Self(Id128::random())
    }

    /// The id of the run of `schedule` in `namespace` that is due at `instant`: the same in every
    /// process that computes it.
    pub fn derive(namespace: &str, schedule: &str, instant: DateTime<Utc>) -> Self {
        let instant = instant.to_rfc3339_opts(SecondsFormat::Micros, true);
        Self(Id128::derive(
            "standfast:job:1",
            &[namespace.as_bytes(), schedule.as_bytes(), instant.as_bytes()],
        ))
    }
}

impl From<Id128> for JobId {
    fn from(bits: Id128) -> Self {
        Self(bits)
    }
}

impl From<JobId> for Id128 {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_lower_case_digits_are_an_id() {
        for wrong in ["", "00", &"0".repeat(31), &"0".repeat(33), &"A".repeat(32), &"g".repeat(32)]
        {
            assert_eq!(wrong.parse::<Id128>(), Err(ParseIdError), "{wrong:?}");
        }
        assert!("é".repeat(16).parse::<Id128>().is_err());
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        assert_ne!(Id128::derive("d", &[b"ab", b"c"]), Id128::derive("d", &[b"a", b"bc"]));
    }

    #[test]
    fn the_derived_id_of_a_tick_is_fixed_for_ever() {
        let at = "2013-11-22T11:30:00Z".parse().unwrap();
        let id = JobId::derive("shop", "invoices", at).to_string();
        assert_eq!(id, "85ccdf4fb7badffe2f639aa59dbd7c2e");
    }

    #[test]
    fn an_id_survives_json() {
        let id = JobId::random();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<JobId>(&json).unwrap(), id);
    }
}
