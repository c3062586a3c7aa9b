//! The way to the bucket: its address, its region, who signs, over which connections.
//!
//! The SDK finds all this out for each request anew. Its answer is asked for by having it sign a URL,
//! which nothing is sent for, and holds for a minute: requests for single objects take it from here.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use chrono::{DateTime, TimeDelta, Utc};

use super::Inner;
use super::credentials::Used;

/// For so long what the SDK said is believed. Of credentials it believes it for longer itself.
const FRESH: Duration = Duration::from_secs(60);
/// So long before they expire, credentials are looked up anew.
const EARLY: TimeDelta = TimeDelta::seconds(30);

#[derive(Debug)]
pub(super) struct Route {
    /// The address of the bucket, which `/` and the path of an object follow.
    pub(super) url: String,
    pub(super) host: String,
    pub(super) region: String,
    /// `None` where nobody signs.
    pub(super) credentials: Option<Credentials>,
    pub(super) connector: SharedHttpConnector,
    since: Instant,
}

impl Route {
    fn holds(&self, instant: Instant, now: DateTime<Utc>) -> bool {
        let expiry = self.expires_at();
        instant.saturating_duration_since(self.since) < FRESH
            && expiry.is_none_or(|expiry| now + EARLY < expiry)
    }

    /// When the credentials end.
    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.credentials.as_ref()?.expiry().map(DateTime::from)
    }

    /// Where in the URL the path of the bucket begins.
    pub(super) fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        rest.find('/').map_or("", |at| &rest[at..])
    }
}

/// The way that was found last.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<Option<Arc<Route>>>);

impl Known {
    fn get(&self) -> Option<Arc<Route>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, route: Option<Arc<Route>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = route;
    }

    /// Has the way found anew: an answer said that something about it is not right.
    pub(super) fn forget(&self) {
        self.set(None);
    }
}

impl Inner {
    pub(super) async fn route(&self) -> Result<Arc<Route>, SdkError<GetObjectError>> {
        let (instant, now) = (self.clock.local().instant(), self.clock.now());
        if let Some(route) = self.known.get().filter(|route| route.holds(instant, now)) {
            return Ok(route);
        }
        let used = Used::default();
        let config = PresigningConfig::expires_in(Duration::from_secs(60));
        let config = config.map_err(SdkError::construction_failure)?;
        let get = self.client.get_object().bucket(&self.bucket).key("k");
        let shown = get.customize().interceptor(used.clone()).presigned(config).await?;
        let odd = |why: &'static str| SdkError::construction_failure(why);
        let uri = shown.uri();
        let (url, query) = uri.split_once('?').unwrap_or((uri, ""));
        let url = url.strip_suffix("/k").ok_or_else(|| odd("the address cannot be read"))?;
        let (credentials, connector) = used.seen();
        let region = match query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))
        {
            None => "",
            Some(_) if credentials.is_none() => {
                return Err(odd("the bucket takes other signatures than SigV4"));
            }
            Some(scope) => scope.rsplit("%2F").nth(2).ok_or_else(|| odd("no region"))?,
        };
        let route = Arc::new(Route {
            host: host(url).to_owned(),
            url: url.to_owned(),
            region: region.to_owned(),
            credentials,
            connector: connector.ok_or_else(|| odd("the client has no HTTP client"))?,
            since: instant,
        });
        self.known.set(Some(Arc::clone(&route)));
        Ok(route)
    }
}

/// The host in a URL, with its port unless that goes without saying.
fn host(url: &str) -> &str {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split('/').next().unwrap_or_default();
    let port = if scheme == "https" { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_port_that_goes_without_saying() {
        assert_eq!(host("https://b.s3.eu-north-1.amazonaws.com"), "b.s3.eu-north-1.amazonaws.com");
        assert_eq!(host("https://h:443/b"), "h");
        assert_eq!(host("http://h:443/b"), "h:443");
        assert_eq!(host("http://[::1]:80/b"), "[::1]");
    }
}
