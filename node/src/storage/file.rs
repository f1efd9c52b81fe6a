//! Taking a file: lock it, make it if absent, look before the library may write, check it whole.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, TableError};

use super::backend::Backend;
use super::disk::{Disk, FileDisk};
use super::guard::{self, guard};
use super::held::Held;
use super::{META, OpenError, StoreError, header};

/// Locks the file at `path` for this process. An absent file is made under another name and moved in
/// place when it is whole, so that a crash never leaves half a database.
pub(super) fn hold(path: &Path, kind: &str, format: u32) -> Result<FileDisk, OpenError> {
    match lock(path, OpenOptions::new().read(true).write(true)) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome.map(FileDisk),
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    let file = lock(&draft, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
    if path.try_exists().map_err(|error| failed(path, error))? {
        // Another process finished its draft between our two looks.
        drop(file);
        return lock(path, OpenOptions::new().read(true).write(true)).map(FileDisk);
    }
    // What it will hold may be private to an account, and containers find their way through its folder.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|error| failed(&draft, error))?;
    file.set_len(0).map_err(|error| failed(&draft, error))?;
    let disk: Arc<FileDisk> = Arc::new(FileDisk(file));
    let shared: Arc<dyn Disk> = Arc::<FileDisk>::clone(&disk);
    create(&shared, kind, format).map_err(|error| unusable(&draft, &error))?;
    drop(shared);
    disk.sync().map_err(|error| failed(&draft, error))?;
    fs::rename(&draft, path).map_err(|error| failed(path, error))?;
    sync_folder(path).map_err(|error| failed(path, error))?;
    let disk =
        Arc::try_unwrap(disk).map_err(|_| failed(path, io::Error::other("the draft is still open")))?;
    Ok(disk)
}

/// Opens what is on `disk` if it is of the `wanted` kind and format.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    path: &Path,
    wanted: (&str, u32),
    cache_bytes: usize,
) -> Result<(Database, Backend), OpenError> {
    if let Some(reason) = header::objection(disk.as_ref()).map_err(|error| failed(path, error))? {
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    let held = Arc::new(Held::new(Arc::clone(disk)).map_err(|error| failed(path, error))?);
    let backend = Backend::new(Arc::<Held>::clone(&held));
    let database = start(&backend, cache_bytes).map_err(|error| unusable(path, &error))?;
    let found = contents(&database).map_err(|error| unusable(path, &error))?;
    check(path, found, wanted)?;
    held.release().map_err(|error| failed(path, error))?;
    Ok((database, backend))
}

/// Opens a database that was open before.
pub(super) fn reopen(disk: &Arc<dyn Disk>, cache_bytes: usize) -> Result<(Database, Backend), StoreError> {
    let backend = Backend::new(Arc::clone(disk));
    let database = start(&backend, cache_bytes)?;
    Ok((database, backend))
}

/// What a check of the whole file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// All pages are as they were written.
    Sound,
    /// The file needs the repair that opening it for writing would do.
    NeedsRepair,
    /// Bits have flipped in the pages at these bytes of the file; they are corrected whenever they are read.
    Corrected(Vec<u64>),
    /// Pages are damaged.
    Damaged(String),
}

/// Checks every page of the file at `path` against its checksum. Reads only; no node may run on it.
///
/// # Errors
/// The file is in use, cannot be read, or is no database at all.
pub fn verify(path: &Path) -> Result<Integrity, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(FileDisk(lock(path, OpenOptions::new().read(true))?));
    if let Some(reason) = header::objection(disk.as_ref()).map_err(|error| failed(path, error))? {
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    let backend = Backend::new(Arc::new(Held::new(disk).map_err(|error| failed(path, error))?));
    let checked = as_writer(|| {
        let mut database = start(&backend, super::StoreConfig::default().cache_bytes)?;
        let sound = database.check_integrity();
        backend.shut();
        sound.map_err(of_open)
    });
    // The backend's own word names the place; the library's is only its echo.
    let checked = backend.fault().map_or(checked, |fault| Err(fault.into()));
    let mended = backend.mended();
    match checked {
        Ok(_) if !mended.is_empty() => Ok(Integrity::Corrected(mended)),
        Ok(true) => Ok(Integrity::Sound),
        Ok(false) => Ok(Integrity::NeedsRepair),
        Err(StoreError::Io(error)) if error.raw_os_error().is_some() => {
            Err(failed(path, io::Error::new(error.kind(), error.to_string())))
        }
        Err(error) => Ok(Integrity::Damaged(error.to_string())),
    }
}

fn lock(path: &Path, options: &OpenOptions) -> Result<File, OpenError> {
    let file = options.open(path).map_err(|error| failed(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(path, error)),
    }
}

/// Makes an empty database that says what it holds.
pub(super) fn create(disk: &Arc<dyn Disk>, kind: &str, format: u32) -> Result<(), StoreError> {
    let backend = Backend::new(Arc::clone(disk));
    as_writer(|| {
        let database = start(&backend, 1 << 20)?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("kind", kind)?;
            meta.insert("format", format.to_string().as_str())?;
        }
        transaction.commit()?;
        database.close().map_err(of_open)
    })
}

/// Opening writes: what it meets must not unwind it.
fn as_writer<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    guard::catch(guard::Role::Writer, work).unwrap_or_else(Err)
}

fn start(backend: &Backend, cache_bytes: usize) -> Result<Database, StoreError> {
    let started = as_writer(|| {
        Builder::new().set_cache_size(cache_bytes).create_with_backend(backend.clone()).map_err(of_open)
    });
    started.map_err(|error| backend.fault().map_or(error, StoreError::from))
}

/// Kind and format, where the file has them.
fn contents(database: &Database) -> Result<Option<(String, String)>, StoreError> {
    guard(|| {
        let meta = match database.begin_read()?.open_table(META) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other?,
        };
        let text = |key| Ok::<_, StoreError>(meta.get(key)?.map(|value| value.value().to_owned()));
        Ok(text("kind")?.zip(text("format")?))
    })
}

fn check(path: &Path, found: Option<(String, String)>, wanted: (&str, u32)) -> Result<(), OpenError> {
    let path = path.to_owned();
    let Some((kind, format)) = found else {
        return Err(OpenError::Damaged { path, reason: "it does not say what it holds".to_owned() });
    };
    if kind != wanted.0 {
        return Err(OpenError::Kind { path, found: kind, wanted: wanted.0.to_owned() });
    }
    if format != wanted.1.to_string() {
        return Err(OpenError::Format { path, found: format, known: wanted.1 });
    }
    Ok(())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn of_open(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::Storage(error) => error.into(),
        other => StoreError::Damaged(other.to_string().into()),
    }
}

fn failed(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

/// An error of the library while opening: an error number is the system's word, all else is damage.
fn unusable(path: &Path, error: &StoreError) -> OpenError {
    match error {
        StoreError::Full => failed(path, io::ErrorKind::StorageFull.into()),
        StoreError::Io(error) if error.raw_os_error().is_some() => {
            failed(path, io::Error::new(error.kind(), error.to_string()))
        }
        other => OpenError::Damaged { path: path.to_owned(), reason: other.to_string() },
    }
}
