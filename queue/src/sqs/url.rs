//! A queue from a URL, with region and credentials from where every AWS tool finds them.

use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Region;
use standfast_core::{Error, ErrorKind, Result};

use super::error::BACKEND;
use super::{SqsAdmin, SqsConfig, SqsQueue};

impl SqsQueue {
    /// Opens the queue of `sqs://name?endpoint=…&region=…` with its redrive queue.
    ///
    /// What the query does not say comes from the environment and the shared files of the AWS
    /// tools, and so do the credentials, which a URL cannot hold.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none or that says something else, or where no region is known;
    /// as [`connect`](Self::connect).
    ///
    /// ```no_run
    /// # #[tokio::main] async fn main() -> standfast_core::Result<()> {
    /// use standfast_queue::{Queue, ReceiveOptions, SqsConfig, SqsQueue};
    ///
    /// let queue = SqsQueue::open("sqs://reports?region=eu-north-1", SqsConfig::default()).await?;
    /// let batch = queue.receive(&ReceiveOptions::new(10)).await?;
    /// # let _ = batch;
    /// # Ok(()) }
    /// ```
    pub async fn open(url: &str, config: SqsConfig) -> Result<Self> {
        let url = Url::parse(url)?;
        Self::connect(&client(&url).await, &url.name, config).await
    }
}

impl SqsAdmin {
    /// On the service of a URL as [`SqsQueue::open`] takes it; its name is not used.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none or that says something else.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self::new(&client(&Url::parse(url)?).await))
    }
}

async fn client(url: &Url) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = url.region.clone() {
        loader = loader.region(Region::new(region));
    }
    let shared = loader.load().await;
    let mut settings = aws_sdk_sqs::config::Builder::from(&shared);
    if let Some(endpoint) = &url.endpoint {
        if shared.region().is_none() {
            // services of one's own rarely have regions, but every signature names one
            settings = settings.region(Region::new("us-east-1"));
        }
        settings = settings.endpoint_url(endpoint);
    }
    Client::from_conf(settings.build())
}

#[derive(Debug, Eq, PartialEq)]
struct Url {
    name: String,
    endpoint: Option<String>,
    region: Option<String>,
}

impl Url {
    fn parse(url: &str) -> Result<Self> {
        let invalid = |detail: &str| {
            Error::new(ErrorKind::Invalid, BACKEND, "queue.open").with_detail(detail)
        };
        let rest =
            url.strip_prefix("sqs://").ok_or_else(|| invalid("no URL of the form sqs://"))?;
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        if name.is_empty() || name.contains(['@', ':', '/']) {
            return Err(invalid("a URL names a queue, and holds no credentials"));
        }
        let mut parsed = Self { name: name.to_owned(), endpoint: None, region: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value).ok_or_else(|| invalid("the query is not text"))?;
            match name {
                "endpoint" => parsed.endpoint = Some(value),
                "region" => parsed.region = Some(value),
                name => return Err(invalid(&format!("{name:?} is unknown"))),
            }
        }
        Ok(parsed)
    }
}

/// The text that percent signs stand for.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_which_and_where() {
        let url = "sqs://reports.fifo?endpoint=http%3A%2F%2F127.0.0.1:9324&region=eu-north-1";
        let parsed = Url::parse(url).unwrap();
        assert_eq!(parsed.name, "reports.fifo");
        assert_eq!(parsed.endpoint.as_deref(), Some("http://127.0.0.1:9324"));
        assert_eq!(parsed.region.as_deref(), Some("eu-north-1"));
        assert_eq!(Url::parse("sqs://q").unwrap().endpoint, None);
        let wrong =
            ["http://q", "sqs://", "sqs://id:secret@q", "sqs://q?x=1", "sqs://q?region=%zz"];
        for wrong in wrong {
            let error = Url::parse(wrong).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
