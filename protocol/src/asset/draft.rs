//! A new asset as a client describes it, checked before anything is stored.

use super::{AssetError, MEMBERS, SYSTEM_FILE_INFO, as_object, assemble, derive_uri, is_blank, wrong_type};
use crate::document::{Document, ObjectBuilder, ValueRef};
use crate::ids::{AssetId, AssetsDbId};
use crate::limits;

/// A checked description without the members that the node fills in.
#[derive(Debug, Clone)]
pub struct Draft {
    members: Document,
    uri: String,
}

/// What the upload says of its file part. Names never become paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// The file's name as the client sent it.
    pub file_name: String,
    /// Its media type as the client sent it.
    pub file_type: String,
}

/// What the node knows of content that it has stored.
#[derive(Debug, Clone, Copy)]
pub struct Uploaded<'a> {
    /// The content's hash.
    pub id: AssetId,
    /// Its true size in bytes.
    pub size: u64,
    /// What the file part said.
    pub file: &'a FileFacts,
    /// Where the bytes can be fetched.
    pub public_url: &'a str,
}

impl Draft {
    /// Checks the description of an asset that lies elsewhere (`POST /asset`).
    ///
    /// # Errors
    /// Names the member that is unknown, read-only, too long or of a wrong type.
    pub fn external(body: &Document) -> Result<Self, AssetError> {
        let object = as_object(body)?;
        for (key, value) in object.iter() {
            check_member(key, value)?;
        }
        let name = object.get("asset_name").unwrap_or(ValueRef::Null);
        let uri = match object.get("asset_version") {
            None => {
                super::uri_part("asset_name", name)?;
                String::new()
            }
            Some(version) => derive_uri(name, version)?,
        };
        Ok(Self { members: body.clone(), uri })
    }

    /// Checks the `asset_metadata` part of an upload: name, version and tag are trimmed and required.
    ///
    /// # Errors
    /// As [`Draft::external`], and when name, version or tag is missing or blank.
    pub fn upload(metadata: &Document) -> Result<Self, AssetError> {
        let object = as_object(metadata)?;
        for (key, value) in object.iter() {
            check_member(key, value)?;
            if key == "asset_public_url" && !is_blank(value) {
                return Err(AssetError::ReadOnly(key.to_owned()));
            }
        }
        if let Some(value) = object.get("asset_file_info")
            && !matches!(value, ValueRef::Object(_))
        {
            return Err(wrong_type("asset_file_info", "an object"));
        }
        let version = match object.get("asset_version") {
            Some(ValueRef::Object(version)) => Some(version),
            Some(_) => return Err(wrong_type("asset_version", "an object with `version` and `tag`")),
            None => None,
        };
        let name = trimmed("asset_name", object.get("asset_name"))?.ok_or(AssetError::NameRequired)?;
        let part = |member, key| match version.and_then(|version| version.get(key)) {
            value @ Some(_) => trimmed(member, value)?.ok_or(AssetError::VersionRequired),
            None => Err(AssetError::VersionRequired),
        };
        let number = part("asset_version.version", "version")?;
        let tag = part("asset_version.tag", "tag")?;
        let members = with_trimmed(metadata, name, number, tag)?;
        let trimmed = as_object(&members)?;
        let member = |key| trimmed.get(key).unwrap_or(ValueRef::Null);
        let uri = derive_uri(member("asset_name"), member("asset_version"))?;
        Ok(Self { members, uri })
    }

    /// The uri it will have; empty if a part is missing.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The stored description of an external asset.
    ///
    /// # Errors
    /// When the whole is too long.
    pub fn into_external(self, owner: AssetsDbId) -> Result<Document, AssetError> {
        let object = as_object(&self.members)?;
        let owner = owner.to_string();
        assemble(&self.uri, |key| match key {
            "assets_db_id" => Some(ValueRef::from(owner.as_str())),
            "asset_id" => None,
            _ => object.get(key),
        })
    }

    /// The stored description of uploaded content.
    ///
    /// # Errors
    /// When the whole, or a fact of the file, is too long.
    pub fn into_uploaded(self, owner: AssetsDbId, stored: Uploaded<'_>) -> Result<Document, AssetError> {
        for (what, text) in
            [("the file name", &stored.file.file_name), ("the media type", &stored.file.file_type)]
        {
            if text.len() > limits::FILE_FACT_BYTES_MAX {
                let bytes_max = limits::FILE_FACT_BYTES_MAX;
                return Err(AssetError::TooLong { what, bytes: text.len(), bytes_max });
            }
        }
        let object = as_object(&self.members)?;
        let (owner, id) = (owner.to_string(), stored.id.to_string());
        let file_info = file_info(object.get("asset_file_info"), stored)?;
        assemble(&self.uri, |key| match key {
            "assets_db_id" => Some(ValueRef::from(owner.as_str())),
            "asset_id" => Some(ValueRef::from(id.as_str())),
            "asset_public_url" => Some(ValueRef::from(stored.public_url)),
            "asset_file_info" => Some(file_info.root()),
            _ => object.get(key),
        })
    }
}

/// Fails on a member that is unknown or that only the node sets. A blank value says nothing, and is let through.
fn check_member(key: &str, value: ValueRef<'_>) -> Result<(), AssetError> {
    if !MEMBERS.contains(&key) {
        return Err(AssetError::UnknownMember(key.to_owned()));
    }
    if matches!(key, "asset_uri" | "asset_id" | "assets_db_id") && !is_blank(value) {
        return Err(AssetError::ReadOnly(key.to_owned()));
    }
    Ok(())
}

fn trimmed<'a>(member: &str, value: Option<ValueRef<'a>>) -> Result<Option<&'a str>, AssetError> {
    match value {
        None => Ok(None),
        Some(value) => {
            let text = value.as_str().ok_or_else(|| wrong_type(member, "a string"))?.trim();
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
    }
}

fn with_trimmed(metadata: &Document, name: &str, number: &str, tag: &str) -> Result<Document, AssetError> {
    let object = as_object(metadata)?;
    let mut version = ObjectBuilder::new();
    if let Some(ValueRef::Object(given)) = object.get("asset_version") {
        for (key, value) in given.iter() {
            match key {
                "version" => version.push(key, ValueRef::from(number)),
                "tag" => version.push(key, ValueRef::from(tag)),
                _ => version.push(key, value),
            }
        }
    }
    let version = version.finish();
    let mut members = ObjectBuilder::new();
    for (key, value) in object.iter() {
        match key {
            "asset_name" => members.push(key, ValueRef::from(name)),
            "asset_version" => members.push(key, version.root()),
            _ => members.push(key, value),
        }
    }
    Ok(members.finish())
}

/// The caller's facts, then the node's, which win.
fn file_info(given: Option<ValueRef<'_>>, stored: Uploaded<'_>) -> Result<Document, AssetError> {
    let mut info = ObjectBuilder::new();
    if let Some(ValueRef::Object(given)) = given {
        for (key, value) in given.iter().filter(|(key, _)| !SYSTEM_FILE_INFO.contains(key)) {
            info.push(key, value);
        }
    }
    let bytes = i64::try_from(stored.size)
        .map_err(|_| wrong_type("asset_file_info.file_size", "less than 2^63 bytes"))?;
    let checksum = format!("blake3:{}", stored.id);
    info.push("file_name", ValueRef::from(stored.file.file_name.as_str()));
    info.push("file_type", ValueRef::from(stored.file.file_type.as_str()));
    info.push("file_size", ValueRef::Int(bytes));
    info.push("checksum", ValueRef::from(checksum.as_str()));
    Ok(info.finish())
}
