//! Content on its way over HTTP, never whole in memory: uploads that are made while they are sent, and downloads whose
//! clock and hash run along.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::api::description_of;
use crate::content::Content;
use crate::http::Connection;
use crate::http::multipart::{BOUNDARY, CONTENT_TYPE};
use crate::http::request::{Method, Request};

/// Uploads content and checks that the node has understood it.
///
/// # Errors
/// If it is not answered by 201, or with another id than the content has.
pub(crate) fn upload(address: SocketAddr, name: &str, content: Content) -> Result<String> {
    let description = description_of(name, &json!({}));
    let disposition = "Content-Disposition: form-data; name";
    let head = format!(
        "--{BOUNDARY}\r\n{disposition}=\"asset_metadata\"\r\n\r\n{description}\r\n\
         --{BOUNDARY}\r\n{disposition}=\"asset\"; filename=\"{name}\"\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = head.len() + content.size + tail.len();
    let request = Request::new(Method::Post, "/upload_asset")
        .with_header("Content-Type", CONTENT_TYPE)
        .with_header("Content-Length", &length.to_string());
    let mut connection = Connection::open(address)?;
    connection.send_raw(&request.head())?;
    connection.send_raw(head.as_bytes())?;
    let mut hasher = blake3::Hasher::new();
    for piece in content.pieces() {
        hasher.update(&piece);
        connection.send_raw(&piece)?;
    }
    connection.send_raw(tail.as_bytes())?;
    let response = connection.receive(Method::Post)?;
    ensure!(response.status == 201, "{name}: {} {}", response.status, response.text());
    let id = hasher.finalize().to_hex().to_string();
    ensure!(response.json()?["asset_id"] == json!(id), "{name} is not {id}: {}", response.text());
    Ok(id)
}

/// How to download.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Download<'d> {
    pub(crate) address: SocketAddr,
    pub(crate) id: &'d str,
    /// Whether to hash what comes, which costs time.
    pub(crate) hashed: bool,
    /// Stop after so many bytes, and hang up.
    pub(crate) leave_after: Option<u64>,
}

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Downloaded {
    /// `X-Assetmesh-Source`
    pub(crate) source: String,
    /// From the request to the first byte of content.
    pub(crate) first_byte: Duration,
    /// From the request to the last byte.
    pub(crate) took: Duration,
    /// The longest time without a byte.
    pub(crate) longest_gap: Duration,
    pub(crate) bytes: u64,
    /// Empty if nothing was hashed.
    pub(crate) hash: String,
}

/// An answer other than 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text)
    }
}

impl std::error::Error for Refused {}

impl Download<'_> {
    /// Downloads all of it, and tells how far it has come.
    ///
    /// # Errors
    /// [`Refused`], or a body that ends before it should.
    pub(crate) fn run(&self, mut tell: impl FnMut(&str, u64)) -> Result<Downloaded> {
        let mut connection = Connection::open(self.address)?;
        let request = Request::get(format!("/asset-object/{}", self.id)).with_header("Connection", "close");
        let sent = Instant::now();
        connection.send(&request)?;
        let head = connection.receive_head()?;
        if head.status != 200 {
            let mut text = Vec::new();
            connection.receive_pieces(&head, |piece| {
                text.extend_from_slice(piece);
                true
            })?;
            let text = String::from_utf8_lossy(&text).into_owned();
            return Err(Refused { status: head.status, text }.into());
        }
        let source = head.header("x-assetmesh-source").context("X-Assetmesh-Source")?.to_owned();
        let mut hasher = blake3::Hasher::new();
        let (mut bytes, mut first, mut longest_gap) = (0, None, Duration::ZERO);
        let mut moved = sent;
        connection.receive_pieces(&head, |piece| {
            let now = Instant::now();
            first.get_or_insert(now);
            longest_gap = longest_gap.max(now - moved);
            moved = now;
            bytes += piece.len() as u64;
            if self.hashed {
                hasher.update(piece);
            }
            tell(&source, bytes);
            self.leave_after.is_none_or(|most| bytes < most)
        })?;
        let first_byte = first.unwrap_or(moved) - sent;
        let hash = if self.hashed { hasher.finalize().to_hex().to_string() } else { String::new() };
        Ok(Downloaded { source, first_byte, took: sent.elapsed(), longest_gap, bytes, hash })
    }
}
