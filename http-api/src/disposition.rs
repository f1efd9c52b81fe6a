//! `Content-Disposition`, read from an upload's part and written on a download.
//! A file name is only ever text: it is escaped on the way out and never becomes a path.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// The names that a part's `Content-Disposition: form-data` carries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FormData {
    pub(crate) name: Option<String>,
    /// Present, perhaps empty, if the part is a file.
    pub(crate) file_name: Option<String>,
}

/// Reads the value of a part's header (RFC 7578 §4.2). `None` if it is not `form-data`.
///
/// Quoted values may escape `"` and `\` by a backslash, or `"` as `%22` as browsers do.
/// Bytes that are not UTF-8 become U+FFFD. `filename*` (RFC 8187) wins over `filename`.
pub(crate) fn parse_form_data(value: &[u8]) -> Option<FormData> {
    let text = String::from_utf8_lossy(value);
    let (kind, mut rest) = text.split_once(';').unwrap_or((&text, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let mut form = FormData::default();
    let mut extended = None;
    while let Some((key, value, after)) = parameter(rest) {
        match key.to_ascii_lowercase().as_str() {
            "name" => form.name = form.name.or(Some(value)),
            "filename" => form.file_name = form.file_name.or(Some(value)),
            "filename*" => extended = extended.or_else(|| decode_extended(&value)),
            _ => {}
        }
        rest = after;
    }
    form.file_name = extended.or(form.file_name);
    Some(form)
}

/// The first `key=value` of a parameter list, and what follows it.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ';']);
    let (key, rest) = text.split_once('=')?;
    let rest = rest.trim_start();
    let (value, after) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted),
        None => {
            let end = rest.find(';').unwrap_or(rest.len());
            (rest[..end].trim().to_owned(), &rest[end..])
        }
    };
    Some((key.trim(), value, after))
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value.replace("%22", "\""), &text[at + 1..]),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            _ => value.push(char),
        }
    }
    (value, "")
}

/// `UTF-8'language'percent-encoded`, RFC 8187 §3.2.
fn decode_extended(value: &str) -> Option<String> {
    let mut pieces = value.splitn(3, '\'');
    let (charset, _language, encoded) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let bytes = percent_decode(encoded.as_bytes());
    charset.eq_ignore_ascii_case("utf-8").then(|| bytes.decode_utf8_lossy().into_owned())
}

/// What RFC 8187 §3.2.1 lets stand unescaped (`attr-char`).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header of a download: a plain name for old clients and the exact one for the rest
/// (RFC 6266 §4.3, RFC 8187). Whatever the name holds, the value is printable ASCII.
pub(crate) fn attachment(file_name: &str) -> HeaderValue {
    let plain: String = file_name
        .chars()
        .map(|char| match char {
            '"' | '\\' | '%' | '/' => '_',
            ' '..='~' => char,
            _ => '_',
        })
        .collect();
    let exact = utf8_percent_encode(file_name, ESCAPED);
    let value = if file_name.is_empty() {
        "attachment".to_owned()
    } else {
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
    };
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"form-data; name="asset"; filename="a.txt""#, Some("asset"), Some("a.txt"))]
    #[case(r#"form-data; filename="a.txt"; name="asset""#, Some("asset"), Some("a.txt"))]
    #[case(r#"Form-Data;name=asset;FileName=a.txt"#, Some("asset"), Some("a.txt"))]
    #[case(r#"form-data; name="asset""#, Some("asset"), None)]
    #[case(r#"form-data; name="asset"; filename="""#, Some("asset"), Some(""))]
    #[case(r#"form-data; name="a;b"; filename="x=1; y.txt""#, Some("a;b"), Some("x=1; y.txt"))]
    #[case(r#"form-data; name="a"; filename="say \"hi\" \\o/.txt""#, Some("a"), Some(r#"say "hi" \o/.txt"#))]
    #[case(r#"form-data; name="a"; filename="C:\dir\file""#, Some("a"), Some(r"C:\dir\file"))]
    #[case(r#"form-data; name="a"; filename="q%22q""#, Some("a"), Some("q\"q"))]
    #[case(r#"form-data; name="a"; filename="../../x""#, Some("a"), Some("../../x"))]
    #[case("form-data; name=\"a\"; filename=\"名前.bin\"", Some("a"), Some("名前.bin"))]
    #[case("form-data; name=a; filename=x; filename*=UTF-8''%E5%90%8D%20x", Some("a"), Some("名 x"))]
    #[case("form-data; name=a; filename=x; filename*=latin1''%E5", Some("a"), Some("x"))]
    #[case("form-data", None, None)]
    #[case("form-data; name", None, None)]
    #[case(r#"form-data; name="unclosed"#, Some("unclosed"), None)]
    fn names_are_read_as_the_client_meant_them(
        #[case] header: &str,
        #[case] name: Option<&str>,
        #[case] file_name: Option<&str>,
    ) {
        let form = parse_form_data(header.as_bytes()).unwrap();
        assert_eq!((form.name.as_deref(), form.file_name.as_deref()), (name, file_name));
    }

    #[test]
    fn other_dispositions_are_not_form_data() {
        assert_eq!(parse_form_data(b"attachment; name=\"asset\""), None);
        assert_eq!(parse_form_data(b""), None);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let form = parse_form_data(b"form-data; name=a; filename=\"\xff.bin\"").unwrap();
        assert_eq!(form.file_name.as_deref(), Some("\u{fffd}.bin"));
    }

    #[rstest]
    #[case("a b.txt", "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt")]
    #[case("q\"\\.txt", "attachment; filename=\"q__.txt\"; filename*=UTF-8''q%22%5C.txt")]
    #[case(
        "x\r\nSet-Cookie: a",
        "attachment; filename=\"x__Set-Cookie: a\"; filename*=UTF-8''x%0D%0ASet-Cookie%3A%20a"
    )]
    #[case("é", "attachment; filename=\"_\"; filename*=UTF-8''%C3%A9")]
    #[case("../../x", "attachment; filename=\".._.._x\"; filename*=UTF-8''..%2F..%2Fx")]
    #[case("\u{1b}[2J\u{202e}", "attachment; filename=\"_[2J_\"; filename*=UTF-8''%1B%5B2J%E2%80%AE")]
    #[case("", "attachment")]
    fn every_name_becomes_one_harmless_header(#[case] name: &str, #[case] expect: &str) {
        assert_eq!(attachment(name).to_str().unwrap(), expect);
    }
}
