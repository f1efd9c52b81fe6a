//! The id of a registry entry: a caller's text, a generated UUIDv4, or a node's own `assets_db_id`.

use std::fmt;

use uuid::Uuid;

use crate::ids::NodeKey;

/// A checked entry id: 1 to [`EntryId::BYTES_MAX`] bytes of text without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Box<str>);

/// Why a text is no entry id. The sentence is public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryIdError {
    /// Empty or too long.
    #[error("asset_registry_id must have 1 to {bytes_max} bytes, not {bytes}")]
    Length {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// It is `.` or `..`, which no request path can carry.
    #[error("asset_registry_id cannot be `{0}`: no path can lead to it")]
    Dots(String),
    /// It holds a control character.
    #[error("asset_registry_id holds the control character U+{0:04X}")]
    Control(u32),
    /// It has the form of a node's `assets_db_id`, which only that node may use.
    #[error("asset_registry_id has the form of a node's assets_db_id (UUIDv8), which only that node can use")]
    Reserved,
}

impl EntryId {
    /// Longest id, in bytes: it travels in request paths and in every envelope.
    pub const BYTES_MAX: usize = 128;

    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, too long or holds a control character.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, EntryIdError> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(EntryIdError::Length { bytes: text.len(), bytes_max: Self::BYTES_MAX });
        }
        if matches!(&*text, "." | "..") {
            return Err(EntryIdError::Dots(text.into()));
        }
        match text.chars().find(|character| character.is_control()) {
            Some(control) => Err(EntryIdError::Control(u32::from(control))),
            None => Ok(Self(text)),
        }
    }

    /// The id of a node's own record.
    #[must_use]
    pub fn of_node(node: &NodeKey) -> Self {
        Self(node.assets_db_id().to_string().into())
    }

    /// A generated id.
    #[must_use]
    pub fn of_uuid(id: Uuid) -> Self {
        Self(id.as_hyphenated().to_string().into())
    }

    /// Fails on the form of a node's id, in any spelling, unless it is exactly the owner's own.
    ///
    /// # Errors
    /// [`EntryIdError::Reserved`].
    pub fn check_owner(&self, owner: &NodeKey) -> Result<(), EntryIdError> {
        let reserved = Uuid::try_parse(&self.0).is_ok_and(|id| id.get_version_num() == 8);
        if reserved && !self.is_node(owner) { Err(EntryIdError::Reserved) } else { Ok(()) }
    }

    /// Whether this is the id of the node's own record.
    #[must_use]
    pub fn is_node(&self, node: &NodeKey) -> bool {
        // The length spares most ids the hash.
        self.0.len() == 36 && *self == Self::of_node(node)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
