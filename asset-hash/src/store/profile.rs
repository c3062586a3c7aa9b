use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use standfast_blobstore::{Attributes, Visibility};

use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::media::media_type;

/// With which headers the files of a set are published, and who may read them. Not part of the id:
/// the same files under other headers have the same URLs.
///
/// ```
/// use standfast_asset_hash::Profile;
///
/// let profile = Profile::default().media_type("wasm", "application/wasm");
/// assert_eq!(profile.attributes("app.wasm").content_type.unwrap(), "application/wasm");
/// let cache = profile.attributes("css/app.css").cache_control.unwrap();
/// assert_eq!(cache, "public, max-age=31536000, immutable");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Profile {
    cache_control: String,
    types: BTreeMap<String, String>,
    visibility: Visibility,
}

impl Default for Profile {
    /// Public, cached for a year and never asked for again, media types by the end of the name.
    fn default() -> Self {
        Self {
            cache_control: "public, max-age=31536000, immutable".to_owned(),
            types: BTreeMap::new(),
            visibility: Visibility::Public,
        }
    }
}

impl Profile {
    /// Sets how long caches may keep the files.
    pub fn cache_control(self, value: impl Into<String>) -> Self {
        Self { cache_control: value.into(), ..self }
    }

    /// Sets the media type of files whose names end in a dot and this.
    pub fn media_type(mut self, ending: impl AsRef<str>, value: impl Into<String>) -> Self {
        let ending = ending.as_ref().trim_start_matches('.').to_ascii_lowercase();
        self.types.insert(ending, value.into());
        self
    }

    /// Lets only those read the files whom the store knows: where a server of one's own stands
    /// before it.
    pub fn private(self) -> Self {
        Self { visibility: Visibility::Private, ..self }
    }

    /// What is kept beside the bytes of the file of this path.
    pub fn attributes(&self, path: &str) -> Attributes {
        Attributes::default()
            .with_cache_control(&self.cache_control)
            .with_content_type(self.type_of(path))
    }

    pub(super) fn visibility(&self) -> Visibility {
        self.visibility
    }

    fn type_of(&self, path: &str) -> &str {
        let ending = path.rsplit(['/', '.']).next().unwrap_or_default().to_ascii_lowercase();
        self.types.get(&ending).map_or_else(|| media_type(path), String::as_str)
    }

    /// What tells this profile of these files from another one.
    pub(super) fn digest(&self, manifest: &Manifest) -> Digest {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part("asset-profile/1");
        part(&self.cache_control);
        part(if self.visibility == Visibility::Public { "public" } else { "private" });
        for file in manifest.files() {
            part(self.type_of(&file.path));
        }
        Digest::from_bytes(hash.finalize().into())
    }
}
