//! An asset's description: what a client may say of it, and the nine-member `AssetObject` it becomes.
//! Pure: it stores nothing and knows no uri but the one it derives.
//!
//! Source: the published `AssetObject` schema of the AIOS Assets DB.

mod draft;
mod patch;

pub use draft::{Draft, FileFacts, Uploaded};
pub use patch::Patch;

use crate::document::{ArrayBuilder, Document, ObjectBuilder, ObjectRef, ValueRef};
use crate::limits;

/// The members of an `AssetObject`, in the order in which every answer shows them.
pub const MEMBERS: [&str; 9] = [
    "asset_uri",
    "asset_name",
    "asset_id",
    "assets_db_id",
    "asset_version",
    "asset_metadata",
    "asset_public_url",
    "asset_file_info",
    "asset_tags",
];

/// Members of `asset_file_info` that the node fills in for content it stores.
pub const SYSTEM_FILE_INFO: [&str; 4] = ["file_name", "file_type", "file_size", "checksum"];

/// What is wrong with a description. Always the client's mistake; the sentence is public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// The body is not an object.
    #[error("an asset is described by a JSON object")]
    NotAnObject,
    /// No such member in an `AssetObject`.
    #[error("unknown member `{0}`: free members belong in asset_metadata")]
    UnknownMember(String),
    /// The node decides this member.
    #[error("`{0}` is set by the node and cannot be given")]
    ReadOnly(String),
    /// A member has a type that it cannot have.
    #[error("`{member}` must be {expected}")]
    WrongType {
        /// Dotted path of the member.
        member: String,
        /// The types it may have.
        expected: &'static str,
    },
    /// An upload without a name.
    #[error("asset_name is required")]
    NameRequired,
    /// An upload without a version or tag.
    #[error("Both version and tag are required in asset_version")]
    VersionRequired,
    /// Something is longer than its bound.
    #[error("{what} is too long: {bytes} bytes, at most {bytes_max}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// A path of an update cannot be set.
    #[error("cannot set `{path}`: {reason}")]
    BadPath {
        /// The dotted path as given.
        path: String,
        /// Why not.
        reason: String,
    },
}

impl AssetError {
    /// The machine-readable word for the kind of mistake.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAnObject | Self::WrongType { .. } => "wrong_type",
            Self::UnknownMember(_) => "unknown_member",
            Self::ReadOnly(_) => "read_only",
            Self::NameRequired | Self::VersionRequired => "missing_member",
            Self::TooLong { .. } => "too_long",
            Self::BadPath { .. } => "bad_path",
        }
    }
}

/// The uri of a description: `name:version-tag`, or empty if a part is missing or empty.
///
/// Parts that are numbers or booleans print as the original service printed them
/// (`3`, `1.0`, `True`); zero and `false` count as missing there, and so they do here.
pub(crate) fn derive_uri(name: ValueRef<'_>, version: ValueRef<'_>) -> Result<String, AssetError> {
    let ValueRef::Object(version) = version else {
        return Err(wrong_type("asset_version", "an object with `version` and `tag`"));
    };
    let part = |key| version.get(key).unwrap_or(ValueRef::Null);
    let name = uri_part("asset_name", name)?;
    let number = uri_part("asset_version.version", part("version"))?;
    let tag = uri_part("asset_version.tag", part("tag"))?;
    let (Some(name), Some(number), Some(tag)) = (name, number, tag) else {
        return Ok(String::new());
    };
    let uri = format!("{name}:{number}-{tag}");
    if uri.len() > limits::ASSET_URI_BYTES_MAX {
        return Err(AssetError::TooLong {
            what: "asset_uri",
            bytes: uri.len(),
            bytes_max: limits::ASSET_URI_BYTES_MAX,
        });
    }
    Ok(uri)
}

fn uri_part(member: &str, value: ValueRef<'_>) -> Result<Option<String>, AssetError> {
    match value {
        ValueRef::Null | ValueRef::Bool(false) | ValueRef::Int(0) => Ok(None),
        ValueRef::Bool(true) => Ok(Some("True".to_owned())),
        ValueRef::Int(number) => Ok(Some(number.to_string())),
        ValueRef::Double(0.0) => Ok(None),
        ValueRef::Double(number) => Ok(Some(format!("{number:?}"))),
        ValueRef::String(_) => Ok(value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)),
        ValueRef::Object(_) | ValueRef::Array(_) => Err(wrong_type(member, "a string, number or boolean")),
    }
}

fn wrong_type(member: &str, expected: &'static str) -> AssetError {
    AssetError::WrongType { member: member.to_owned(), expected }
}

/// Puts members into their one order; what is absent gets the schema's default.
fn assemble<'a>(uri: &'a str, member: impl Fn(&str) -> Option<ValueRef<'a>>) -> Result<Document, AssetError> {
    let empty_object = ObjectBuilder::new().finish();
    let empty_array = ArrayBuilder::new().finish();
    let mut object = ObjectBuilder::new();
    for key in MEMBERS {
        let default = match key {
            "asset_uri" => ValueRef::from(uri),
            "asset_version" | "asset_metadata" | "asset_file_info" => empty_object.root(),
            "asset_tags" => empty_array.root(),
            _ => ValueRef::from(""),
        };
        object.push(key, if key == "asset_uri" { default } else { member(key).unwrap_or(default) });
    }
    let document = object.finish();
    let bytes = document.as_bytes().len();
    if bytes > limits::DESCRIPTION_BYTES_MAX {
        return Err(AssetError::TooLong {
            what: "the description",
            bytes,
            bytes_max: limits::DESCRIPTION_BYTES_MAX,
        });
    }
    Ok(document)
}

fn as_object(body: &Document) -> Result<ObjectRef<'_>, AssetError> {
    match body.root() {
        ValueRef::Object(object) => Ok(object),
        _ => Err(AssetError::NotAnObject),
    }
}

fn is_blank(value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Null) || value.as_str().is_some_and(str::is_empty)
}

#[cfg(test)]
mod tests;
