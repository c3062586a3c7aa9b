//! The stores and queues that URLs name.

use std::path::PathBuf;
use std::sync::Arc;

use standfast_blobstore::{BlobStore, FsBlobStore};
use standfast_core::BoxError;
use standfast_queue::Queue;
use standfast_queue::wrap::{ClaimCheck, ClaimCheckConfig};

/// The store at `url`, which has to be there.
pub(crate) async fn store(url: &str) -> Result<Arc<dyn BlobStore>, BoxError> {
    let Some(path) = url.strip_prefix("file://").filter(|path| path.starts_with('/')) else {
        return Err("the store is a URL like file:///dir".into());
    };
    let path = PathBuf::from(decode(path).ok_or("the URL of the store has a wrong % in it")?);
    if !path.is_dir() {
        return Err("the directory of the store is not there".into());
    }
    Ok(Arc::new(FsBlobStore::open(path).await?))
}

/// The queue at `url`, with its large bodies in `store` if there is a prefix for them.
pub(crate) fn queue(
    url: Option<&str>,
    store: &Arc<dyn BlobStore>,
    claims: Option<&str>,
) -> Result<Arc<dyn Queue>, BoxError> {
    let queue = open(url.ok_or("where the messages go: --queue or STANDFAST_QUEUE")?)?;
    let Some(prefix) = claims else { return Ok(queue) };
    let mut config = ClaimCheckConfig::default();
    config.prefix = prefix.to_owned();
    Ok(Arc::new(ClaimCheck::with_config(queue, Arc::clone(store), config)?))
}

#[cfg(feature = "redis")]
fn open(url: &str) -> Result<Arc<dyn Queue>, BoxError> {
    let (server, name) = split(url).ok_or("the URL of the queue ends in its name")?;
    Ok(Arc::new(standfast_queue::RedisQueue::from_url(&server, &name)?))
}

#[cfg(not(feature = "redis"))]
fn open(_: &str) -> Result<Arc<dyn Queue>, BoxError> {
    Err("this program was built without queues: build it with the feature `redis`".into())
}

/// The URL of the server, and the last part of the path.
#[cfg(any(feature = "redis", test))]
fn split(url: &str) -> Option<(String, String)> {
    let (place, query) = match url.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = place.split_once("://")?;
    let (server, name) = rest.rsplit_once('/')?;
    (!name.is_empty()).then(|| (format!("{scheme}://{server}{query}"), name.to_owned()))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_the_last_part_of_the_path() {
        for (url, server, name) in [
            ("redis://h/q", "redis://h", "q"),
            ("redis://u:p@h:1/2/q", "redis://u:p@h:1/2", "q"),
            (
                "redis+sentinel://a,b/m/q?sentinel_user=x",
                "redis+sentinel://a,b/m?sentinel_user=x",
                "q",
            ),
        ] {
            assert_eq!(split(url), Some((server.to_owned(), name.to_owned())), "{url}");
        }
        for url in ["redis://h", "redis://h/", "q"] {
            assert_eq!(split(url), None, "{url}");
        }
    }

    #[test]
    fn a_path_is_decoded() {
        assert_eq!(decode("/a%20b/%C3%BC").as_deref(), Some("/a b/ü"));
        for wrong in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
