//! One answer, read whole.

use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Method;

const LINE_BYTES_MAX: u64 = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// Status, headers and body of one answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Response {
    pub(super) fn read(stream: &mut impl BufRead, method: Method) -> Result<Self> {
        loop {
            let mut response = Self::read_head(stream)?;
            // 100 Continue is no answer yet.
            if response.status == 100 {
                continue;
            }
            let empty = method == Method::Head || matches!(response.status, 204 | 304);
            if !empty {
                response.body = response.read_body(stream)?;
            }
            return Ok(response);
        }
    }

    pub(super) fn read_head(stream: &mut impl BufRead) -> Result<Self> {
        let line = read_line(stream)?;
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        ensure!(version.starts_with("HTTP/1."), "not a status line: {line:?}");
        let status = words.next().and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("not a status line: {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(stream)?;
            if line.is_empty() {
                return Ok(Self { status, headers, body: Vec::new() });
            }
            ensure!(headers.len() < HEADERS_MAX, "more than {HEADERS_MAX} headers");
            let (name, value) = line.split_once(':').with_context(|| format!("no header: {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn read_body(&self, stream: &mut impl BufRead) -> Result<Vec<u8>> {
        if self.header("transfer-encoding") == Some("chunked") {
            return read_chunks(stream);
        }
        let mut body = Vec::new();
        match self.header("content-length") {
            Some(length) => {
                let length: u64 = length.parse().context("Content-Length")?;
                stream.take(length).read_to_end(&mut body)?;
                ensure!(body.len() as u64 == length, "{} of {length} bytes, then the end", body.len());
            }
            None => {
                stream.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    /// The value of a header, named in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}, not JSON: {:?}", self.status, self.text()))
    }

    /// The start of the body as text, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]).into_owned()
    }

    /// True if the node will close the connection after this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).context("read a line")?;
    ensure!(line.pop() == Some(b'\n'), "the connection ended within a head");
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).context("a head that is no text")
}

fn read_chunks(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).with_context(|| format!("chunk size {size:?}"))?;
        let before = body.len() as u64;
        stream.take(size).read_to_end(&mut body)?;
        ensure!(body.len() as u64 - before == size, "the connection ended within a chunk");
        if !read_line(stream)?.is_empty() {
            bail!("a chunk without its end");
        }
        if size == 0 {
            return Ok(body);
        }
    }
}
