//! Listings, in the order of the bytes whatever the order of the store.

use std::collections::BTreeMap;

use ::object_store::path::Path;
use ::object_store::{ObjectMeta, ObjectStore as _};
use futures_util::TryStreamExt as _;
use standfast_core::{Error, ErrorKind, Result};

use super::read::seen_version;
use super::{BACKEND, FromObjectStore, failure};
use crate::key::BlobKey;
use crate::list::{BlobEntry, ListOptions, Page, Pager, behind_all};

/// The first of what a page may show, by its text: a blob, or what several have in common.
struct Shown<'a> {
    options: &'a ListOptions,
    lower: Vec<u8>,
    limit: usize,
    first: BTreeMap<String, Option<BlobEntry>>,
}

impl Shown<'_> {
    fn add(&mut self, text: &str, blob: Option<BlobEntry>) {
        self.first.insert(text.to_owned(), blob);
        // One more than there is room for tells that there is another page.
        if self.first.len() > self.limit + 1 {
            self.first.pop_last();
        }
    }

    fn offer(&mut self, object: ObjectMeta) -> Result<()> {
        // Others may store what is no key; it could not be asked for.
        let Ok(key) = BlobKey::new(&object.location) else { return Ok(()) };
        let text = key.as_str();
        let Some(rest) = text.strip_prefix(self.options.prefix.as_str()) else { return Ok(()) };
        if text.as_bytes() < self.lower.as_slice() {
            return Ok(());
        }
        let delimiter = self.options.delimiter.as_ref();
        if let Some(cut) =
            delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()))
        {
            let common = &text[..text.len() - rest.len() + cut];
            self.add(common, None);
        } else {
            let version = seen_version(&object)?;
            let entry = BlobEntry::new(key.clone(), object.size, version, object.last_modified);
            self.add(text, Some(entry));
        }
        Ok(())
    }

    fn offer_common(&mut self, directory: &Path) {
        let common = format!("{directory}/");
        let wanted = common.starts_with(&self.options.prefix) && BlobKey::new(directory).is_ok();
        if wanted && behind_all(&common) > self.lower {
            self.add(&common, None);
        }
    }
}

impl FromObjectStore {
    pub(super) async fn list_page(&self, options: &ListOptions) -> Result<Page> {
        let mut pager = Pager::new(options, 1000)?;
        // invariant: nothing fills a page before something is offered
        let lower = pager.lower().expect("the page is empty").to_vec();
        let mut shown = Shown { options, lower, limit: pager.left(), first: BTreeMap::new() };
        if let Some(directory) = directory(&options.prefix) {
            // One level, unless it must be known whether something in it is behind the start.
            if options.delimiter.as_deref() == Some("/") && options.start_after.is_none() {
                let level = self.store.list_with_delimiter(directory.as_ref()).await;
                let level = level.map_err(|error| failure("blob.list", error))?;
                level.common_prefixes.iter().for_each(|common| shown.offer_common(common));
                level.objects.into_iter().try_for_each(|object| shown.offer(object))?;
            } else {
                self.list_all(directory.as_ref(), &mut shown).await?;
            }
        }
        for (text, blob) in shown.first {
            if pager.left() == 0 {
                pager.cut();
                break;
            }
            match blob {
                Some(entry) => pager.offer(entry),
                None => pager.offer_common(text),
            }
        }
        Ok(pager.finish())
    }

    async fn list_all(&self, directory: Option<&Path>, shown: &mut Shown<'_>) -> Result<()> {
        // What lies just behind a key ends in a NUL.
        let start = shown.lower.strip_suffix(b"\0").and_then(|key| std::str::from_utf8(key).ok());
        let mut objects = match start.and_then(|key| Path::parse(key).ok()) {
            Some(start) => self.store.list_with_offset(directory, &start),
            None => self.store.list(directory),
        };
        let mut last = Path::default();
        while let Some(object) =
            objects.try_next().await.map_err(|error| failure("blob.list", error))?
        {
            if self.ordered && object.location < last {
                return Err(Error::new(ErrorKind::Unexpected, BACKEND, "blob.list")
                    .with_detail("the listing does not ascend, as was said of it"));
            }
            last = object.location.clone();
            shown.offer(object)?;
            if self.ordered && shown.first.len() > shown.limit {
                break;
            }
        }
        Ok(())
    }
}

/// The segments of a prefix that are whole, as there prefixes are; `None` if no key begins with it.
fn directory(prefix: &str) -> Option<Option<Path>> {
    if prefix.starts_with('/') || prefix.contains("//") {
        return None;
    }
    match prefix.rsplit_once('/') {
        Some((whole, _)) => Path::parse(whole).ok().map(Some),
        None => Some(None),
    }
}
