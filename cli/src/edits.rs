//! `--meta` and `--set`: one change of a description, as it is written on the command line.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::exit::Fault;

/// `K=text` or `K:=JSON`: one member of an asset's metadata. K may be a dotted path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetaEdit {
    path: String,
    value: Value,
}

/// `PATH=JSON`: one field of a description.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PathEdit {
    path: String,
    value: Value,
}

/// A text that is no edit; the message says what one looks like.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotAnEdit(String);

impl FromStr for MetaEdit {
    type Err = NotAnEdit;

    fn from_str(text: &str) -> Result<Self, NotAnEdit> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| NotAnEdit("write K=text or K:=JSON".to_owned()))?;
        let (path, value) = match key.strip_suffix(':') {
            Some(key) => (key, parse_json(value)?),
            None => (key, Value::from(value)),
        };
        check_path(path)?;
        Ok(Self { path: path.to_owned(), value })
    }
}

impl FromStr for PathEdit {
    type Err = NotAnEdit;

    fn from_str(text: &str) -> Result<Self, NotAnEdit> {
        let (path, value) = text.split_once('=').ok_or_else(|| NotAnEdit("write PATH=JSON".to_owned()))?;
        check_path(path)?;
        Ok(Self { path: path.to_owned(), value: parse_json(value)? })
    }
}

impl MetaEdit {
    /// Puts the member into `metadata`, making the objects on the way.
    pub(crate) fn apply(&self, metadata: &mut Map<String, Value>) -> Result<(), Fault> {
        let mut names: Vec<&str> = self.path.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut object = metadata;
        for name in names {
            let inner = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            object = inner.as_object_mut().ok_or_else(|| {
                Fault::usage(format!("--meta {}: `{name}` is given already and is not an object", self.path))
            })?;
        }
        object.insert(last.to_owned(), self.value.clone());
        Ok(())
    }

    /// The same as a change of a whole description: its path begins with `asset_metadata`.
    pub(crate) fn as_path(&self) -> PathEdit {
        self.below("asset_metadata")
    }

    /// The same as a change of a description whose metadata stands under `member`.
    pub(crate) fn below(&self, member: &str) -> PathEdit {
        PathEdit { path: format!("{member}.{}", self.path), value: self.value.clone() }
    }
}

impl PathEdit {
    /// Adds the change to the body of an update.
    pub(crate) fn add_to(&self, body: &mut Map<String, Value>) {
        body.insert(self.path.clone(), self.value.clone());
    }
}

/// A JSON object, from the text itself or from the file that `@FILE` names.
pub(crate) fn object_argument(argument: &str, what: &str) -> Result<Map<String, Value>, Fault> {
    object(&text_argument(argument, what)?, what)
}

/// A JSON object from a file.
pub(crate) fn object_file(path: &Path, what: &str) -> Result<Map<String, Value>, Fault> {
    object(&read(path, what)?, &format!("{what} {}", path.display()))
}

/// The text itself, or the content of the file that `@FILE` names.
pub(crate) fn text_argument(argument: &str, what: &str) -> Result<String, Fault> {
    match argument.strip_prefix('@') {
        Some(path) => read(Path::new(path), what),
        None => Ok(argument.to_owned()),
    }
}

fn read(path: &Path, what: &str) -> Result<String, Fault> {
    std::fs::read_to_string(path)
        .map_err(|error| Fault::usage(format!("cannot read the {what} from {}: {error}", path.display())))
}

fn object(text: &str, what: &str) -> Result<Map<String, Value>, Fault> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Fault::usage(format!("the {what} is not a JSON object"))),
        Err(error) => Err(Fault::usage(format!("the {what} is not valid JSON: {error}"))),
    }
}

fn parse_json(text: &str) -> Result<Value, NotAnEdit> {
    serde_json::from_str(text).map_err(|error| {
        NotAnEdit(format!("`{text}` is not valid JSON: {error}; a text needs its quotes: '\"text\"'"))
    })
}

fn check_path(path: &str) -> Result<(), NotAnEdit> {
    if path.split('.').any(str::is_empty) {
        return Err(NotAnEdit(format!("`{path}` is not a name or a dotted path of names")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn applied(edits: &[&str]) -> Result<Value, Fault> {
        let mut metadata = Map::new();
        for edit in edits {
            edit.parse::<MetaEdit>().unwrap().apply(&mut metadata)?;
        }
        Ok(Value::Object(metadata))
    }

    #[test]
    fn text_stays_text_and_json_becomes_what_it_says() {
        let edits = ["a=1", "b:=1", "c:=[true,null]", "d=x=y", "e="];
        assert_eq!(applied(&edits).unwrap(), json!({"a":"1","b":1,"c":[true,null],"d":"x=y","e":""}));
    }

    #[test]
    fn dotted_paths_make_the_objects_on_the_way() {
        assert_eq!(applied(&["a.b.c=1", "a.d=2"]).unwrap(), json!({"a":{"b":{"c":"1"},"d":"2"}}));
        let clash = applied(&["a=1", "a.b=2"]).unwrap_err().to_string();
        assert!(clash.contains("`a`"), "{clash}");
    }

    #[rstest]
    #[case("a")]
    #[case("=1")]
    #[case(":=1")]
    #[case("a..b=1")]
    #[case("a:=nope")]
    fn other_texts_are_no_edits(#[case] text: &str) {
        assert!(text.parse::<MetaEdit>().is_err(), "{text}");
    }

    #[test]
    fn an_update_names_dotted_paths() {
        let mut body = Map::new();
        "lr:=0.1".parse::<MetaEdit>().unwrap().as_path().add_to(&mut body);
        "asset_tags=[\"a\"]".parse::<PathEdit>().unwrap().add_to(&mut body);
        assert_eq!(Value::Object(body), json!({"asset_metadata.lr":0.1,"asset_tags":["a"]}));
    }

    #[test]
    fn a_document_is_an_object_or_refused_by_name() {
        assert!(
            object_argument("[]", "document")
                .unwrap_err()
                .to_string()
                .contains("document is not a JSON object")
        );
        assert!(object_argument("{", "document").unwrap_err().to_string().contains("column"));
        assert!(object_argument("@/no/such", "document").unwrap_err().to_string().contains("/no/such"));
    }
}
