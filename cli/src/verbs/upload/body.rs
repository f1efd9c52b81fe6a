//! The bytes on their way to a node: read piece by piece, hashed and counted as they go, never whole in memory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use indicatif::ProgressBar;
use reqwest::Body;
use reqwest::multipart::Part;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::ReaderStream;

use crate::exit::{Exit, Fault};

/// Large enough that a read costs nothing beside the hash, small enough to be forgotten.
const PIECE_BYTES: usize = 256 * 1024;

/// One attempt to send one source.
pub(super) struct Sending {
    source: Mutex<Option<Source>>,
    size: Option<u64>,
    sent: Arc<Mutex<Sent>>,
}

type Source = Box<dyn AsyncRead + Send + Unpin>;

/// What has been handed to the connection so far.
#[derive(Default)]
struct Sent {
    hasher: blake3::Hasher,
    bytes: u64,
    failed: Option<String>,
}

impl Sending {
    /// Sends a file. Its size is told in advance, so what is appended meanwhile is not sent.
    pub(super) async fn file(path: &Path) -> anyhow::Result<Self> {
        let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(&error))?;
        let facts = file.metadata().await.context("cannot tell the file's size")?;
        if facts.is_dir() {
            return Err(Fault::usage("it is a folder: an asset is one file, so pack it first").into());
        }
        if !facts.is_file() {
            return Ok(Self::of(Box::new(file), None));
        }
        Ok(Self::of(Box::new(file.take(facts.len())), Some(facts.len())))
    }

    /// Sends standard input up to its end.
    pub(super) fn stdin() -> Self {
        Self::of(Box::new(tokio::io::stdin()), None)
    }

    fn of(source: Source, size: Option<u64>) -> Self {
        Self { source: Mutex::new(Some(source)), size, sent: Arc::default() }
    }

    /// The size, if it is known before the end.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// The multipart part that carries the bytes. To be called once; a second part would be empty.
    pub(super) fn part(&self, bar: ProgressBar) -> Part {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        let source = source.unwrap_or_else(|| Box::new(tokio::io::empty()));
        let (passing, failing) = (Arc::clone(&self.sent), Arc::clone(&self.sent));
        let pieces = ReaderStream::with_capacity(source, PIECE_BYTES)
            .inspect_ok(move |piece| {
                pass(&passing, piece);
                bar.inc(piece.len() as u64);
            })
            .inspect_err(move |error| lock(&failing).failed = Some(error.to_string()));
        match self.size {
            Some(size) => Part::stream_with_length(Body::wrap_stream(pieces), size),
            None => Part::stream(Body::wrap_stream(pieces)),
        }
    }

    /// The hash of what was sent, as an asset id.
    pub(super) fn hash(&self) -> String {
        lock(&self.sent).hasher.finalize().to_hex().to_string()
    }

    /// Why the transfer broke, if the source could not be read.
    pub(super) fn read_error(&self) -> Option<Fault> {
        let failed = lock(&self.sent).failed.clone()?;
        Some(Fault::new(Exit::Unexpected, format!("it cannot be read to its end: {failed}")))
    }

    /// Ends when nothing has moved for `longest`.
    pub(super) async fn stalled(&self, longest: Duration) {
        let mut seen = None;
        loop {
            let now = Some(lock(&self.sent).bytes);
            if now == seen {
                return;
            }
            seen = now;
            tokio::time::sleep(longest).await;
        }
    }
}

fn pass(sent: &Mutex<Sent>, piece: &Bytes) {
    let mut sent = lock(sent);
    sent.hasher.update(piece);
    sent.bytes += piece.len() as u64;
}

fn lock(sent: &Mutex<Sent>) -> std::sync::MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unreadable(error: &std::io::Error) -> Fault {
    Fault::usage(format!("it cannot be opened: {error}"))
}
