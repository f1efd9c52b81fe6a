//! `multipart/form-data` (RFC 7578, RFC 2046 §5.1) as a pure state machine: bytes in, events out.
//! File bytes pass through uncopied; everything else it holds is bounded. It does no I/O.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::{self, Finder};

use crate::disposition::{self, FormData};

/// Text before the first boundary that is skipped; RFC 2046 allows a preamble, nobody sends one.
const PREAMBLE_BYTES_MAX: usize = 4 * 1024;
/// The headers of one part: a file name and a type need a few hundred bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// White space after a boundary.
const PADDING_BYTES_MAX: usize = 256;
/// Files, metadata and some extra fields; a form with thousands is an attack.
const PARTS_MAX: usize = 100;

/// The headers of one part that mean something to an upload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PartHead {
    pub(crate) names: FormData,
    pub(crate) content_type: Option<Vec<u8>>,
}

/// What the parser found next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins.
    Part(PartHead),
    /// Some of the part's content, never empty.
    Data(Bytes),
    /// The part is whole.
    PartEnd,
    /// The closing boundary was seen.
    Done,
}

/// Why a body is no valid form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the body does not begin with the boundary that its Content-Type names")]
    NoBoundary,
    #[error("a boundary of the multipart body is followed by other text on its line")]
    BoundaryLine,
    #[error("the headers of a part are larger than {HEADER_BYTES_MAX} bytes")]
    HeadersTooLarge,
    #[error("the headers of a part are malformed")]
    Headers,
    #[error("a part has no Content-Disposition: form-data header")]
    NoDisposition,
    #[error("the multipart body has more than {PARTS_MAX} parts")]
    TooManyParts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preamble,
    BoundaryEnd,
    Headers,
    ContentStart,
    Content,
    Done,
}

/// The state between two pieces of the body.
#[derive(Debug)]
pub(crate) struct Parser {
    /// CRLF, two dashes and the boundary.
    delimiter: Finder<'static>,
    pending: Bytes,
    stage: Stage,
    parts: usize,
}

impl Parser {
    /// A parser for the boundary that the Content-Type header names.
    pub(crate) fn new(boundary: &str) -> Self {
        Self {
            delimiter: Finder::new(&format!("\r\n--{boundary}")).into_owned(),
            // The first boundary may stand at the very start; the line end makes it like the rest.
            pending: Bytes::from_static(b"\r\n"),
            stage: Stage::Preamble,
            parts: 0,
        }
    }

    /// Gives the parser the next piece. Call `next` until it is `None` before the following one.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if self.pending.is_empty() {
            self.pending = piece;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.pending.len() + piece.len());
        joined.extend_from_slice(&self.pending);
        joined.extend_from_slice(&piece);
        self.pending = joined.freeze();
    }

    /// The next event, or `None` if more of the body is needed.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            let before = self.stage;
            let event = match self.stage {
                Stage::Preamble => self.preamble()?,
                Stage::BoundaryEnd => self.boundary_end()?,
                Stage::Headers => self.headers()?,
                Stage::ContentStart => self.content_start(),
                Stage::Content => self.content(),
                Stage::Done => {
                    self.pending.clear();
                    None
                }
            };
            if event.is_some() || self.stage == before {
                return Ok(event);
            }
        }
    }

    fn preamble(&mut self) -> Result<Option<Event>, Malformed> {
        match self.delimiter.find(&self.pending) {
            Some(at) if at <= PREAMBLE_BYTES_MAX => {
                self.pending.advance(at + self.delimiter.needle().len());
                self.stage = Stage::BoundaryEnd;
                Ok(None)
            }
            None if self.pending.len() <= PREAMBLE_BYTES_MAX => Ok(None),
            _ => Err(Malformed::NoBoundary),
        }
    }

    fn boundary_end(&mut self) -> Result<Option<Event>, Malformed> {
        if self.pending.starts_with(b"--") {
            self.stage = Stage::Done;
            return Ok(Some(Event::Done));
        }
        let text = self.pending.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
        let padding = text.unwrap_or(self.pending.len());
        match &self.pending[padding..] {
            [b'\r', b'\n', ..] => {
                self.pending.advance(padding + 2);
                self.stage = Stage::Headers;
                Ok(None)
            }
            [] | [b'\r'] if padding <= PADDING_BYTES_MAX => Ok(None),
            [b'-'] if padding == 0 => Ok(None),
            _ => Err(Malformed::BoundaryLine),
        }
    }

    fn headers(&mut self) -> Result<Option<Event>, Malformed> {
        if self.pending.starts_with(b"\r\n") {
            return Err(Malformed::NoDisposition);
        }
        match memmem::find(&self.pending, b"\r\n\r\n") {
            Some(end) if end <= HEADER_BYTES_MAX => {
                let head = parse_head(&self.pending[..end])?;
                // The line end stays: an empty content is followed at once by the delimiter.
                self.pending.advance(end + 2);
                self.parts += 1;
                if self.parts > PARTS_MAX {
                    return Err(Malformed::TooManyParts);
                }
                self.stage = Stage::ContentStart;
                Ok(Some(Event::Part(head)))
            }
            None if self.pending.len() <= HEADER_BYTES_MAX => Ok(None),
            _ => Err(Malformed::HeadersTooLarge),
        }
    }

    fn content_start(&mut self) -> Option<Event> {
        let needle = self.delimiter.needle();
        if self.pending.starts_with(needle) {
            return self.part_end();
        }
        if !needle.starts_with(&self.pending) {
            self.pending.advance(2);
            self.stage = Stage::Content;
        }
        None
    }

    fn content(&mut self) -> Option<Event> {
        if let Some(at) = self.delimiter.find(&self.pending) {
            if at > 0 {
                return Some(Event::Data(self.pending.split_to(at)));
            }
            return self.part_end();
        }
        let safe = self.pending.len() - begun(&self.pending, self.delimiter.needle());
        (safe > 0).then(|| Event::Data(self.pending.split_to(safe)))
    }

    fn part_end(&mut self) -> Option<Event> {
        self.pending.advance(self.delimiter.needle().len());
        self.stage = Stage::BoundaryEnd;
        Some(Event::PartEnd)
    }
}

/// How many of the last bytes might be the start of the delimiter.
fn begun(bytes: &[u8], delimiter: &[u8]) -> usize {
    let tail = &bytes[bytes.len() - bytes.len().min(delimiter.len() - 1)..];
    memchr::memchr_iter(b'\r', tail)
        .map(|at| &tail[at..])
        .find(|rest| delimiter.starts_with(rest))
        .map_or(0, <[u8]>::len)
}

fn parse_head(text: &[u8]) -> Result<PartHead, Malformed> {
    let mut names = None;
    let mut content_type = None;
    for line in lines(text) {
        let colon = memchr::memchr(b':', line).ok_or(Malformed::Headers)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(Malformed::Headers);
        }
        if name.eq_ignore_ascii_case(b"content-disposition") {
            names = disposition::parse_form_data(value);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            content_type = Some(value.to_vec());
        }
    }
    Ok(PartHead { names: names.ok_or(Malformed::NoDisposition)?, content_type })
}

fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = memmem::find(text, b"\r\n").unwrap_or(text.len());
        let line = &text[..end];
        text = text.get(end + 2..).unwrap_or_default();
        Some(line)
    })
}

#[cfg(test)]
mod tests;
