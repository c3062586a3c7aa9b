//! What is kept beside the bytes: headers, the application's metadata, and one entry of our own,
//! whose first field is the version of the layout.

use ::object_store::{Attribute, Attributes as TheirAttributes};
use standfast_core::Id128;

use super::super::convert::attributes_to;
use crate::checksum::{Crc64, Sha256Digest};
use crate::meta::{Attributes, BlobMeta};

/// The name of our entry in the metadata: a word, because Azure takes nothing else.
const ENTRY: &str = "standfast";
const LAYOUT: &str = "1";

/// Our entry.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Entry {
    /// Names the put that wrote it, for whoever must know whether a put of theirs arrived.
    pub(super) write: Option<Id128>,
    pub(super) crc64: Option<Crc64>,
    pub(super) sha256: Option<Sha256Digest>,
    /// Whether the put gave a media type; services have one for what was put without.
    typed: bool,
    /// The metadata without values: not every service keeps a header without one.
    empty: Vec<String>,
}

impl Entry {
    pub(super) fn new(crc64: Option<Crc64>, sha256: Option<Sha256Digest>) -> Self {
        Self { write: Some(Id128::random()), crc64, sha256, ..Self::default() }
    }

    /// The attributes to store, with this entry among them.
    pub(super) fn beside(mut self, attributes: &Attributes) -> TheirAttributes {
        self.typed = attributes.content_type.is_some();
        let mut kept = attributes.clone();
        kept.metadata.retain(|name, value| {
            if value.is_empty() {
                self.empty.push(name.clone());
            }
            !value.is_empty()
        });
        let mut theirs = attributes_to(&kept);
        theirs.insert(Attribute::Metadata(ENTRY.into()), self.encode().into());
        theirs
    }

    /// What `theirs` say, added to `meta`; our entry. What others stored has none.
    pub(super) fn read(theirs: &TheirAttributes, meta: &mut BlobMeta) -> Self {
        let mut entry = None;
        let mut ours = Attributes::default();
        for (attribute, value) in theirs {
            let value = value.as_ref().to_owned();
            match attribute {
                Attribute::CacheControl => ours.cache_control = Some(value),
                Attribute::ContentDisposition => ours.content_disposition = Some(value),
                Attribute::ContentEncoding => ours.content_encoding = Some(value),
                Attribute::ContentLanguage => ours.content_language = Some(value),
                Attribute::ContentType => ours.content_type = Some(value),
                Attribute::Metadata(name) if name == ENTRY => entry = Some(Self::decode(&value)),
                Attribute::Metadata(name) => {
                    ours.metadata.insert(name.to_ascii_lowercase(), value);
                }
                _ => {}
            }
        }
        if let Some(entry) = &entry {
            ours.content_type = ours.content_type.filter(|_| entry.typed);
            ours.metadata.extend(entry.empty.iter().map(|name| (name.clone(), String::new())));
        }
        meta.attributes = ours;
        let entry = entry.unwrap_or_default();
        (meta.crc64, meta.sha256) = (entry.crc64, entry.sha256);
        entry
    }

    fn encode(&self) -> String {
        let mut out = LAYOUT.to_owned();
        let mut field = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                out += &format!(";{name}={value}");
            }
        };
        field("w", self.write.map(|write| write.to_string()));
        field("crc64", self.crc64.map(|crc64| crc64.to_string()));
        field("sha256", self.sha256.map(|sha256| sha256.to_string()));
        field("typed", self.typed.then(String::new));
        field("empty", (!self.empty.is_empty()).then(|| self.empty.join(",")));
        out
    }

    /// Reads what it knows; fields of later releases are left alone.
    fn decode(text: &str) -> Self {
        let mut entry = Self::default();
        for (name, value) in text.split(';').filter_map(|field| field.split_once('=')) {
            match name {
                "w" => entry.write = value.parse().ok(),
                "crc64" => entry.crc64 = value.parse().ok(),
                "sha256" => entry.sha256 = value.parse().ok(),
                "typed" => entry.typed = true,
                "empty" => entry.empty = value.split(',').map(str::to_owned).collect(),
                _ => {}
            }
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::{BlobKey, Version};

    fn meta() -> BlobMeta {
        BlobMeta::new(BlobKey::new("a").unwrap(), 1, Version::new("1"), Utc::now())
    }

    #[test]
    fn what_was_put_comes_back_and_nothing_else() {
        let attributes = Attributes::default()
            .with_content_language("fi")
            .with_metadata("rows", "7")
            .with_metadata("none", "")
            .with_metadata("nothing", "");
        let sums = (Some(Crc64::of(b"1")), Some(Sha256Digest::of(b"1")));
        let entry = Entry::new(sums.0, sums.1);
        let mut stored = entry.clone().beside(&attributes);
        // what a service adds
        stored.insert(Attribute::ContentType, "application/octet-stream".into());
        let mut found = meta();
        assert_eq!(Entry::read(&stored, &mut found).write, entry.write);
        assert_eq!((found.crc64, found.sha256), sums);
        assert_eq!(found.attributes, attributes);
    }

    #[test]
    fn what_others_stored_is_read_as_it_is() {
        let theirs = TheirAttributes::from_iter([
            (Attribute::ContentType, "text/csv"),
            (Attribute::Metadata("Rows".into()), "7"),
        ]);
        let mut found = meta();
        assert_eq!(Entry::read(&theirs, &mut found), Entry::default());
        let expected =
            Attributes::default().with_content_type("text/csv").with_metadata("rows", "7");
        assert_eq!(found.attributes, expected);
    }

    #[test]
    fn fields_of_later_releases_are_left_alone() {
        let entry = Entry::decode("2;w=nonsense;new=1;crc64=ae8b14860a799888;odd");
        assert_eq!(entry.crc64, Some(Crc64::of(b"123456789")));
        assert_eq!(entry.write, None);
    }
}
