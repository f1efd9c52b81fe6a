//! File names from elsewhere, made safe: a stored name never chooses a folder and never hides.

use assetmesh_protocol::ids::AssetId;
use percent_encoding::percent_decode_str;

/// Room is left for the ending of an unfinished file: most file systems take 255 bytes.
const NAME_BYTES_MAX: usize = 200;

/// The stored name as a plain file name: its last part, without control characters; the asset id if nothing is left.
pub(super) fn safe(stored: &str, id: &AssetId) -> String {
    let last = stored.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown: String = last.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    let name = cut(shown.trim().trim_start_matches('.'));
    if name.is_empty() { id.to_string() } else { name.to_owned() }
}

/// The first [`NAME_BYTES_MAX`] bytes, but whole characters.
fn cut(name: &str) -> &str {
    let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// The file name of a `Content-Disposition` header (RFC 6266); `filename*` (RFC 8187) goes first.
pub(super) fn of_disposition(header: &str) -> Option<String> {
    extended(header).or_else(|| quoted(header))
}

fn extended(header: &str) -> Option<String> {
    let value = parameter(header, "filename*=")?;
    let encoded = value.split(';').next()?.trim();
    let (charset, rest) = encoded.split_once('\'')?;
    let (_language, text) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

fn quoted(header: &str) -> Option<String> {
    let value = parameter(header, "filename=")?;
    let Some(inner) = value.strip_prefix('"') else {
        return Some(value.split(';').next()?.trim().to_owned());
    };
    let mut name = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some(name),
            '\\' => name.push(characters.next()?),
            other => name.push(other),
        }
    }
    None
}

/// What stands behind `name` where it begins a parameter.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let lower = header.to_ascii_lowercase();
    let begins = |at: usize| lower[..at].trim_end().ends_with(';');
    let at = lower.match_indices(name).map(|(at, _)| at).find(|at| begins(*at))?;
    Some(&header[at + name.len()..])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("model.onnx", "model.onnx")]
    #[case("../../etc/passwd", "passwd")]
    #[case("C:\\temp\\a.bin", "a.bin")]
    #[case(".bashrc", "bashrc")]
    #[case("a\r\nb\u{1b}[2J", "a__b_[2J")]
    #[case("modèle v1.bin", "modèle v1.bin")]
    fn a_stored_name_never_leaves_the_folder(#[case] stored: &str, #[case] name: &str) {
        assert_eq!(safe(stored, &AssetId::of(b"")), name);
    }

    #[rstest]
    #[case("")]
    #[case("..")]
    #[case("a/..")]
    #[case("a/")]
    #[case(" ")]
    fn without_a_usable_name_the_file_is_called_by_its_id(#[case] stored: &str) {
        let id = AssetId::of(b"x");
        assert_eq!(safe(stored, &id), id.to_string());
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let name = safe(&"é".repeat(300), &AssetId::of(b""));
        assert_eq!(name, "é".repeat(100));
    }

    #[rstest]
    #[case("attachment; filename=\"a.bin\"; filename*=UTF-8''mod%C3%A8le.bin", Some("modèle.bin"))]
    #[case("attachment; filename=\"a \\\"b\\\".bin\"", Some("a \"b\".bin"))]
    #[case("attachment; filename=plain.bin", Some("plain.bin"))]
    #[case("attachment; FileName=\"x;y\"", Some("x;y"))]
    #[case("attachment; filename*=latin1''x; filename=\"y\"", Some("y"))]
    #[case("attachment", None)]
    #[case("attachment; filename=\"open", None)]
    fn a_disposition_tells_the_name(#[case] header: &str, #[case] name: Option<&str>) {
        assert_eq!(of_disposition(header).as_deref(), name);
    }
}
