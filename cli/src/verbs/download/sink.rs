//! Where downloaded bytes go while they are not proven: an unfinished file beside the final one, or standard output.
//! Writes are plain blocking ones into the page cache: the connection is read by a task of its own meanwhile.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use assetmesh_protocol::ids::AssetId;

use crate::exit::{Exit, Fault};
use crate::output::stdout;

/// How much of an unfinished file is read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes that came so far, and their hash.
#[derive(Debug)]
pub(super) struct Sink {
    hasher: blake3::Hasher,
    len: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Stdout,
    File(Unfinished),
}

/// A file under a name of its own until its bytes are proven.
#[derive(Debug)]
struct Unfinished {
    file: File,
    path: PathBuf,
    target: PathBuf,
    replace: bool,
}

impl Sink {
    /// Writes to standard output, which cannot be taken back.
    pub(super) fn stdout() -> Self {
        Self { hasher: blake3::Hasher::new(), len: 0, place: Place::Stdout }
    }

    /// Writes beside `target`. What an earlier download of the same content left there is taken up.
    pub(super) fn file(target: &Path, id: &AssetId, replace: bool) -> anyhow::Result<Self> {
        let path = unfinished_path(target, id);
        let shown = || format!("cannot write {}", path.display());
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.with_context(shown)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let sentence = format!("another download is writing {}", path.display());
                return Err(Fault::new(Exit::Conflict, sentence).into());
            }
            Err(TryLockError::Error(error)) => return Err(anyhow::Error::new(error).context(shown())),
        }
        let (hasher, len) = hash_all(&mut file).with_context(shown)?;
        let unfinished = Unfinished { file, path, target: target.to_owned(), replace };
        Ok(Self { hasher, len, place: Place::File(unfinished) })
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The hash of all of them.
    pub(super) fn hash(&self) -> AssetId {
        self.hasher.finalize().into()
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.place {
            Place::Stdout => stdout(io::stdout().lock().write_all(bytes))?,
            Place::File(part) => {
                part.file
                    .write_all(bytes)
                    .with_context(|| format!("cannot write {}", part.path.display()))?;
            }
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what an earlier download left.
    pub(super) fn restart(&mut self) -> anyhow::Result<()> {
        if let Place::File(part) = &mut self.place {
            part.file
                .set_len(0)
                .and_then(|()| io::Seek::rewind(&mut part.file))
                .context("cannot begin anew")?;
        }
        self.hasher.reset();
        self.len = 0;
        Ok(())
    }

    /// Removes what came, because it is not what was asked for.
    pub(super) fn discard(self) {
        if let Place::File(part) = self.place {
            // If it cannot be removed it still does not have the final name, and the next download finds it wrong again.
            let _ = std::fs::remove_file(part.path);
        }
    }

    /// Gives the proven bytes their final name, once they are on disk.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let part = match self.place {
            Place::Stdout => return stdout(io::stdout().lock().flush()),
            Place::File(part) => part,
        };
        let shown = || format!("cannot write {}", part.target.display());
        part.file.sync_all().with_context(shown)?;
        if !part.replace && part.target.symlink_metadata().is_ok() {
            let sentence = format!(
                "{} appeared meanwhile: --force replaces it; the bytes are complete in {}",
                part.target.display(),
                part.path.display()
            );
            return Err(Fault::new(Exit::Conflict, sentence).into());
        }
        std::fs::rename(&part.path, &part.target).with_context(shown)
    }
}

/// The name of the unfinished file tells the content, so that no other content is ever taken up.
fn unfinished_path(target: &Path, id: &AssetId) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", &id.to_string()[..16]));
    target.with_file_name(name)
}

/// Reads a file to its end and leaves it there.
fn hash_all(file: &mut File) -> io::Result<(blake3::Hasher, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut len = 0;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((hasher, len));
        }
        hasher.update(&piece[..read]);
        len += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code_of;

    #[test]
    fn a_second_sink_goes_on_where_the_first_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        let id = AssetId::of(b"hello world");
        let mut first = Sink::file(&target, &id, false).unwrap();
        first.write(b"hello ").unwrap();
        drop(first);
        let mut second = Sink::file(&target, &id, false).unwrap();
        assert_eq!(second.len(), 6);
        second.write(b"world").unwrap();
        assert_eq!(second.hash(), id);
        second.keep().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"hello world");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_content_is_not_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        Sink::file(&target, &AssetId::of(b"one"), false).unwrap().write(b"on").unwrap();
        assert_eq!(Sink::file(&target, &AssetId::of(b"two"), false).unwrap().len(), 0);
    }

    #[test]
    fn two_downloads_do_not_write_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        let id = AssetId::of(b"x");
        let first = Sink::file(&target, &id, false).unwrap();
        let error = Sink::file(&target, &id, false).unwrap_err();
        assert_eq!(code_of(&error), Some(Exit::Conflict));
        drop(first);
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_replaced_without_force() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        let id = AssetId::of(b"x");
        let mut sink = Sink::file(&target, &id, false).unwrap();
        sink.write(b"x").unwrap();
        std::fs::write(&target, b"mine").unwrap();
        assert_eq!(code_of(&sink.keep().unwrap_err()), Some(Exit::Conflict));
        assert_eq!(std::fs::read(&target).unwrap(), b"mine");
        Sink::file(&target, &id, true).unwrap().keep().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"x");
    }
}
