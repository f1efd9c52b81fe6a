//! The parser on whole bodies, on bodies cut anywhere, and on hostile ones.

use rstest::rstest;

use super::*;

const BODY: &[u8] = b"--XyZ\r\n\
    Content-Disposition: form-data; name=\"asset\"; filename=\"a.bin\"\r\n\
    Content-Type: image/png\r\n\r\n\
    one\r\ntwo\r\n--Xy\r\n-\r\r\n--XyZ \t\r\n\
    content-disposition: form-data; name=\"asset_metadata\"\r\n\r\n\
    {}\r\n--XyZ\r\n\
    Content-Disposition: form-data; name=\"empty\"\r\n\r\n\
    \r\n--XyZ\r\n\
    Content-Disposition: form-data; name=\"bare\"\r\n\r\n\
    --XyZ\r\n\
    Content-Disposition: form-data; name=\"dashes\"\r\n\r\n\
    --XyY\r\n--XyZ--\r\nepilogue";

/// Part names and contents, in order.
type Parts = Vec<(String, Vec<u8>)>;

/// The parts, and whether the closing boundary was seen.
fn parse<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Parts, bool), Malformed> {
    let mut parser = Parser::new("XyZ");
    let (mut parts, mut open, mut done) = (Vec::new(), false, false);
    for piece in pieces {
        parser.push(Bytes::copy_from_slice(piece));
        while let Some(event) = parser.next()? {
            match event {
                Event::Part(head) => {
                    assert!(!open);
                    open = true;
                    parts.push((head.names.name.unwrap_or_default(), Vec::new()));
                }
                Event::Data(bytes) => {
                    assert!(open && !bytes.is_empty());
                    parts.last_mut().unwrap().1.extend_from_slice(&bytes);
                }
                Event::PartEnd => open = false,
                Event::Done => done = true,
            }
        }
    }
    Ok((parts, done && !open))
}

fn expected() -> Parts {
    [
        ("asset", &b"one\r\ntwo\r\n--Xy\r\n-\r"[..]),
        ("asset_metadata", b"{}"),
        ("empty", b""),
        ("bare", b""),
        ("dashes", b"--XyY"),
    ]
    .map(|(name, content)| (name.to_owned(), content.to_vec()))
    .to_vec()
}

#[test]
fn a_form_gives_its_parts_in_order() {
    assert_eq!(parse(std::iter::once(BODY)), Ok((expected(), true)));
}

#[test]
fn pieces_of_any_size_give_the_same_parts() {
    for size in 1..BODY.len() {
        assert_eq!(parse(BODY.chunks(size)), Ok((expected(), true)), "pieces of {size}");
    }
}

#[test]
fn a_cut_at_any_place_gives_the_same_parts() {
    for at in 0..=BODY.len() {
        let (left, right) = BODY.split_at(at);
        assert_eq!(parse([left, right].into_iter()), Ok((expected(), true)), "cut at {at}");
    }
}

#[test]
fn a_truncated_body_is_never_done() {
    let end = BODY.len() - b"--\r\nepilogue".len();
    for at in 0..=end {
        let (_, done) = parse(std::iter::once(&BODY[..at])).unwrap();
        assert!(!done, "truncated at {at}");
    }
}

#[test]
fn file_bytes_are_not_copied() {
    let mut parser = Parser::new("XyZ");
    parser.push(Bytes::from_static(b"--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n"));
    assert!(matches!(parser.next(), Ok(Some(Event::Part(_)))));
    assert_eq!(parser.next(), Ok(None));
    // The blank line before the content is joined with the first piece; the rest passes through.
    parser.push(Bytes::from(vec![7; 4096]));
    while parser.next().unwrap().is_some() {}
    let piece = Bytes::from(vec![8; 4096]);
    let second = piece.as_ptr();
    parser.push(piece);
    let Ok(Some(Event::Data(data))) = parser.next() else { panic!("no data") };
    assert_eq!((data.as_ptr(), data.len()), (second, 4096));
}

#[rstest]
#[case::no_boundary(b"hello".repeat(2000), Malformed::NoBoundary)]
#[case::late_boundary([&b"x".repeat(5000)[..], b"\r\n--XyZ\r\n"].concat(), Malformed::NoBoundary)]
#[case::text_after_boundary(b"--XyZtail\r\n".to_vec(), Malformed::BoundaryLine)]
#[case::one_dash(b"--XyZ-\r\n".to_vec(), Malformed::BoundaryLine)]
#[case::endless_padding([&b"--XyZ"[..], &b" ".repeat(300)].concat(), Malformed::BoundaryLine)]
#[case::endless_headers([&b"--XyZ\r\nA: "[..], &b"a".repeat(1 << 20)].concat(), Malformed::HeadersTooLarge)]
#[case::no_headers(b"--XyZ\r\n\r\ndata\r\n--XyZ--".to_vec(), Malformed::NoDisposition)]
#[case::no_disposition(b"--XyZ\r\nContent-Type: a/b\r\n\r\n".to_vec(), Malformed::NoDisposition)]
#[case::no_colon(b"--XyZ\r\nContent-Disposition\r\n\r\n".to_vec(), Malformed::Headers)]
#[case::bare_line_feed(b"--XyZ\r\nContent-Disposition: form-data; name=a\nX: y\r\n\r\n".to_vec(), Malformed::Headers)]
#[case::nul(b"--XyZ\r\nContent-Disposition: form-data; name=a\0\r\n\r\n".to_vec(), Malformed::Headers)]
#[case::many_parts(b"--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(101), Malformed::TooManyParts)]
fn a_malformed_form_is_refused(#[case] body: Vec<u8>, #[case] expect: Malformed) {
    assert_eq!(parse(std::iter::once(&body[..])), Err(expect));
    assert_eq!(parse(body.chunks(7)), Err(expect), "in small pieces");
}
