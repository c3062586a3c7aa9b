//! Signatures of version 4, as Amazon describes them under "Authenticating Requests: Using the
//! Authorization Header". The SDK's signer gives the same; the unit test and every service of the
//! test suite compare.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::checksum::Sha256Digest;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The digest of no bytes.
pub(super) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is said of a body whose digest is not signed: its checksum is a header, which is.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// When and where a signature counts.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    day: String,
    /// The time as a header or a field says it.
    pub(super) time: String,
    region: &'a str,
}

impl<'a> Scope<'a> {
    pub(super) fn new(now: DateTime<Utc>, region: &'a str) -> Self {
        let time = now.format("%Y%m%dT%H%M%SZ").to_string();
        let day = time.split('T').next().unwrap_or_default().to_owned();
        Self { day, time, region }
    }

    /// The scope behind the id of the key that signs.
    pub(super) fn credential(&self, access_key_id: &str) -> String {
        format!("{access_key_id}/{}/{}/s3/aws4_request", self.day, self.region)
    }

    pub(super) fn sign(&self, secret: &str, text: &str) -> String {
        let day = mac(format!("AWS4{secret}").as_bytes(), &self.day);
        let steps = [self.region, "s3", "aws4_request"];
        let key = steps.iter().fold(day, |key, step| mac(&key, step));
        Sha256Digest::from_bytes(mac(&key, text)).to_string()
    }

    /// What the header `authorization` of a request without a query says. `headers` are in the
    /// order of their names, which are in lower case.
    pub(super) fn authorization(
        &self,
        (access_key_id, secret): (&str, &str),
        method: &str,
        path: &str,
        headers: &[(impl AsRef<str>, impl AsRef<str>)],
        digest: &str,
    ) -> String {
        let mut names = String::new();
        let mut canonical = format!("{method}\n{path}\n\n");
        for (name, value) in headers {
            let name = name.as_ref();
            if !names.is_empty() {
                names.push(';');
            }
            names.push_str(name);
            canonical.push_str(name);
            canonical.push(':');
            for (at, word) in value.as_ref().split_ascii_whitespace().enumerate() {
                if at > 0 {
                    canonical.push(' ');
                }
                canonical.push_str(word);
            }
            canonical.push('\n');
        }
        canonical.extend(["\n", &*names, "\n", digest]);
        let canonical = Sha256Digest::of(canonical.as_bytes());
        let credential = self.credential(access_key_id);
        let scope = &credential[access_key_id.len() + 1..];
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{canonical}", self.time);
        let signature = self.sign(secret, &text);
        format!("{ALGORITHM} Credential={credential},SignedHeaders={names},Signature={signature}")
    }
}

fn mac(key: &[u8], text: &str) -> [u8; 32] {
    // invariant: HMAC takes keys of every length
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys, the time and the signatures of the examples in Amazon's description.
    const KEYS: (&str, &str) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");

    fn scope() -> Scope<'static> {
        Scope::new("2013-05-24T00:00:00Z".parse().unwrap(), "us-east-1")
    }

    #[test]
    fn a_get_is_signed_as_amazon_signs_it() {
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let says = scope().authorization(KEYS, "GET", "/test.txt", &headers, EMPTY);
        assert_eq!(
            says,
            "AWS4-HMAC-SHA256 \
             Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn a_put_is_signed_as_amazon_signs_it() {
        let digest = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let mut headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", digest),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        let path = "/test%24file.text";
        let signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
        let says = scope().authorization(KEYS, "PUT", path, &headers, digest);
        assert_eq!(says.rsplit('=').next(), Some(signature));
        headers[0].1 = "  Fri, 24  May 2013 00:00:00 GMT ";
        let says = scope().authorization(KEYS, "PUT", path, &headers, digest);
        assert_eq!(says.rsplit('=').next(), Some(signature), "spaces count once");
    }
}
