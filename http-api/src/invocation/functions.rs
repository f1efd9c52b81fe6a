//! The functions that can be invoked: where each container listens, checked before anything starts.

use std::fmt;
use std::net::IpAddr;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Uri};
use uuid::Uuid;

/// Longest name and version id. They travel in headers.
const TEXT_BYTES_MAX: usize = 256;

/// One function as the settings name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Names it in the path of an invocation.
    pub id: Uuid,
    /// Names its version; without one it is the function's id.
    pub version_id: Option<String>,
    /// Its name for people; without one it is the function's id.
    pub name: Option<String>,
    /// Where its container takes invocations: `http://host[:port]/path`.
    pub url: String,
}

/// Why a function of the settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// The url is none that a container can be called at.
    #[error(
        "function {0}: the url `{1}` must be http://host[:port]/path, without user, query mark `#` or spaces"
    )]
    Url(Uuid, String),
    /// The name or version cannot stand in a header.
    #[error("function {0}: the {1} must be 1 to {TEXT_BYTES_MAX} visible ASCII characters")]
    Text(Uuid, &'static str),
    /// The version cannot stand in a path.
    #[error("function {0}: the version_id may hold letters, digits, `.`, `_` and `-`")]
    Version(Uuid),
    /// The same version stands there twice.
    #[error("function {0}: version {1} is there twice")]
    Twice(Uuid, String),
}

/// A function that can be invoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) id: HeaderValue,
    pub(crate) version_id: HeaderValue,
    pub(crate) name: HeaderValue,
    pub(crate) target: Target,
}

/// Where a container listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) authority: Authority,
    pub(crate) path: PathAndQuery,
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        // A URI's parser drops a fragment without a word.
        if text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let is_http = uri.scheme_str() == Some("http");
        let authority = uri.authority().filter(|authority| is_http && !authority.as_str().contains('@'))?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        // A port that is none would be dropped without a word as well.
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        let is_whole = has_port || authority.as_str() == authority.host();
        (is_whole && !authority.host().is_empty()).then(|| Self { authority: authority.clone(), path })
    }

    /// Host and port to connect to.
    pub(crate) fn address(&self) -> (&str, u16) {
        let host = self.authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.filter(|bare| bare.parse::<IpAddr>().is_ok()).unwrap_or(host);
        (host, self.authority.port_u16().unwrap_or(80))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// All of them, in the order of the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions(Vec<(Uuid, Function)>);

impl Functions {
    /// Checks what the settings say.
    ///
    /// # Errors
    /// The first fault, which names its function.
    pub fn new(configs: &[FunctionConfig]) -> Result<Self, FunctionError> {
        let mut functions = Self::default();
        for config in configs {
            let function = Function::new(config)?;
            let version = config.version_id.clone().unwrap_or_else(|| config.id.to_string());
            if functions.find(config.id, Some(&version)).is_some() {
                return Err(FunctionError::Twice(config.id, version));
            }
            functions.0.push((config.id, function));
        }
        Ok(functions)
    }

    /// The function, in that version or in the first that the settings name.
    pub(crate) fn find(&self, id: Uuid, version: Option<&str>) -> Option<&Function> {
        let wanted = |function: &Function| version.is_none_or(|version| function.version_id == *version);
        self.0.iter().find(|(known, function)| *known == id && wanted(function)).map(|(_, function)| function)
    }
}

impl Function {
    fn new(config: &FunctionConfig) -> Result<Self, FunctionError> {
        let id = config.id;
        let own = id.to_string();
        let version = config.version_id.as_deref().unwrap_or(&own);
        let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !version.bytes().all(in_path) {
            return Err(FunctionError::Version(id));
        }
        Ok(Self {
            id: text(&own).ok_or(FunctionError::Text(id, "id"))?,
            version_id: text(version).ok_or(FunctionError::Text(id, "version_id"))?,
            name: text(config.name.as_deref().unwrap_or(&own)).ok_or(FunctionError::Text(id, "name"))?,
            target: Target::parse(&config.url).ok_or_else(|| FunctionError::Url(id, config.url.clone()))?,
        })
    }
}

/// Text that arrives in a header as it was sent.
fn text(text: &str) -> Option<HeaderValue> {
    let is_visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let fits = (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.trim() == text;
    HeaderValue::try_from(text).ok().filter(|_| is_visible && fits)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ID: Uuid = Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111);

    fn config(url: &str) -> FunctionConfig {
        FunctionConfig { id: ID, version_id: None, name: None, url: url.to_owned() }
    }

    #[rstest]
    #[case("http://127.0.0.1:8000/v2/models/m/infer", ("127.0.0.1", 8000), "/v2/models/m/infer")]
    #[case("http://container", ("container", 80), "/")]
    #[case("http://[::1]:81/a?b=c", ("::1", 81), "/a?b=c")]
    fn a_container_is_called_at_its_url(#[case] url: &str, #[case] address: (&str, u16), #[case] path: &str) {
        let functions = Functions::new(&[config(url)]).unwrap();
        let target = &functions.find(ID, None).unwrap().target;
        assert_eq!((target.address(), target.path.as_str()), (address, path));
    }

    #[rstest]
    #[case("https://127.0.0.1/x")]
    #[case("127.0.0.1:80")]
    #[case("/path")]
    #[case("http://")]
    #[case("http:///path")]
    #[case("http://user:secret@host/")]
    #[case("http://host/#part")]
    #[case("http://host/a b")]
    #[case("http://host:99999/")]
    #[case("unix:///run/c.sock")]
    #[case("")]
    fn a_url_that_cannot_be_called_is_refused_at_the_start(#[case] url: &str) {
        let error = Functions::new(&[config(url)]).unwrap_err();
        assert!(error.to_string().contains(&ID.to_string()), "{error}");
        assert_eq!(error, FunctionError::Url(ID, url.to_owned()));
    }

    #[test]
    fn a_version_is_found_by_name_and_the_first_one_without() {
        let version = |version: &str| FunctionConfig {
            version_id: Some(version.to_owned()),
            name: Some(format!("cats {version}")),
            ..config("http://h/")
        };
        let functions = Functions::new(&[version("v2"), version("v1")]).unwrap();
        let name = |asked| functions.find(ID, asked).map(|found| found.name.to_str().unwrap().to_owned());
        assert_eq!(name(None).as_deref(), Some("cats v2"));
        assert_eq!(name(Some("v1")).as_deref(), Some("cats v1"));
        assert_eq!(name(Some("v3")), None);
        assert!(functions.find(Uuid::nil(), None).is_none());
        assert_eq!(
            Functions::new(&[version("v1"), version("v1")]).unwrap_err(),
            FunctionError::Twice(ID, "v1".to_owned())
        );
    }

    #[rstest]
    #[case("", "x")]
    #[case("a/b", "x")]
    #[case("..%2f", "x")]
    #[case("v", "")]
    #[case("v", "two\r\nlines")]
    #[case("v", " padded")]
    #[case("v", "é")]
    fn names_that_cannot_travel_are_refused(#[case] version: &str, #[case] name: &str) {
        let config = FunctionConfig {
            version_id: Some(version.to_owned()),
            name: Some(name.to_owned()),
            ..config("http://h/")
        };
        assert!(Functions::new(&[config]).is_err());
    }
}
