//! A disk whose writes wait in memory until they are released: the look before the leap.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::disk::{Disk, Space};

/// The unit in which writes are held back.
const PAGE: usize = 4096;

/// A disk over a disk. Reads see what was written; the disk below does not, before the release.
#[derive(Debug)]
pub(super) struct Held {
    disk: Arc<dyn Disk>,
    overlay: RwLock<Option<Mutex<Overlay>>>,
}

impl Held {
    /// Holds writes back from now on.
    pub(super) fn new(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let len = disk.len()?;
        let overlay = Overlay { len, whole: len, pages: BTreeMap::new() };
        Ok(Self { disk, overlay: RwLock::new(Some(Mutex::new(overlay))) })
    }

    /// Writes what was held back, and passes all on from now on.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        match overlay.take() {
            Some(held) => {
                held.into_inner().unwrap_or_else(PoisonError::into_inner).write_to(self.disk.as_ref())
            }
            None => Ok(()),
        }
    }

    /// Works on the overlay while there is one, else on the disk.
    fn on<T>(
        &self,
        held: impl FnOnce(&mut Overlay) -> io::Result<T>,
        passed: impl FnOnce(&dyn Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        match &*self.overlay.read().unwrap_or_else(PoisonError::into_inner) {
            Some(overlay) => held(&mut locked(overlay)),
            None => passed(self.disk.as_ref()),
        }
    }
}

impl Disk for Held {
    fn len(&self) -> io::Result<u64> {
        self.on(|overlay| Ok(overlay.len), Disk::len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // Only one of the two runs, but both would borrow the buffer.
        match &*self.overlay.read().unwrap_or_else(PoisonError::into_inner) {
            Some(overlay) => locked(overlay).read(self.disk.as_ref(), offset, out),
            None => self.disk.read_at(offset, out),
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let disk = self.disk.as_ref();
        self.on(|overlay| overlay.write(disk, offset, data), |disk| disk.write_at(offset, data))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.on(
            |overlay| {
                overlay.set_len(len);
                Ok(())
            },
            |disk| disk.set_len(len),
        )
    }

    fn sync(&self) -> io::Result<()> {
        self.on(|_| Ok(()), Disk::sync)
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }
}

fn locked(overlay: &Mutex<Overlay>) -> MutexGuard<'_, Overlay> {
    overlay.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pages that differ from the file.
#[derive(Debug)]
struct Overlay {
    len: u64,
    /// How much of the file still shows through: less than `len` once it was cut and grown again.
    whole: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    fn read(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (at, piece) in pieces(offset, out.len()) {
            let target = &mut out[piece.clone()];
            match self.pages.get(&(at / PAGE as u64)) {
                Some(page) => target.copy_from_slice(&page[within(at, target.len())]),
                None => self.read_file(disk, at, target)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, disk: &dyn Disk, offset: u64, data: &[u8]) -> io::Result<()> {
        for (at, piece) in pieces(offset, data.len()) {
            let number = at / PAGE as u64;
            if !self.pages.contains_key(&number) {
                let mut page = vec![0; PAGE].into_boxed_slice();
                self.read_file(disk, number * PAGE as u64, &mut page)?;
                self.pages.insert(number, page);
            }
            if let Some(page) = self.pages.get_mut(&number) {
                page[within(at, piece.len())].copy_from_slice(&data[piece]);
            }
        }
        self.len = self.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        self.pages.retain(|number, _| number * (PAGE as u64) < len);
        self.whole = self.whole.min(len);
        self.len = len;
    }

    /// Bytes that the file does not hold are zero, as they are after a resize.
    fn read_file(&self, disk: &dyn Disk, at: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.whole.saturating_sub(at).min(out.len() as u64) as usize;
        out[there..].fill(0);
        disk.read_at(at, &mut out[..there])
    }

    /// The first page names the roots, so it goes last, when all that it names is on the medium.
    fn write_to(mut self, disk: &dyn Disk) -> io::Result<()> {
        let header = self.pages.remove(&0);
        disk.set_len(self.whole)?;
        disk.set_len(self.len)?;
        for (number, page) in &self.pages {
            let at = number * PAGE as u64;
            let len = (self.len - at).min(PAGE as u64) as usize;
            disk.write_at(at, &page[..len])?;
        }
        disk.sync()?;
        if let Some(header) = header {
            disk.write_at(0, &header)?;
            disk.sync()?;
        }
        Ok(())
    }
}

/// Cuts a span at page borders: (offset in the file, range in the buffer).
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let room = PAGE - (at % PAGE as u64) as usize;
        let end = len.min(done + room);
        let piece = done..end;
        done = end;
        (!piece.is_empty()).then_some((at, piece))
    })
}

fn within(at: u64, len: usize) -> std::ops::Range<usize> {
    let start = (at % PAGE as u64) as usize;
    start..start + len
}
