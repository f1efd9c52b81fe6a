//! A multipart form as it arrives: pieces of the body go through the parser, one part at a time.

use axum::body::BodyDataStream;
use axum::extract::Request;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::ApiError;
use crate::extract::{body_error, media_type, refuse_encoded};
use crate::multipart::{Event, Parser, PartHead};

/// The original's sentence for every body that holds no file.
pub(crate) const NO_FILE_PART: &str = "No file part";
/// Parts that nobody asked for are read and dropped, up to this many bytes in all.
const IGNORED_BYTES_MAX: u64 = 1024 * 1024;
/// RFC 2046 allows 70 characters; some clients use more.
const BOUNDARY_BYTES_MAX: usize = 200;

/// The form, read in order.
#[derive(Debug)]
pub(crate) struct Form {
    body: BodyDataStream,
    parser: Parser,
    ignored: u64,
}

impl Form {
    /// Begins to read a form.
    pub(crate) fn of(request: Request) -> Result<Self, ApiError> {
        refuse_encoded(request.headers())?;
        let kind = media_type(request.headers());
        let boundary = kind
            .filter(|mime| mime.type_() == mime::MULTIPART && mime.subtype() == mime::FORM_DATA)
            .and_then(|mime| mime.get_param(mime::BOUNDARY).map(|name| name.as_str().to_owned()))
            .filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))
            .ok_or_else(|| ApiError::bad_request("no_file_part", NO_FILE_PART))?;
        let body = request.into_body().into_data_stream();
        Ok(Self { body, parser: Parser::new(&boundary), ignored: 0 })
    }

    /// The head of the next part; `None` once the form is whole.
    pub(crate) async fn part(&mut self) -> Result<Option<PartHead>, ApiError> {
        loop {
            match self.event().await? {
                Event::Part(head) => return Ok(Some(head)),
                Event::Done => {
                    self.epilogue().await?;
                    return Ok(None);
                }
                Event::Data(bytes) => self.ignore(&bytes)?,
                Event::PartEnd => {}
            }
        }
    }

    /// The next bytes of the current part; `None` at its end.
    pub(crate) async fn data(&mut self) -> Result<Option<Bytes>, ApiError> {
        match self.event().await? {
            Event::Data(bytes) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    /// The rest of the current part, if it is no longer than `bytes_max`.
    pub(crate) async fn text(&mut self, what: &str, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
        let mut text = Vec::new();
        while let Some(bytes) = self.data().await? {
            if text.len() + bytes.len() > bytes_max {
                return Err(ApiError::too_large(what, bytes_max as u64));
            }
            text.extend_from_slice(&bytes);
        }
        Ok(text)
    }

    async fn event(&mut self) -> Result<Event, ApiError> {
        loop {
            if let Some(event) = self.parser.next()? {
                return Ok(event);
            }
            match self.body.next().await {
                Some(piece) => self.parser.push(piece.map_err(body_error)?),
                None => {
                    let sentence = "No file part: the body ends before its closing boundary";
                    return Err(ApiError::bad_request("truncated", sentence));
                }
            }
        }
    }

    /// What follows the closing boundary means nothing, but it is read, so that the connection can go on.
    async fn epilogue(&mut self) -> Result<(), ApiError> {
        while let Some(piece) = self.body.next().await {
            self.ignore(&piece.map_err(body_error)?)?;
        }
        Ok(())
    }

    fn ignore(&mut self, bytes: &Bytes) -> Result<(), ApiError> {
        self.ignored += bytes.len() as u64;
        if self.ignored > IGNORED_BYTES_MAX {
            return Err(ApiError::too_large("what the form holds beside the file", IGNORED_BYTES_MAX));
        }
        Ok(())
    }
}
