use std::fmt;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::digest::Digest;

/// The digests that a browser takes as the `integrity` of a script or style sheet.
///
/// ```
/// use standfast_asset_hash::SriAlgorithm;
///
/// let integrity = SriAlgorithm::Sha384.of(b"alert('Hello, world.');");
/// assert_eq!(
///     integrity,
///     "sha384-H8BRh8j48O9oYatfu5AZzq6A9RINhZO5H16dQZngK7T62em8MUt1FLm52t+eX6xO",
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SriAlgorithm {
    /// What the manifest has already, so it costs nothing.
    #[default]
    Sha256,
    /// What many guides recommend.
    Sha384,
    /// The longest.
    Sha512,
}

impl SriAlgorithm {
    /// The integrity of these bytes.
    pub fn of(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => Digest::of(bytes).integrity(),
            Self::Sha384 => format!("sha384-{}", STANDARD.encode(Sha384::digest(bytes))),
            Self::Sha512 => format!("sha512-{}", STANDARD.encode(Sha512::digest(bytes))),
        }
    }

    /// The integrity of what the reader gives. Blocks.
    ///
    /// # Errors
    ///
    /// What the reader met.
    pub fn read(self, mut from: impl Read) -> io::Result<String> {
        fn all<D: sha2::Digest>(from: &mut dyn Read) -> io::Result<String> {
            let (mut digest, mut buffer) = (D::new(), vec![0; 1 << 16]);
            loop {
                match from.read(&mut buffer) {
                    Ok(0) => return Ok(STANDARD.encode(digest.finalize())),
                    Ok(read) => digest.update(&buffer[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let text = match self {
            Self::Sha256 => all::<Sha256>(&mut from),
            Self::Sha384 => all::<Sha384>(&mut from),
            Self::Sha512 => all::<Sha512>(&mut from),
        };
        Ok(format!("{self}-{}", text?))
    }
}

impl fmt::Display for SriAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

impl Digest {
    /// The digest as a browser takes it in an `integrity` attribute.
    pub fn integrity(self) -> String {
        format!("sha256-{}", STANDARD.encode(self.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_gives_what_the_bytes_give() {
        let bytes = vec![7; 100_000];
        for algorithm in [SriAlgorithm::Sha256, SriAlgorithm::Sha384, SriAlgorithm::Sha512] {
            assert_eq!(algorithm.read(&bytes[..]).unwrap(), algorithm.of(&bytes));
        }
    }
}
