//! A disk in memory that fails on demand, and remembers every call so that crash images can be built.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, Space};
use super::{OpenError, Store, StoreConfig, file};

/// One call that changed the disk, or should have.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Bytes at an offset.
    Write(u64, Arc<[u8]>),
    /// A new length.
    SetLen(u64),
    /// Everything before is durable.
    Sync,
    /// A sync that failed: what was pending will never reach the medium by itself.
    FailedSync,
}

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    events: Vec<Event>,
    recording: bool,
    write_fault: Option<(u32, io::ErrorKind)>,
    room_for_header: bool,
    sync_fault: Option<(u32, io::ErrorKind)>,
    read_fault: bool,
    lies: bool,
    space: Space,
}

impl Default for State {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            events: Vec::new(),
            recording: false,
            write_fault: None,
            room_for_header: false,
            sync_fault: None,
            read_fault: false,
            lies: false,
            space: Space { free: 1 << 40, total: 1 << 40, taken: 0 },
        }
    }
}

impl TestDisk {
    /// A disk with this content.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.lock().bytes = bytes;
        disk
    }

    /// A disk with an empty database on it.
    pub(crate) fn made(kind: &str, format: u32) -> Self {
        let disk = Self::default();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        file::create(&shared, kind, format).unwrap();
        disk
    }

    /// Opens a store on it.
    pub(crate) fn store(&self, kind: &str, format: u32, config: StoreConfig) -> Result<Store, OpenError> {
        Store::open_on(Arc::new(self.clone()), "test".as_ref(), (kind, format), config)
    }

    /// What a reader of the whole disk would see.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Remembers calls from now on.
    pub(crate) fn record(&self) {
        self.lock().recording = true;
    }

    /// How many calls were remembered.
    pub(crate) fn recorded(&self) -> usize {
        self.lock().events.len()
    }

    /// The calls that were remembered.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// From the `nth` write on (0 is the next one), all fail until [`TestDisk::heal`].
    pub(crate) fn fail_writes(&self, nth: u32, kind: io::ErrorKind) {
        self.lock().write_fault = Some((nth, kind));
    }

    /// From the `nth` write on there is no room but where data already is: in the header.
    pub(crate) fn fill_up(&self, nth: u32) {
        let mut state = self.lock();
        state.write_fault = Some((nth, io::ErrorKind::StorageFull));
        state.room_for_header = true;
    }

    /// The `nth` sync (0 is the next one) fails, once.
    pub(crate) fn fail_sync(&self, nth: u32, kind: io::ErrorKind) {
        self.lock().sync_fault = Some((nth, kind));
    }

    /// All reads fail until [`TestDisk::heal`].
    pub(crate) fn fail_reads(&self) {
        self.lock().read_fault = true;
    }

    /// Syncs do nothing and say they did.
    pub(crate) fn lie(&self) {
        self.lock().lies = true;
    }

    /// No call fails from now on.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        (state.write_fault, state.sync_fault, state.read_fault) = (None, None, false);
        state.room_for_header = false;
    }

    /// Sets the room on the device.
    pub(crate) fn set_space(&self, space: Space) {
        self.lock().space = space;
    }

    /// Flips one bit.
    pub(crate) fn flip(&self, byte: usize, bit: u8) {
        self.lock().bytes[byte] ^= 1 << (bit % 8);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn note(&mut self, event: Event) {
        if self.recording {
            self.events.push(event);
        }
    }
}

/// Counts down; the fault strikes at zero.
fn strikes(fault: &mut Option<(u32, io::ErrorKind)>) -> Option<io::Error> {
    let (left, kind) = fault.as_mut()?;
    if *left == 0 {
        return Some((*kind).into());
    }
    *left -= 1;
    None
}

impl Disk for TestDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        if state.read_fault {
            return Err(io::Error::from_raw_os_error(5));
        }
        let start = offset as usize;
        let found = state.bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let has_room = offset == 0 && state.room_for_header;
        if !has_room && let Some(error) = strikes(&mut state.write_fault) {
            return Err(error);
        }
        apply(&mut state.bytes, offset, data);
        state.note(Event::Write(offset, data.into()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.bytes.resize(len as usize, 0);
        state.note(Event::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(error) = strikes(&mut state.sync_fault) {
            state.sync_fault = None;
            state.note(Event::FailedSync);
            return Err(error);
        }
        if !state.lies {
            state.note(Event::Sync);
        }
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(self.lock().space)
    }
}

/// Writes into an image, growing it where needed.
pub(crate) fn apply(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(data);
}
