//! The query string of a request: each parameter is taken once, by name, with its type.
//! Nothing is guessed: a repeated, unknown or ill-typed parameter is an error that names it.

use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode;

use crate::error::ApiError;

/// The parameters that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Splits `a=1&b=2`; `+` is a space here, unlike in a path.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut params: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if params.iter().any(|(known, _)| *known == name) {
                return Err(bad(&name, "is given more than once"));
            }
            params.push((name, value));
        }
        Ok(Self(params))
    }

    /// Refuses any parameter, where a route has none.
    pub(crate) fn none(query: Option<&str>) -> Result<(), ApiError> {
        Self::parse(query)?.finish()
    }

    /// Takes a text parameter.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes a parameter that is one of a few words; the first is the default.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Err(bad(name, &format!("must be {}", list.join(" or "))))
            }
        }
    }

    /// Takes a whole number from `low` to `high`.
    pub(crate) fn number<T>(&mut self, name: &str, low: T, high: T) -> Result<Option<T>, ApiError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<T>() {
            Ok(number) if digits && number >= low && number <= high => Ok(Some(number)),
            _ => Err(bad(name, &format!("must be a whole number from {low} to {high}"))),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(bad(name, "is unknown here")),
        }
    }
}

fn bad(name: &str, fault: &str) -> ApiError {
    ApiError::bad_request("bad_parameter", format!("the query parameter {name:?} {fault}"))
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    match percent_decode(spaced.as_bytes()).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ApiError::bad_request("bad_parameter", "the query string is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        result.unwrap_err().sentence().to_owned()
    }

    #[test]
    fn values_are_decoded_and_taken_once() {
        let mut params = Params::parse(Some("sort=-a.b%2Cc&cursor=x+y&&limit=7")).unwrap();
        assert_eq!(params.text("sort").as_deref(), Some("-a.b,c"));
        assert_eq!(params.text("sort"), None);
        assert_eq!(params.text("cursor").as_deref(), Some("x y"));
        assert_eq!(params.number("limit", 1, 1000).unwrap(), Some(7));
        params.finish().unwrap();
    }

    #[test]
    fn a_word_that_is_not_listed_is_refused_by_name() {
        let words = [("federation", 1), ("local", 2)];
        let mut params = Params::parse(Some("scope=local")).unwrap();
        assert_eq!(params.word("scope", &words).unwrap(), Some(2));
        assert_eq!(params.word("scope", &words).unwrap(), None);
        let mut params = Params::parse(Some("scope=all")).unwrap();
        assert_eq!(
            sentence(params.word("scope", &words)),
            "the query parameter \"scope\" must be federation or local"
        );
    }

    #[test]
    fn numbers_outside_their_bounds_are_refused_by_name() {
        for text in ["0", "1001", "-1", "+5", "1.0", "", "x", "99999999999999999999999"] {
            let mut params = Params::parse(Some(&format!("limit={text}").replace('+', "%2B"))).unwrap();
            assert_eq!(
                sentence(params.number("limit", 1_u64, 1000)),
                "the query parameter \"limit\" must be a whole number from 1 to 1000",
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        let params = Params::parse(Some("x=1")).unwrap();
        assert_eq!(sentence(params.finish()), "the query parameter \"x\" is unknown here");
        assert!(sentence(Params::parse(Some("a=1&a=2"))).contains("\"a\" is given more than once"));
        assert!(sentence(Params::parse(Some("a=%ff"))).contains("not UTF-8"));
    }
}
