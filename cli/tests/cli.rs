//! Runs the built binary against a node that a test scripts, and against no node at all.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code: where it cannot go on, the test has failed"
)]

#[path = "cli/download.rs"]
mod download;
#[path = "cli/node.rs"]
mod node;
#[path = "cli/reading.rs"]
mod reading;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/stub.rs"]
mod stub;
#[path = "cli/upload.rs"]
mod upload;
