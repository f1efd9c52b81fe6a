//! What is decided about input assets: which descriptions are taken, and what an upload does to an asset. Pure: no
//! clock, no store.

use super::clock::Times;
use super::row::{Content, Row};
use super::{Error, Refusal};

/// Longest media type, in bytes. No registered one is half as long.
const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// Longest description, in bytes: it has to come again as a header.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// Refuses a media type that is not `^\w+/[-+.\w]+$`.
pub(super) fn check_content_type(text: &str) -> Result<(), Error> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (kind, rest) = text.split_once('/').ok_or(Error::ContentType)?;
    let is_type = !kind.is_empty() && kind.bytes().all(is_word);
    let is_rest = !rest.is_empty() && rest.bytes().all(|byte| is_word(byte) || b"-+.".contains(&byte));
    if is_type && is_rest && text.len() <= CONTENT_TYPE_BYTES_MAX { Ok(()) } else { Err(Error::ContentType) }
}

/// Refuses a description that no header can carry.
pub(super) fn check_description(text: &str) -> Result<(), Error> {
    let fits = text.len() <= DESCRIPTION_BYTES_MAX && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Error::Description) }
}

/// What the end of an upload does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The asset now has its content.
    Store(Row),
    /// It had this very content already: the client did not get the first answer.
    Again(Row),
}

/// Decides what the end of an upload does to an asset, which waits for content or has some.
pub(super) fn finish(row: Option<Row>, content: Content, now: Times) -> Result<Finish, Error> {
    let row = row.filter(|row| !row.is_gone(now)).ok_or(Error::Refused(Refusal::Gone))?;
    match row.content {
        None => Ok(Finish::Store(Row { content: Some(content), ..row })),
        Some(stored) if stored == content => Ok(Finish::Again(row)),
        Some(_) => Err(Error::OtherContent),
    }
}

#[cfg(test)]
mod tests {
    use assetmesh_protocol::ids::AssetId;

    use super::*;
    use crate::nvcf::row::tests::sample;

    #[test]
    fn media_types_are_taken_or_refused() {
        for good in ["image/png", "application/vnd.x-y+json", "a_1/2.0", "application/x-7z-compressed"] {
            assert!(check_content_type(good).is_ok(), "{good}");
        }
        let long = format!("a/{}", "b".repeat(254));
        let bad = [
            "",
            "image",
            "image/",
            "/png",
            "image/png ",
            " image/png",
            "image/p ng",
            "image/png\n",
            "a/b/c",
            "text/plain; charset=utf-8",
            "image/p\u{f6}g",
            "i\u{f6}/png",
            "x-y/z",
            "image/png\r\nX: y",
            &long,
        ];
        for bad in bad {
            assert!(matches!(check_content_type(bad), Err(Error::ContentType)), "{bad:?}");
        }
    }

    #[test]
    fn descriptions_are_taken_if_a_header_can_carry_them() {
        for good in
            ["", "red-cat-photo", "a \"quoted\" one; with, all=sorts", "rötliche Katze", &"d".repeat(1024)]
        {
            assert!(check_description(good).is_ok(), "{good}");
        }
        for bad in ["a\nb", "a\r\nX-Evil: 1", "\0", "a\tb", "\u{7f}", "\u{85}", &"d".repeat(1025)] {
            assert!(matches!(check_description(bad), Err(Error::Description)), "{bad:?}");
        }
    }

    #[test]
    fn an_upload_ends_once_and_may_be_repeated() {
        let now = Times { shown: 1_000_500, sure: 1_000_500 };
        let content = Content { blob: AssetId::of(b"x"), size: 1 };
        let Finish::Store(row) = finish(Some(sample("acme")), content, now).unwrap() else {
            panic!("it had no content")
        };
        assert_eq!(row.content, Some(content));
        assert_eq!(finish(Some(row.clone()), content, now).unwrap(), Finish::Again(row.clone()));
        let other = Content { blob: AssetId::of(b"y"), size: 1 };
        assert!(matches!(finish(Some(row.clone()), other, now), Err(Error::OtherContent)));
        let late = Times { shown: 1_024_000, sure: 1_024_000 };
        assert!(matches!(finish(Some(row), content, late), Err(Error::Refused(_))));
        assert!(matches!(finish(None, content, now), Err(Error::Refused(_))));
    }
}
