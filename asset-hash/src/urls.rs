use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use standfast_core::{ErrorKind, Result};

use crate::digest::{AssetId, Digest};
use crate::failed;
use crate::manifest::Manifest;

/// The addresses of the files of one set, for pages to use. Clones share the manifest.
///
/// The base URL has the id of the set in it, so an address never means other bytes, and relative
/// links between the files keep working.
///
/// ```
/// use standfast_asset_hash::{AssetUrls, LocalSet};
///
/// let set = LocalSet::embedded(&[("css/app.css", b"body {}"), ("js/a b.js", b"run()")])?;
/// let urls = AssetUrls::new("https://cdn.example/{id}/", set.manifest().clone())?;
/// let id = urls.id();
/// assert_eq!(urls.asset("css/app.css"), format!("https://cdn.example/{id}/css/app.css"));
/// assert_eq!(urls.asset("js/a b.js"), format!("https://cdn.example/{id}/js/a%20b.js"));
/// assert!(urls.integrity("css/app.css").unwrap().starts_with("sha256-"));
/// assert!(urls.url("css/other.css").is_err());
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone)]
pub struct AssetUrls {
    base: Arc<str>,
    manifest: Arc<Manifest>,
}

impl AssetUrls {
    /// Addresses below `base`, in which `{id}` stands for the id of the set: an address such as
    /// `https://cdn.example/{id}/`, or a path such as `/assets/{id}/`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a base without `{id}`: caches would keep old files for a year.
    pub fn new(base: &str, manifest: Manifest) -> Result<Self> {
        let base = fill(base, manifest.id())?;
        Ok(Self { base: base.into(), manifest: Arc::new(manifest) })
    }

    /// The id of the set.
    pub fn id(&self) -> AssetId {
        self.manifest.id()
    }

    /// What is in the set.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What every address begins with; it ends with a slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The address of the file of this path, which the set has.
    ///
    /// # Errors
    ///
    /// `NotFound` for a path that is not in the set.
    pub fn url(&self, path: &str) -> Result<String> {
        if self.manifest.file(path).is_none() {
            let detail = format!("{path:?} is not in set {}", self.id());
            return Err(failed(ErrorKind::NotFound, "asset-hash.url", detail));
        }
        Ok(self.address(path))
    }

    /// The address of the file of this path, for templates: one that is not in the set gets an
    /// address that leads nowhere, since a page without a picture is better than no page. A test
    /// that asks [`url`](Self::url) for each finds it earlier.
    pub fn asset(&self, path: &str) -> String {
        self.address(path)
    }

    /// The `integrity` of the file of this path.
    pub fn integrity(&self, path: &str) -> Option<String> {
        Some(self.digest(path)?.integrity())
    }

    /// A `<link>` element for a style sheet, checked by the browser.
    ///
    /// ```
    /// use standfast_asset_hash::{AssetUrls, LocalSet};
    ///
    /// let set = LocalSet::embedded(&[("app.css", b"body {}")])?;
    /// let urls = AssetUrls::new("/assets/{id}/", set.into_manifest())?;
    /// let element = urls.stylesheet("app.css");
    /// assert!(element.starts_with("<link rel=\"stylesheet\" href=\"/assets/"));
    /// assert!(element.contains(" integrity=\"sha256-"));
    /// # Ok::<_, standfast_core::Error>(())
    /// ```
    pub fn stylesheet(&self, path: &str) -> String {
        format!("<link rel=\"stylesheet\" href=\"{}\"{}>", self.attribute(path), self.check(path))
    }

    /// A `<script>` element, checked by the browser; as a module if its path ends in `.mjs`.
    pub fn script(&self, path: &str) -> String {
        let kind = if path.ends_with(".mjs") { "type=\"module\" " } else { "" };
        format!("<script {kind}src=\"{}\"{}></script>", self.attribute(path), self.check(path))
    }

    fn attribute(&self, path: &str) -> String {
        escape(&self.address(path))
    }

    /// The attributes with which a browser checks what it gets.
    fn check(&self, path: &str) -> String {
        self.integrity(path).map_or_else(String::new, |integrity| {
            format!(" integrity=\"{integrity}\" crossorigin=\"anonymous\"")
        })
    }

    fn digest(&self, path: &str) -> Option<Digest> {
        Some(self.manifest.file(path)?.sha256)
    }

    fn address(&self, path: &str) -> String {
        format!("{}{}", self.base, encode(path))
    }
}

impl fmt::Debug for AssetUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssetUrls").field("base", &self.base).finish_non_exhaustive()
    }
}

/// The base URL of a set, ending in a slash.
pub(crate) fn fill(base: &str, id: AssetId) -> Result<String> {
    if !base.contains("{id}") {
        let detail = format!("the base URL {base:?} has no {{id}}");
        return Err(failed(ErrorKind::Invalid, "asset-hash.url", detail));
    }
    let mut base = base.replace("{id}", &id.to_string());
    if !base.ends_with('/') {
        base.push('/');
    }
    Ok(base)
}

/// A path as the path of a URL: what RFC 3986 does not leave as it is becomes `%` and two digits.
pub(crate) fn encode(path: &str) -> Cow<'_, str> {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$'()*,;=:@".contains(&byte);
    if path.bytes().all(stays) {
        return path.into();
    }
    let mut out = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if stays(byte) {
            out.push(byte.into());
        } else {
            // invariant: a string takes everything
            write!(out, "%{byte:02X}").expect("a string takes everything");
        }
    }
    out.into()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalSet;

    #[test]
    fn addresses_are_urls_whatever_the_names_are() {
        for (path, expected) in [
            ("a/b.css", "a/b.css"),
            ("a b+c&d?e#f%", "a%20b%2Bc%26d%3Fe%23f%25"),
            ("\u{e9}.png", "%C3%A9.png"),
            ("it's (1)[2].js", "it's%20(1)%5B2%5D.js"),
            ("\"<>", "%22%3C%3E"),
        ] {
            assert_eq!(encode(path), expected);
        }
    }

    #[test]
    fn elements_are_safe_in_a_page_and_unknown_files_do_not_break_it() {
        let set = LocalSet::embedded(&[("a.mjs", b"1")]).unwrap();
        let urls = AssetUrls::new("//x/\"&{id}", set.into_manifest()).unwrap();
        let element = urls.script("a.mjs");
        let src = format!("<script type=\"module\" src=\"//x/&quot;&amp;{}/a.mjs\"", urls.id());
        assert!(element.starts_with(&src), "{element}");
        assert!(element.ends_with(" crossorigin=\"anonymous\"></script>"));
        assert_eq!(
            urls.script("b.js"),
            format!("<script src=\"{}\"></script>", escape(&urls.asset("b.js")))
        );
        assert_eq!(urls.url("b.js").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(AssetUrls::new("/assets/", urls.manifest().clone()).is_err());
    }
}
