//! What the database library sees of a file: it can be shut, and remembers its first fault.
//!
//! **Invariant:** once shut, a backend never touches the file again, so the file can be opened anew
//! while the old database still lives somewhere.

use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use super::disk::Disk;
use super::sums::Sums;
use super::{StoreError, guard};

/// Why a database must be opened anew.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// No room on the device.
    Full,
    /// A write, a resize or a sync failed.
    Write(Arc<io::Error>),
    /// A read failed.
    Read(Arc<io::Error>),
    /// A change met a damaged page.
    Damaged(Arc<str>),
}

impl Fault {
    fn of_write(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Write(Arc::new(copy_of(error))),
        }
    }

    fn of_read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string().into())
            }
            _ => Self::Read(Arc::new(copy_of(error))),
        }
    }
}

/// `io::Error` is not `Clone`: keeps the error number if there is one, else kind and text.
fn copy_of(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

/// A handle to the backend of one open database; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pages: Sums,
    shut: RwLock<bool>,
    fault: OnceLock<Fault>,
}

impl Backend {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        let shared = Shared { pages: Sums::new(disk), shut: RwLock::new(false), fault: OnceLock::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Waits for calls that are under way, then refuses all later ones.
    pub(super) fn shut(&self) {
        *self.shared.shut.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// The first fault, if there was one.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.shared.fault.get()
    }

    /// Where in the file a page had to be corrected.
    pub(super) fn mended(&self) -> Vec<u64> {
        self.shared.pages.mended()
    }

    /// Notes a fault. Only the first counts: later ones are its echo.
    pub(super) fn mark(&self, fault: Fault) {
        let _ = self.shared.fault.set(fault);
    }

    fn pass(&self) -> io::Result<RwLockReadGuard<'_, bool>> {
        let shut = self.shared.shut.read().unwrap_or_else(PoisonError::into_inner);
        if *shut {
            if guard::reader_is_guarded() {
                guard::unwind_reader(StoreError::Interrupted);
            }
            return Err(io::Error::other("the store was opened anew after an error"));
        }
        Ok(shut)
    }

    fn writing(&self, result: io::Result<()>) -> io::Result<()> {
        result.inspect_err(|error| self.mark(Fault::of_write(error)))
    }

    /// An error would make the library refuse all later work, also the writer's. Where only a reader
    /// asks, nothing is half done, so the reader alone is unwound to its guard.
    fn reading<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let fault = Fault::of_read(&error);
        if guard::reader_is_guarded() {
            guard::unwind_reader(StoreError::from(&fault));
        }
        self.mark(fault);
        Err(error)
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        let _pass = self.pass()?;
        self.reading(self.shared.pages.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let _pass = self.pass()?;
        self.reading(self.shared.pages.read_at(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _pass = self.pass()?;
        self.writing(self.shared.pages.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let _pass = self.pass()?;
        self.writing(self.shared.pages.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _pass = self.pass()?;
        self.writing(self.shared.pages.write_at(offset, data))
    }
}

#[cfg(test)]
mod tests {
    use redb::StorageBackend;

    use super::super::test_disk::TestDisk;
    use super::*;

    #[test]
    fn a_shut_backend_touches_nothing() {
        let disk = TestDisk::made("rows", 1);
        let backend = Backend::new(Arc::new(disk.clone()));
        let before = disk.bytes();
        backend.shut();
        backend.write(4_096, &[1; 4_096]).unwrap_err();
        backend.set_len(1 << 20).unwrap_err();
        backend.sync_data().unwrap_err();
        backend.read(4_096, &mut [0; 4_096]).unwrap_err();
        backend.len().unwrap_err();
        assert!(disk.bytes() == before);
        assert!(backend.fault().is_none(), "that is no fault of the disk");
    }

    #[test]
    fn only_the_first_fault_is_the_reason() {
        let disk = TestDisk::made("rows", 1);
        let backend = Backend::new(Arc::new(disk.clone()));
        disk.fail_writes(0, io::ErrorKind::StorageFull);
        backend.write(4_096, &[1; 4_096]).unwrap_err();
        disk.heal();
        disk.fail_sync(0, io::ErrorKind::Other);
        backend.sync_data().unwrap_err();
        assert!(matches!(backend.fault(), Some(Fault::Full)));
    }
}
