use std::fmt::{self, Write as _};
use std::str::FromStr;

use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{Digest as _, Sha256};
use standfast_core::{Error, ErrorKind, Result};

/// The CRC64NVME of a whole blob: what every backend computes, keeps and compares, because S3
/// recommends it and one core does gigabytes of it a second.
///
/// ```
/// use standfast_blobstore::Crc64;
///
/// assert_eq!(Crc64::of(b"123456789").to_string(), "ae8b14860a799888");
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Crc64(u64);

impl Crc64 {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut crc = Crc::new(CrcAlgorithm::Crc64Nvme);
        crc.update(bytes);
        Self(crc.finalize())
    }

    /// The checksum of bytes with this one and, behind them, `len` bytes with the other one.
    pub(crate) fn then(self, other: Self, len: u64) -> Self {
        Self(crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, self.0, other.0, len))
    }

    /// The checksum with this value.
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// The value of the checksum.
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

/// The SHA-256 of a whole blob: checked by the store where the caller gives it.
///
/// ```
/// use standfast_blobstore::Sha256Digest;
///
/// let digest = Sha256Digest::of(b"report");
/// assert_eq!(digest.to_string().parse::<Sha256Digest>()?, digest);
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// Computes the checksums of a body piece by piece: what a backend runs over everything it stores.
///
/// ```
/// use standfast_blobstore::{Checksums, Crc64};
///
/// let mut sums = Checksums::new(false);
/// sums.update(b"12345");
/// sums.update(b"6789");
/// assert_eq!(sums.crc64(), Crc64::of(b"123456789"));
/// assert_eq!(sums.len(), 9);
/// ```
#[derive(Clone)]
pub struct Checksums {
    crc: Crc,
    sha256: Option<Sha256>,
    len: u64,
}

impl Checksums {
    /// Checksums of nothing yet; the SHA-256 costs time and is computed only if asked for.
    pub fn new(with_sha256: bool) -> Self {
        Self {
            crc: Crc::new(CrcAlgorithm::Crc64Nvme),
            sha256: with_sha256.then(Sha256::new),
            len: 0,
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.crc.update(piece);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(piece);
        }
        self.len += piece.len() as u64;
    }

    /// How many bytes there were.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there was no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The checksum of what came so far.
    pub fn crc64(&self) -> Crc64 {
        Crc64(self.crc.finalize())
    }

    /// The digest of what came so far, if it was asked for.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.sha256.clone().map(|sha256| Sha256Digest(sha256.finalize().into()))
    }
}

impl fmt::Debug for Checksums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checksums").field("len", &self.len).finish_non_exhaustive()
    }
}

impl fmt::Display for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Crc64 {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        unhex(text).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
            .try_for_each(|digit| f.write_char(digit))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        unhex(text).map(Self)
    }
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N]> {
    let wrong = || {
        Error::new(ErrorKind::Invalid, "blobstore", "blob.checksum")
            .with_detail(format!("not {} hexadecimal digits", N * 2))
    };
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut out = [0; N];
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_survive_their_text() {
        let crc = Crc64::from_u64(7);
        assert_eq!(crc.to_string().parse::<Crc64>().unwrap(), crc);
        for wrong in ["", "7", "zz8b14860a799888", "ae8b14860a79988", "é8b14860a799888"] {
            assert!(wrong.parse::<Crc64>().is_err(), "{wrong:?}");
        }
    }
}
