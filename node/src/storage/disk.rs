//! The file under a store, as a small trait: what a test replaces to make it fail, lie or remember.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{Advice, fadvise};

/// A write of at least this many bytes is content: its way to the medium begins at once, so that the sync
/// at the end of a long upload finds little left to do.
const EAGER_BYTES_MIN: usize = 256 << 10;

/// Room on the file system that holds a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// What an unprivileged process may still write.
    pub(crate) free: u64,
    /// The whole file system.
    pub(crate) total: u64,
    /// What the file itself takes; holes count nothing.
    pub(crate) taken: u64,
}

/// One file, read and written by position.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; a file that ends before is an error.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts or grows the file; new bytes are zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns when everything written before is on the medium.
    fn sync(&self) -> io::Result<()>;
    /// The room there is.
    fn space(&self) -> io::Result<Space>;
}

/// A real file.
#[derive(Debug)]
pub(super) struct FileDisk(pub(super) File);

impl Disk for FileDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)?;
        if data.len() >= EAGER_BYTES_MIN {
            // Linux takes this advice for pages that are not yet written as a start of their writing, and keeps
            // them. It is only a hint: an error of the medium is told by the sync.
            fadvise(&self.0, offset, NonZeroU64::new(data.len() as u64), Advice::DontNeed).ok();
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn space(&self) -> io::Result<Space> {
        let system = rustix::fs::fstatvfs(&self.0)?;
        Ok(Space {
            free: system.f_bavail.saturating_mul(system.f_frsize),
            total: system.f_blocks.saturating_mul(system.f_frsize),
            taken: self.0.metadata()?.blocks().saturating_mul(512),
        })
    }
}
