//! The settings of the HTTP side of a node, each with its default and the reason for it.

use std::time::Duration;

use crate::invocation::Limits;
use crate::invocation::functions::Functions;
use crate::probe::Reach;

/// Limits of the listener and of requests. The defaults suit a node on the open internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Connections served at once; more wait in the listen backlog. 4096: a thousand stalled
    /// clients leave room for three thousand others, at a few KiB each.
    pub connections_max: usize,
    /// A client must send its first request's headers within this time. 15 s: a slow phone link
    /// needs seconds, a slow-header attack wants minutes.
    pub header_timeout: Duration,
    /// A connection without a request in flight is closed after this time. 75 s: longer than the
    /// pools of usual clients keep a connection, so that they close it first.
    pub idle_timeout: Duration,
    /// An answer of which the client takes nothing for this long is given up. 60 s: with the small
    /// send queue that is below 5 KiB/s.
    pub stall_timeout: Duration,
    /// A request body must bring at least `progress_bytes_min` in every such window.
    /// 30 s: long enough for a lost Wi-Fi link to come back.
    pub progress_window: Duration,
    /// Bytes a body must bring per `progress_window`. 32 KiB: about 1 KiB/s, below any real link.
    pub progress_bytes_min: u64,
    /// At a stop, requests in flight get this long to end. 30 s: what supervisors usually allow.
    pub stop_deadline: Duration,
    /// The largest file an upload may hold, in bytes; `None`: as large as the disk.
    pub upload_bytes_max: Option<u64>,
    /// What can be invoked. Nothing, until the settings name it.
    pub functions: Functions,
    /// How long invocations may take.
    pub invocations: Limits,
    /// Whom `/check_health` may call.
    pub probe: Reach,
    /// Where clients reach the node. `None`: upload URLs name the host that the client itself used.
    pub public_url: Option<String>,
    /// Who may read and write.
    pub auth: Auth,
}

/// Who may read and write. NVCF calls need a token in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anybody; to operate the node, who sits at its machine.
    None,
    /// Who brings a token with the right scope.
    Token {
        /// What reading needs.
        reads: Reads,
    },
}

/// What reading needs where writing needs a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Nothing.
    Open,
    /// A token that may read.
    Token,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            progress_window: Duration::from_secs(30),
            progress_bytes_min: 32 * 1024,
            stop_deadline: Duration::from_secs(30),
            upload_bytes_max: None,
            functions: Functions::default(),
            invocations: Limits::default(),
            probe: Reach::Any,
            public_url: None,
            auth: Auth::None,
        }
    }
}

/// The largest JSON body, in bytes: descriptions and filters, not content.
pub(crate) const JSON_BYTES_MAX: usize = 1024 * 1024;

/// What an HTTP/2 client may send ahead on all streams of one connection, in bytes.
pub(crate) const H2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
