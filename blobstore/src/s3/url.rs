//! A store from a URL, with region and credentials from where every AWS tool finds them.

use aws_config::BehaviorVersion;
use aws_sdk_s3::config::Region;
use standfast_core::{Error, ErrorKind, Result};

use super::error::BACKEND;
use super::{S3BlobStore, S3Config, S3Features};
use crate::sign::decode_path;

impl S3BlobStore {
    /// Opens `s3://bucket/prefix?endpoint=…&region=…&path_style=…&features=…`.
    ///
    /// What the query does not say comes from the environment and the shared files of the AWS
    /// tools, and so do the credentials, which a URL cannot hold. `path_style` is `true` for
    /// services whose buckets are no host names. `features` is a preset's name (`aws`,
    /// `seaweedfs`, `garage`, `plain`), or `probe` to [ask the service](Self::probe).
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none or that says something else; with `probe` also what the
    /// service answers.
    ///
    /// ```no_run
    /// # #[tokio::main] async fn main() -> standfast_blobstore::Result<()> {
    /// use standfast_blobstore::{Blobs, S3BlobStore, S3Config};
    ///
    /// let url = "s3://reports/prod?endpoint=http://127.0.0.1:8333&path_style=true&features=probe";
    /// let blobs = Blobs::new(S3BlobStore::open(url, S3Config::default()).await?);
    /// blobs.put("r/7.html", "<h1>7</h1>").await?;
    /// # Ok(()) }
    /// ```
    pub async fn open(url: &str, config: S3Config) -> Result<Self> {
        let Url { bucket, prefix, endpoint, region, path_style, features } = Url::parse(url)?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        let shared = loader.load().await;
        let mut settings = aws_sdk_s3::config::Builder::from(&shared);
        if shared.region().is_none() && endpoint.is_some() {
            // Services of one's own rarely have regions, but every signature names one.
            settings = settings.region(Region::new("us-east-1"));
        }
        if let Some(endpoint) = endpoint {
            settings = settings.endpoint_url(endpoint);
        }
        let client = aws_sdk_s3::Client::from_conf(settings.force_path_style(path_style).build());
        let (config, probe) = match features {
            Some(Features::Known(features)) => (config.with_features(features), false),
            Some(Features::Probe) => (config, true),
            None => (config, false),
        };
        let store = Self::from_parts(&client, bucket, &prefix, config)?;
        if probe { Ok(store.with_features(store.probe().await?)) } else { Ok(store) }
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Url {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: Option<String>,
    path_style: bool,
    features: Option<Features>,
}

#[derive(Debug, Eq, PartialEq)]
enum Features {
    Known(S3Features),
    Probe,
}

impl Url {
    fn parse(url: &str) -> Result<Self> {
        let invalid =
            |detail: &str| Error::new(ErrorKind::Invalid, BACKEND, "blob.open").with_detail(detail);
        let rest = url.strip_prefix("s3://").ok_or_else(|| invalid("no URL of the form s3://"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() || bucket.contains(['@', ':']) {
            return Err(invalid("a URL names a bucket, and holds no credentials"));
        }
        let prefix = decode_path(prefix).ok_or_else(|| invalid("the prefix is not text"))?;
        let mut parsed = Self {
            bucket: bucket.to_owned(),
            prefix,
            endpoint: None,
            region: None,
            path_style: false,
            features: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode_path(value).ok_or_else(|| invalid("the query is not text"))?;
            match (name, &*value) {
                ("endpoint", _) => parsed.endpoint = Some(value),
                ("region", _) => parsed.region = Some(value),
                ("path_style", "true") => parsed.path_style = true,
                ("path_style", "false") => parsed.path_style = false,
                ("features", "probe") => parsed.features = Some(Features::Probe),
                ("features", name) if S3Features::preset(name).is_some() => {
                    parsed.features = S3Features::preset(name).map(Features::Known);
                }
                (name, _) => return Err(invalid(&format!("{name:?} or its value is unknown"))),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let url =
            "s3://b/p%20q/r?endpoint=http%3A%2F%2F127.0.0.1:8333&path_style=true&features=aws";
        let parsed = Url::parse(url).unwrap();
        assert_eq!((&*parsed.bucket, &*parsed.prefix), ("b", "p q/r"));
        assert_eq!(parsed.endpoint.as_deref(), Some("http://127.0.0.1:8333"));
        assert!(parsed.path_style && parsed.features == Some(Features::Known(S3Features::AWS)));
        assert_eq!(Url::parse("s3://b").unwrap().prefix, "");
        for wrong in ["http://b/p", "s3://", "s3://id:secret@b", "s3://b?x=1", "s3://b?features=x"]
        {
            let error = Url::parse(wrong).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
