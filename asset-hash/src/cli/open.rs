//! Which store a URL means. The one place where schemes are chosen.

use std::path::PathBuf;
use std::sync::Arc;

use standfast_asset_hash::AssetStore;
use standfast_blobstore::{BlobStore, FsBlobStore};
use standfast_core::{Error, ErrorKind};

use super::exit::Failure;

pub(super) async fn open(url: &str) -> Result<AssetStore, Failure> {
    let store: Arc<dyn BlobStore> = match url.split_once("://") {
        Some(("file", path)) => Arc::new(open_dir(directory(path)?).await?),
        Some(("s3", _)) => open_bucket(url).await?,
        _ => {
            let known = "file:///directory or s3://bucket/prefix";
            return Err(Failure::usage(format!("{url:?} is no store; say {known}")));
        }
    };
    Ok(AssetStore::from(store))
}

fn directory(path: &str) -> Result<PathBuf, Failure> {
    let wrong = || Failure::usage(format!("file://{path} names no directory of this machine"));
    // a host would stand before the first slash
    if !path.starts_with('/') {
        return Err(wrong());
    }
    decode(path).map(PathBuf::from).ok_or_else(wrong)
}

/// A typing error must not make a new store: the directory has to be there.
async fn open_dir(path: PathBuf) -> Result<FsBlobStore, Failure> {
    if !path.is_dir() {
        let detail = format!("{} is no directory; make it first", path.display());
        let error = Error::new(ErrorKind::NotFound, "fs", "open").with_detail(detail);
        return Err(error.into());
    }
    Ok(FsBlobStore::open(path).await?)
}

/// Region, endpoint and credentials are looked for where all tools of AWS find them, unless the URL
/// says otherwise.
#[cfg(feature = "s3")]
async fn open_bucket(url: &str) -> Result<Arc<dyn BlobStore>, Failure> {
    use standfast_blobstore::{S3BlobStore, S3Config};

    match S3BlobStore::open(url, S3Config::default()).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) if error.kind() == ErrorKind::Invalid => Err(Failure::usage(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(feature = "s3"))]
async fn open_bucket(_: &str) -> Result<Arc<dyn BlobStore>, Failure> {
    Err(Failure::usage("this program was built without buckets; install it with --features s3"))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_url_names_a_directory() {
        assert_eq!(directory("/srv/a%20b").unwrap(), PathBuf::from("/srv/a b"));
        for wrong in ["", "host/srv", "/a%2", "/a%zz", "/%ff"] {
            assert!(directory(wrong).is_err(), "{wrong:?}");
        }
    }
}
