use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use standfast_core::{Error, ErrorKind, Id128, SessionRef};

/// What a cookie carries: `<ref>.<verifier>`, of which only the verifier is a secret.
///
/// `Debug` shows the reference alone, and there is no `Display`: the secret leaves only through
/// [`expose`](Self::expose), whose result belongs into a `Set-Cookie` header and nowhere else.
///
/// ```
/// use standfast_session::SessionToken;
///
/// let token = SessionToken::random();
/// let cookie = token.expose();
/// assert_eq!(cookie.parse::<SessionToken>()?.session(), token.session());
/// assert!(!format!("{token:?}").contains(&cookie[33..]));
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionToken {
    session: SessionRef,
    verifier: Id128,
}

impl SessionToken {
    /// The token of a session to be.
    pub fn random() -> Self {
        Self { session: SessionRef::random(), verifier: Id128::random() }
    }

    /// The token whose two halves are these.
    #[cfg(any(feature = "tower-sessions-0-14", feature = "tower-sessions-0-15"))]
    pub(crate) fn of(session: Id128, verifier: Id128) -> Self {
        Self { session: session.into(), verifier }
    }

    /// A new secret for the same session.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self { session: self.session, verifier: Id128::random() }
    }

    /// Which session it is: safe in logs and jobs.
    pub fn session(&self) -> SessionRef {
        self.session
    }

    /// What the store keeps and compares in place of the secret.
    pub fn verifier_hash(&self) -> VerifierHash {
        let mut hash = Sha256::new();
        hash.update(b"standfast:session:1\0");
        hash.update(Id128::from(self.session).to_bytes());
        hash.update(self.verifier.to_bytes());
        VerifierHash(hash.finalize().into())
    }

    /// The cookie value, secret included.
    pub fn expose(&self) -> String {
        format!("{}.{}", self.session, self.verifier)
    }
}

impl FromStr for SessionToken {
    type Err = Error;

    /// Reads a cookie value. What does not look like one of ours is `Invalid`; the message does
    /// not repeat it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed =
            || Error::new(ErrorKind::Invalid, "session", "token.parse").with_detail("malformed");
        let (session, verifier) = text.split_once('.').ok_or_else(malformed)?;
        Ok(Self {
            session: session.parse().map_err(|_| malformed())?,
            verifier: verifier.parse().map_err(|_| malformed())?,
        })
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionToken").field("session", &self.session).finish_non_exhaustive()
    }
}

/// The SHA-256 of a verifier, bound to its session. Comparing takes the same time for all values.
///
/// ```
/// use standfast_session::SessionToken;
///
/// let token = SessionToken::random();
/// assert_eq!(token.verifier_hash(), token.verifier_hash());
/// assert_ne!(token.verifier_hash(), token.renewed().verifier_hash());
/// ```
#[derive(Clone, Copy, Eq)]
pub struct VerifierHash([u8; 32]);

impl VerifierHash {
    /// The hash as a backend has stored it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl PartialEq for VerifierHash {
    fn eq(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(other.0).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differences) == 0
    }
}

impl fmt::Debug for VerifierHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifierHash(..)")
    }
}

/// By what right an operation touches a session.
///
/// ```
/// use standfast_session::{Access, SessionToken};
///
/// let token = SessionToken::random();
/// let (visitor, worker) = (Access::bearer(&token), Access::trusted(token.session()));
/// assert_eq!(visitor.session(), worker.session());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Access {
    /// Came with a cookie: the store compares the hash in the same step as whatever it does.
    Bearer {
        /// Which session.
        session: SessionRef,
        /// The hash of the secret that was shown.
        verifier: VerifierHash,
    },
    /// Code of ours that was handed a reference, such as a worker. It reads, writes and ends
    /// sessions; it neither rotates them nor keeps them alive.
    Trusted {
        /// Which session.
        session: SessionRef,
    },
}

impl Access {
    /// Whoever shows this token.
    pub fn bearer(token: &SessionToken) -> Self {
        Self::Bearer { session: token.session(), verifier: token.verifier_hash() }
    }

    /// Code of ours.
    pub fn trusted(session: SessionRef) -> Self {
        Self::Trusted { session }
    }

    /// Which session.
    pub fn session(&self) -> SessionRef {
        match self {
            Self::Bearer { session, .. } | Self::Trusted { session } => *session,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_does_not_parse_and_is_not_repeated() {
        let good = SessionToken::random().expose();
        for wrong in
            ["", ".", "abc", &good[..64], &good[1..], &good.replace('.', ":"), &good.to_uppercase()]
        {
            let error = wrong.parse::<SessionToken>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(error.detail(), "malformed");
        }
    }

    #[test]
    fn the_hash_of_a_verifier_is_fixed_for_ever() {
        let text = format!("{}.{}", "00".repeat(16), "11".repeat(16));
        let token: SessionToken = text.parse().unwrap();
        // printf 'standfast:session:1\0<16 zero bytes><16 bytes 0x11>' | sha256sum
        let hex: String =
            token.verifier_hash().to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "32827e3a96f32aa282c45b27cbb092ca66ffa75087eaa85d1c6ecdcbe4ac464a");
    }
}
