/// What a service that speaks S3 really does. Set it by a preset, or by what
/// [`S3BlobStore::probe`](crate::S3BlobStore::probe) found.
///
/// ```
/// use standfast_blobstore::S3Features;
///
/// assert!(S3Features::AWS.ordered_listing && !S3Features::SEAWEEDFS.ordered_listing);
/// assert!(!S3Features::GARAGE.conditional_put, "it takes the header and overwrites");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct S3Features {
    /// Whether a backslash in a key is kept. Where it becomes a slash, such keys are refused.
    pub backslash: bool,
    /// Whether a form with a field that its policy does not name is refused. Where it is not, the
    /// policy says of each other header that it is empty, which not every service understands. A
    /// probe cannot ask, and keeps what the store was told.
    pub closed_forms: bool,
    /// Whether the end of an upload in parts can be conditional, in one step. Where it cannot, such
    /// an upload ends under a reserved key and is copied from there, up to 5 GiB.
    pub conditional_complete: bool,
    /// Whether a copy can be conditional on what it replaces.
    pub conditional_copy: bool,
    /// Whether a delete can be conditional.
    pub conditional_delete: bool,
    /// Whether a put can be conditional. Where it cannot, conditions are refused as `Unsupported`.
    pub conditional_put: bool,
    /// Whether the service checks and keeps the CRC64NVME of a whole object.
    pub crc64nvme: bool,
    /// Whether listings ascend by the bytes of the keys. Where they do not, every page reads the
    /// whole prefix and sorts it.
    pub ordered_listing: bool,
    /// Whether the service takes uploads by a form with a signed policy. Where it does not, forms
    /// are refused as `Unsupported`. A probe cannot ask, and keeps what the store was told.
    pub post_policy: bool,
}

impl S3Features {
    /// Amazon S3, general purpose buckets.
    pub const AWS: Self = Self {
        backslash: true,
        closed_forms: true,
        conditional_complete: true,
        conditional_copy: true,
        conditional_delete: true,
        conditional_put: true,
        crc64nvme: true,
        ordered_listing: true,
        post_policy: true,
    };

    /// SeaweedFS from 4.48 on: looks before it ends an upload in parts, which is not one step;
    /// lists directory by directory; takes a backslash for a slash; and takes headers in forms
    /// whose policy does not name them.
    pub const SEAWEEDFS: Self = Self {
        backslash: false,
        closed_forms: false,
        conditional_complete: false,
        ordered_listing: false,
        ..Self::AWS
    };

    /// Garage 2: takes conditions and ignores them.
    pub const GARAGE: Self = Self { backslash: true, ordered_listing: true, ..Self::PLAIN };

    /// What every service that speaks S3 can be trusted with; the start for
    /// [`probe`](crate::S3BlobStore::probe).
    pub const PLAIN: Self = Self {
        backslash: false,
        closed_forms: false,
        conditional_complete: false,
        conditional_copy: false,
        conditional_delete: false,
        conditional_put: false,
        crc64nvme: false,
        ordered_listing: false,
        post_policy: false,
    };

    /// Whether bodies of every form can be put conditionally.
    pub(super) fn holds_conditions(self) -> bool {
        self.conditional_put && (self.conditional_complete || self.conditional_copy)
    }

    /// The preset of this name, as a URL gives it: `aws`, `seaweedfs`, `garage`, `plain`.
    pub fn preset(name: &str) -> Option<Self> {
        Some(match name {
            "aws" => Self::AWS,
            "seaweedfs" => Self::SEAWEEDFS,
            "garage" => Self::GARAGE,
            "plain" => Self::PLAIN,
            _ => return None,
        })
    }
}
