//! An entry that a user creates: what a client may say of it, how a change applies, and the five members it shows.

use super::entry_id::{EntryId, EntryIdError};
use super::payload::PayloadError;
use crate::codec;
use crate::document::{ArrayBuilder, Document, JsonError, ObjectBuilder, ObjectRef, ValueRef, set_path};

/// The members of an asset registry entry, in the order in which every answer shows them.
pub const MEMBERS: [&str; 5] = [
    "asset_registry_id",
    "asset_registry_name",
    "asset_registry_metadata",
    "asset_registry_tags",
    "asset_registry_public_url",
];

/// An entry without its id.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryEntry {
    /// When it was created, by its owner's clock, in milliseconds since 1970.
    pub created_ms: u64,
    /// Its name for people.
    pub name: String,
    /// Any JSON.
    pub metadata: Document,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it is served.
    pub public_url: String,
}

/// What is wrong with a description. Always the client's mistake; the sentence is public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The body is not an object.
    #[error("an asset registry entry is described by a JSON object")]
    NotAnObject,
    /// No such member.
    #[error("unknown member `{0}`: free members belong in asset_registry_metadata")]
    UnknownMember(String),
    /// The id cannot be changed.
    #[error("`{0}` cannot be changed")]
    ReadOnly(String),
    /// A member has a type that it cannot have.
    #[error("`{member}` must be {expected}")]
    WrongType {
        /// The member.
        member: &'static str,
        /// The types it may have.
        expected: &'static str,
    },
    /// The id is not usable.
    #[error(transparent)]
    Id(#[from] EntryIdError),
    /// The whole is longer than an envelope may carry.
    #[error("the entry is too long: {bytes} bytes, at most {}", super::PAYLOAD_BYTES_MAX)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A path of an update cannot be set.
    #[error("cannot set `{path}`: {reason}")]
    BadPath {
        /// The dotted path as given.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The change is not JSON.
    #[error("the change is not JSON: {0}")]
    Json(#[from] JsonError),
}

impl EntryError {
    /// The machine-readable word for the kind of mistake.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAnObject | Self::WrongType { .. } => "wrong_type",
            Self::UnknownMember(_) => "unknown_member",
            Self::ReadOnly(_) => "read_only",
            Self::Id(_) => "bad_id",
            Self::TooLong { .. } => "too_long",
            Self::BadPath { .. } => "bad_path",
            Self::Json(_) => "bad_json",
        }
    }
}

impl RegistryEntry {
    /// The five members.
    #[must_use]
    pub fn document(&self, id: &EntryId) -> Document {
        let mut tags = ArrayBuilder::new();
        for tag in &self.tags {
            tags.push(tag.as_str());
        }
        let tags = tags.finish();
        let members = [
            ValueRef::from(self.name.as_str()),
            self.metadata.root(),
            tags.root(),
            ValueRef::from(self.public_url.as_str()),
        ];
        document(id, members)
    }

    /// Takes the four members that are not the id; what is absent or null gets the schema's default.
    fn from_members(created_ms: u64, object: ObjectRef<'_>) -> Result<Self, EntryError> {
        let given = |member: &str| object.get(member).filter(|value| !value.is_null());
        let text = |member: &'static str| match given(member) {
            None => Ok(String::new()),
            Some(value) => match value.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(EntryError::WrongType { member, expected: "a string" }),
            },
        };
        Ok(Self {
            created_ms,
            name: text(MEMBERS[1])?,
            metadata: given(MEMBERS[2]).map_or_else(|| ObjectBuilder::new().finish(), Document::from),
            tags: given(MEMBERS[3]).map_or(Ok(Vec::new()), tags)?,
            public_url: text(MEMBERS[4])?,
        })
    }

    /// Nothing if it is longer than any frame.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let metadata = self.metadata.to_json();
        codec::encode(&(self.created_ms, &self.name, metadata, &self.tags, &self.public_url)).ok()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        let (created_ms, name, metadata, tags, public_url): (_, _, String, _, _) = codec::decode_open(bytes)?;
        let metadata = Document::from_json(metadata.as_bytes())?;
        Ok(Self { created_ms, name, metadata, tags, public_url })
    }
}

/// A checked description of a new entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The id that the caller wants, if any.
    pub id: Option<EntryId>,
    /// The rest. Its owner stamps the time.
    pub entry: RegistryEntry,
}

impl Draft {
    /// Checks the body of `POST /asset_registry`.
    ///
    /// # Errors
    /// Names the member that is unknown or of a wrong type, or says what is wrong with the id.
    pub fn parse(body: &Document) -> Result<Self, EntryError> {
        let object = body.root().as_object().ok_or(EntryError::NotAnObject)?;
        if let Some((unknown, _)) = object.iter().find(|(key, _)| !MEMBERS.contains(key)) {
            return Err(EntryError::UnknownMember(unknown.to_owned()));
        }
        let id = match object.get(MEMBERS[0]).filter(|id| !id.is_null() && id.as_str() != Some("")) {
            None => None,
            Some(id) => {
                let wrong = EntryError::WrongType { member: MEMBERS[0], expected: "a string" };
                Some(EntryId::new(id.as_str().ok_or(wrong)?)?)
            }
        };
        Ok(Self { id, entry: RegistryEntry::from_members(0, object)? })
    }
}

/// A checked change: top-level members or dotted paths, set as MongoDB's `$set` does.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    paths: Document,
}

impl Patch {
    /// Checks the body of `PUT /asset_registry/<id>`.
    ///
    /// # Errors
    /// Names the path that is unknown, read-only or in conflict with another.
    pub fn parse(body: &Document) -> Result<Self, EntryError> {
        let object = body.root().as_object().ok_or(EntryError::NotAnObject)?;
        let mut seen: Vec<&str> = Vec::new();
        for (path, _) in object.iter() {
            let member = path.split('.').next().unwrap_or_default();
            if member == MEMBERS[0] {
                return Err(EntryError::ReadOnly(path.to_owned()));
            }
            if !MEMBERS.contains(&member) {
                return Err(EntryError::UnknownMember(path.to_owned()));
            }
            seen.push(path);
        }
        seen.sort_unstable();
        for path in &seen {
            let mut parents = path.match_indices('.').map(|(at, _)| &path[..at]);
            if let Some(parent) = parents.find(|parent| seen.binary_search(parent).is_ok()) {
                return Err(bad_path(path, format!("`{parent}` is set in the same request")));
            }
        }
        Ok(Self { paths: body.clone() })
    }

    /// Checks a change that another node hands on.
    ///
    /// # Errors
    /// As [`Patch::parse`], and text that is not JSON.
    pub fn from_json(text: &str) -> Result<Self, EntryError> {
        Self::parse(&Document::from_json(text.as_bytes())?)
    }

    /// The change as a text that [`Patch::from_json`] takes.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.paths.to_json()
    }

    /// The entry after the change.
    ///
    /// # Errors
    /// Names the path that cannot be set, or the member that would get a wrong type.
    pub fn apply(&self, id: &EntryId, current: &RegistryEntry) -> Result<RegistryEntry, EntryError> {
        let mut next = current.document(id);
        let paths = self.paths.root().as_object().ok_or(EntryError::NotAnObject)?;
        for (path, value) in paths.iter() {
            next = set_path(&next, path, value).map_err(|error| bad_path(path, error.to_string()))?;
        }
        let object = next.root().as_object().ok_or(EntryError::NotAnObject)?;
        RegistryEntry::from_members(current.created_ms, object)
    }
}

/// Puts the members into their one order.
pub(super) fn document(id: &EntryId, members: [ValueRef<'_>; 4]) -> Document {
    let mut object = ObjectBuilder::new();
    object.push(MEMBERS[0], id.as_str());
    for (key, value) in MEMBERS[1..].iter().zip(members) {
        object.push(key, value);
    }
    object.finish()
}

fn tags(value: ValueRef<'_>) -> Result<Vec<String>, EntryError> {
    let wrong = EntryError::WrongType { member: MEMBERS[3], expected: "an array of strings" };
    let array = value.as_array().ok_or_else(|| wrong.clone())?;
    array.iter().map(|tag| tag.as_str().map(str::to_owned).ok_or_else(|| wrong.clone())).collect()
}

fn bad_path(path: &str, reason: String) -> EntryError {
    EntryError::BadPath { path: path.to_owned(), reason }
}
