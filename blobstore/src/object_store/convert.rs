//! What the two crates say of the same things.

use ::object_store::path::Path;
use ::object_store::{
    Attribute, Attributes as TheirAttributes, Error as TheirError, Extensions, ObjectMeta,
    PutPayload, PutResult, Result as TheirResult, TagSet,
};
use standfast_core::{Error, ErrorKind};

use crate::body::Body;
use crate::key::BlobKey;
use crate::list::BlobEntry;
use crate::meta::{Attributes, BlobMeta, Version, Visibility};
use crate::options::{Expiry, PutOptions};
use crate::outcome::PutOutcome;

/// How errors of this crate are named there.
pub(super) const STORE: &str = "standfast";

/// What happened at `path`, in the words of `object_store`; ours is the source of theirs.
pub(super) fn failure(path: &Path, error: Error) -> TheirError {
    let path = path.to_string();
    match error.kind() {
        ErrorKind::AlreadyExists => TheirError::AlreadyExists { path, source: error.into() },
        ErrorKind::Denied => TheirError::PermissionDenied { path, source: error.into() },
        ErrorKind::NotFound => TheirError::NotFound { path, source: error.into() },
        ErrorKind::Unsupported => TheirError::NotSupported { source: error.into() },
        _ => generic(error),
    }
}

pub(super) fn generic(source: impl Into<standfast_core::BoxError>) -> TheirError {
    TheirError::Generic { store: STORE, source: source.into() }
}

pub(super) fn unsupported(what: &str) -> TheirError {
    TheirError::NotSupported { source: what.into() }
}

pub(super) fn not_found(path: &Path) -> TheirError {
    TheirError::NotFound { path: path.to_string(), source: "there is no such blob".into() }
}

pub(super) fn exists(path: &Path) -> TheirError {
    TheirError::AlreadyExists { path: path.to_string(), source: "there is a blob".into() }
}

pub(super) fn mismatch(path: &Path) -> TheirError {
    let source = "the blob is of another version or missing".into();
    TheirError::Precondition { path: path.to_string(), source }
}

/// The key to write to.
pub(super) fn key(path: &Path) -> TheirResult<BlobKey> {
    BlobKey::new(path).map_err(generic)
}

/// The key to read from: under what can be no key there is nothing.
pub(super) fn key_of_old(path: &Path) -> TheirResult<BlobKey> {
    BlobKey::new(path)
        .map_err(|error| TheirError::NotFound { path: path.to_string(), source: error.into() })
}

/// A key as a path, or what several keys have in common. Neither is encoded anew.
pub(super) fn path(text: &str) -> TheirResult<Path> {
    Ok(Path::parse(text)?)
}

/// The ETag that stands for a version.
pub(super) fn e_tag(version: &Version) -> String {
    format!("\"{version}\"")
}

/// The version that an ETag stands for.
pub(super) fn version(e_tag: &str) -> Version {
    let text = e_tag.trim();
    Version::new(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text))
}

pub(super) fn meta(location: Path, entry: BlobEntry) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: entry.modified_at,
        size: entry.size,
        e_tag: Some(e_tag(&entry.version)),
        version: None,
    }
}

pub(super) fn extensions(meta: BlobMeta) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(meta);
    extensions
}

pub(super) fn body(payload: PutPayload) -> Body {
    match payload.as_ref() {
        [] => Body::default(),
        [one] => Body::Bytes(one.clone()),
        _ => Body::chunks(payload.into_iter().collect()),
    }
}

pub(super) fn put_options(
    tags: &TagSet,
    attributes: &TheirAttributes,
    extensions: &Extensions,
) -> TheirResult<PutOptions> {
    if !tags.is_empty() {
        return Err(unsupported("tags"));
    }
    let options = PutOptions {
        attributes: attributes_from(attributes)?,
        expiry: extensions.get::<Expiry>().copied().unwrap_or_default(),
        visibility: extensions.get::<Visibility>().copied().unwrap_or_default(),
        ..PutOptions::default()
    };
    options.check().map_err(generic)?;
    Ok(options)
}

pub(super) fn put_result(
    path: &Path,
    outcome: Result<PutOutcome, Error>,
) -> TheirResult<PutResult> {
    match outcome.map_err(|error| failure(path, error))? {
        PutOutcome::Exists => Err(exists(path)),
        PutOutcome::Mismatch => Err(mismatch(path)),
        PutOutcome::Stored(meta) => Ok(PutResult {
            e_tag: Some(e_tag(&meta.version)),
            version: None,
            extensions: extensions(*meta),
        }),
    }
}

/// Each attribute as it is; those that could not come back as they went are refused later, with
/// all else that no header carries.
fn attributes_from(theirs: &TheirAttributes) -> TheirResult<Attributes> {
    let mut ours = Attributes::default();
    for (attribute, value) in theirs {
        let value = value.as_ref().to_owned();
        let field = match attribute {
            Attribute::CacheControl => &mut ours.cache_control,
            Attribute::ContentDisposition => &mut ours.content_disposition,
            Attribute::ContentEncoding => &mut ours.content_encoding,
            Attribute::ContentLanguage => &mut ours.content_language,
            Attribute::ContentType => &mut ours.content_type,
            Attribute::Metadata(name) => {
                ours.metadata.insert(name.clone().into_owned(), value);
                continue;
            }
            other => return Err(unsupported(&format!("the attribute {other:?}"))),
        };
        *field = Some(value);
    }
    Ok(ours)
}

pub(super) fn attributes_to(ours: &Attributes) -> TheirAttributes {
    let headers = [
        (Attribute::CacheControl, &ours.cache_control),
        (Attribute::ContentDisposition, &ours.content_disposition),
        (Attribute::ContentEncoding, &ours.content_encoding),
        (Attribute::ContentLanguage, &ours.content_language),
        (Attribute::ContentType, &ours.content_type),
    ];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let metadata = ours.metadata.iter();
    let metadata =
        metadata.map(|(name, value)| (Attribute::Metadata(name.clone().into()), value.clone()));
    headers.chain(metadata).collect()
}
