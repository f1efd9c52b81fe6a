//! A change to an asset as a client asks for it: top-level members or dotted paths, set as MongoDB's `$set` does.

use super::{AssetError, MEMBERS, SYSTEM_FILE_INFO, as_object, assemble, derive_uri, wrong_type};
use crate::document::{Document, ObjectBuilder, ValueRef, set_path};

/// A checked change, not yet applied to a description.
#[derive(Debug, Clone)]
pub struct Patch {
    paths: Document,
}

impl Patch {
    /// Its stored form, for those who must know how large it is.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.paths.as_bytes()
    }

    /// The body that it was made of, as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.paths.to_json()
    }

    /// Checks the body of `PUT /asset/<uri>`.
    ///
    /// # Errors
    /// Names the path that is unknown, read-only or in conflict with another.
    pub fn parse(body: &Document) -> Result<Self, AssetError> {
        let object = as_object(body)?;
        let mut seen: Vec<&str> = Vec::new();
        for (path, value) in object.iter() {
            check_path(path, value)?;
            seen.push(path);
        }
        seen.sort_unstable();
        for path in &seen {
            let parents = path.match_indices('.').map(|(at, _)| &path[..at]);
            if let Some(parent) = parents.into_iter().find(|parent| seen.binary_search(parent).is_ok()) {
                return Err(bad_path(path, format!("`{parent}` is set in the same request")));
            }
        }
        Ok(Self { paths: body.clone() })
    }

    /// The description after the change, its uri derived anew. The same bytes as before if nothing changes.
    ///
    /// # Errors
    /// Names the path that cannot be set, or the member that would get a wrong type.
    pub fn apply(&self, current: &Document) -> Result<Document, AssetError> {
        let stored_here = as_object(current)?.get("asset_id").is_some_and(|id| !super::is_blank(id));
        let mut next = current.clone();
        for (path, value) in as_object(&self.paths)?.iter() {
            if stored_here {
                check_system_file_info(current, path, value)?;
            }
            let whole_file_info = stored_here && path == "asset_file_info";
            let kept = whole_file_info.then(|| keep_system(current, value)).transpose()?;
            let value = kept.as_ref().map_or(value, Document::root);
            next = set_path(&next, path, value).map_err(|error| bad_path(path, error.to_string()))?;
        }
        let object = as_object(&next)?;
        let member = |key| object.get(key).unwrap_or(ValueRef::Null);
        let uri = derive_uri(member("asset_name"), member("asset_version"))?;
        assemble(&uri, |key| object.get(key))
    }
}

fn check_path(path: &str, value: ValueRef<'_>) -> Result<(), AssetError> {
    let mut parts = path.split('.');
    let member = parts.next().unwrap_or_default();
    if matches!(member, "asset_uri" | "asset_id" | "assets_db_id") {
        return Err(AssetError::ReadOnly(path.to_owned()));
    }
    if !MEMBERS.contains(&member) {
        return Err(AssetError::UnknownMember(path.to_owned()));
    }
    if path.split('.').any(str::is_empty) {
        return Err(bad_path(path, "a component is empty".to_owned()));
    }
    if path.split('.').any(|part| part.starts_with('$')) {
        return Err(bad_path(path, "a component starts with `$`".to_owned()));
    }
    if path == "asset_version" && !matches!(value, ValueRef::Object(_)) {
        return Err(wrong_type(path, "an object with `version` and `tag`"));
    }
    Ok(())
}

fn check_system_file_info(current: &Document, path: &str, value: ValueRef<'_>) -> Result<(), AssetError> {
    if path == "asset_file_info" {
        let ValueRef::Object(given) = value else {
            return Err(wrong_type(path, "an object"));
        };
        let stored = stored_file_info(current);
        let changed = SYSTEM_FILE_INFO.into_iter().find(|key| {
            given.get(key).is_some_and(|new| {
                stored.and_then(|info| info.get(key)).is_none_or(|old| !old.eq_total(&new))
            })
        });
        return changed.map_or(Ok(()), |key| Err(AssetError::ReadOnly(format!("asset_file_info.{key}"))));
    }
    let system = path
        .strip_prefix("asset_file_info.")
        .and_then(|rest| rest.split('.').next())
        .is_some_and(|key| SYSTEM_FILE_INFO.contains(&key));
    if system { Err(AssetError::ReadOnly(path.to_owned())) } else { Ok(()) }
}

/// A replaced `asset_file_info` keeps what the node knows of the bytes.
fn keep_system(current: &Document, value: ValueRef<'_>) -> Result<Document, AssetError> {
    let ValueRef::Object(given) = value else {
        return Err(wrong_type("asset_file_info", "an object"));
    };
    let mut info = ObjectBuilder::new();
    for (key, value) in given.iter().filter(|(key, _)| !SYSTEM_FILE_INFO.contains(key)) {
        info.push(key, value);
    }
    if let Some(stored) = stored_file_info(current) {
        for key in SYSTEM_FILE_INFO {
            if let Some(value) = stored.get(key) {
                info.push(key, value);
            }
        }
    }
    Ok(info.finish())
}

fn stored_file_info(current: &Document) -> Option<crate::document::ObjectRef<'_>> {
    match as_object(current).ok()?.get("asset_file_info") {
        Some(ValueRef::Object(info)) => Some(info),
        _ => None,
    }
}

fn bad_path(path: &str, reason: String) -> AssetError {
    AssetError::BadPath { path: path.to_owned(), reason }
}
