//! The style sheet, the script and the icon of the page, under addresses that change when they do.

use standfast_asset_hash::{AssetUrls, LocalSet};
use standfast_core::Result;

const STYLE: &str = "app.css";
const SCRIPT: &str = "app.mjs";
const ICON: &str = "icon.svg";

/// The page, and what the browser may load for it.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its text; `<!-- flashes -->` stands where messages go.
    pub html: String,
    /// Its content security policy.
    pub policy: String,
}

/// The directory `web`, compiled in: the same files, so the same id as in any store.
pub fn embedded() -> LocalSet {
    let files: [(&str, &'static [u8]); 3] = [
        (STYLE, include_bytes!("../web/app.css")),
        (SCRIPT, include_bytes!("../web/app.mjs")),
        (ICON, include_bytes!("../web/icon.svg")),
    ];
    LocalSet::embedded(&files).expect("these are names of files")
}

impl Page {
    /// The page with its assets below `urls`, which may send files to `forms`. The browser checks
    /// what it gets.
    ///
    /// # Errors
    ///
    /// `NotFound` where the set is not that of this page, or one of another release.
    pub fn new(urls: &AssetUrls, forms: Option<&str>) -> Result<Self> {
        for path in [STYLE, SCRIPT] {
            urls.url(path)?;
        }
        let icon =
            format!("<link rel=\"icon\" href=\"{}\" type=\"image/svg+xml\">", urls.url(ICON)?);
        let head = [icon, urls.stylesheet(STYLE), urls.script(SCRIPT)].join("\n  ");
        let html = include_str!("server/page.html").replace("<!-- assets -->", &head);
        let from = format!("'self' {}", origin(urls.base()));
        let to = format!("'self' {}", origin(forms.unwrap_or_default()));
        let policy = format!(
            "default-src 'self'; style-src {from}; script-src {from}; img-src {from}; \
             connect-src {to}; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        );
        Ok(Self { html, policy })
    }
}

/// Scheme and host of an address; nothing of a path.
fn origin(base: &str) -> &str {
    let Some(host) = base.find("://").map(|at| at + 3) else { return "" };
    let end = base[host..].find('/').map_or(base.len(), |at| host + at);
    &base[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_assets_and_where_they_may_come_from() {
        let manifest = embedded().into_manifest();
        let urls = AssetUrls::new("https://cdn.example/a/{id}/", manifest.clone()).unwrap();
        let page = Page::new(&urls, Some("https://s3.example:8333/bucket")).unwrap();
        assert!(
            page.html.contains(&urls.asset(SCRIPT)) && page.html.contains(" integrity=\"sha256-")
        );
        assert!(page.policy.contains("script-src 'self' https://cdn.example;"), "{}", page.policy);
        let forms = "connect-src 'self' https://s3.example:8333;";
        assert!(page.policy.contains(forms), "{}", page.policy);
        let own = Page::new(&AssetUrls::new("/assets/{id}/", manifest).unwrap(), None).unwrap();
        assert!(own.policy.contains("connect-src 'self' ;"), "{}", own.policy);
        assert!(own.policy.contains("script-src 'self' ;"), "{}", own.policy);
        let other = LocalSet::embedded(&[(STYLE, b"")]).unwrap().into_manifest();
        let error = Page::new(&AssetUrls::new("/{id}/", other).unwrap(), None).unwrap_err();
        assert!(error.to_string().contains("app.mjs"), "{error}");
    }
}
