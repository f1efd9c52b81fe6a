//! The records of issued and refused tokens: one small file each in `DATA_DIR/tokens`, which the command line writes and
//! a running node reads at each check. No secret stands in them.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use assetmesh_protocol::network::NetworkName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Error;
use super::key::{Key, KeyHash};

const FOLDER: &str = "tokens";
/// Which federation the node belongs to, for who issues tokens beside it.
const NETWORK_FILE: &str = "network";
/// A record has some hundred bytes; 64 scopes of 256 bytes fit.
const RECORD_BYTES_MAX: u64 = 32 * 1024;
/// Records of another form are left alone.
const FORMAT: u32 = 1;

/// What kind of token a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A JSON Web Token that this node issued.
    Jwt,
    /// An opaque key of this node.
    Opaque,
    /// A token of another issuer that is refused here.
    Foreign,
}

/// What is kept of a token. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// Names the token: a UUID, or for a foreign one its `jti`.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// Who issued it, if that was not this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// On whose behalf it asks; empty for a foreign one.
    pub account: String,
    /// What it grants.
    pub scopes: BTreeSet<String>,
    /// When it was made, or first refused.
    pub created: u64,
    /// From when on it is no longer valid.
    pub expires: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_hash: Option<String>,
}

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} is not the record of a token, or of another version", .0.display())]
    Damaged(PathBuf),
}

impl Record {
    /// A record of a token that this node issues.
    pub(super) fn own(id: Uuid, kind: Kind, account: &str, scopes: &BTreeSet<String>) -> Self {
        Self {
            format: FORMAT,
            id: id.to_string(),
            kind,
            issuer: None,
            account: account.to_owned(),
            scopes: scopes.clone(),
            created: 0,
            expires: None,
            revoked: None,
            key_hash: None,
        }
    }

    /// A record that refuses a token of another issuer.
    pub(super) fn foreign(issuer: &str, id: &str) -> Self {
        let none = Self::own(Uuid::nil(), Kind::Foreign, "", &BTreeSet::new());
        Self { id: id.to_owned(), issuer: Some(issuer.to_owned()), ..none }
    }

    /// Says of which key it is.
    pub(super) fn of_key(mut self, key: &Key) -> Self {
        self.key_hash = Some(key.hash().to_hex().to_string());
        self
    }

    /// Whether it is the record of this key; takes the same time for every key.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        let kept = self.key_hash.as_ref().and_then(|hex| KeyHash::from_hex(hex).ok());
        self.kind == Kind::Opaque && kept.is_some_and(|kept| kept == key.hash())
    }

    /// Whether the token it is of may be used now.
    pub(super) fn valid_at(&self, now: Duration) -> Result<(), Error> {
        if self.revoked.is_some() {
            return Err(Error::Revoked);
        }
        let is_over = self.expires.is_some_and(|expires| now >= Duration::from_secs(expires));
        if is_over { Err(Error::Expired) } else { Ok(()) }
    }

    fn file_name(&self) -> String {
        match &self.issuer {
            None => own_name(&self.id),
            Some(issuer) => foreign_name(issuer, &self.id),
        }
    }
}

/// The folder of the records.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// The folder within a data directory; nothing is touched yet.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER) }
    }

    /// The record of a token of this node.
    pub(super) fn own(&self, id: Uuid) -> Result<Option<Record>, ShelfError> {
        self.read(&own_name(&id.to_string()))
    }

    /// The record that refuses a token of another issuer.
    pub(super) fn foreign(&self, issuer: &str, id: &str) -> Result<Option<Record>, ShelfError> {
        self.read(&foreign_name(issuer, id))
    }

    /// Every record that can be read, oldest first, and the files that cannot.
    pub(super) fn all(&self) -> Result<(Vec<Record>, Vec<ShelfError>), ShelfError> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((records, damaged)),
            entries => entries.map_err(|source| self.io("", source))?,
        };
        for entry in entries {
            let name = entry.map_err(|source| self.io("", source))?.file_name();
            let Some(name) = name.to_str().filter(|name| is_record(name)) else { continue };
            match self.read(name) {
                Ok(record) => records.extend(record),
                Err(error) => damaged.push(error),
            }
        }
        records.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok((records, damaged))
    }

    /// Keeps a record, in place of the one before. It is on disk when this returns.
    pub(super) fn keep(&self, record: &Record) -> Result<(), ShelfError> {
        let text = serde_json::to_vec(record).expect("a record is plain JSON");
        self.write(&record.file_name(), &text)
    }

    /// Forgets a record.
    pub(super) fn forget(&self, record: &Record) -> Result<(), ShelfError> {
        let name = record.file_name();
        match fs::remove_file(self.folder.join(&name)) {
            // Another one tidied up at the same time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| self.io(&name, source)),
        }
    }

    /// Tells those who issue tokens beside the node which federation it belongs to.
    pub(super) fn remember_network(&self, network: &NetworkName) -> Result<(), ShelfError> {
        if self.network()?.as_ref() == Some(network) {
            return Ok(());
        }
        self.write(NETWORK_FILE, network.as_str().as_bytes())
    }

    /// The federation that the node of this data directory last belonged to.
    pub(super) fn network(&self) -> Result<Option<NetworkName>, ShelfError> {
        let Some(bytes) = self.bytes(NETWORK_FILE)? else { return Ok(None) };
        let name = String::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        name.map(Some).ok_or_else(|| ShelfError::Damaged(self.folder.join(NETWORK_FILE)))
    }

    fn read(&self, name: &str) -> Result<Option<Record>, ShelfError> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        let record = serde_json::from_slice(&bytes).ok().filter(|record: &Record| record.format == FORMAT);
        let named = record.filter(|record| record.file_name() == name);
        named.map(Some).ok_or_else(|| ShelfError::Damaged(self.folder.join(name)))
    }

    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, ShelfError> {
        let file = match File::open(self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|source| self.io(name, source))?,
        };
        let mut bytes = Vec::new();
        file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes).map_err(|source| self.io(name, source))?;
        Ok(Some(bytes))
    }

    /// Writes under another name first, so that a reader sees the old file or the new one and a crash leaves no half.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ShelfError> {
        let io = |source| self.io(name, source);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(io)?;
        let draft = self.folder.join(format!(".{}.new", Uuid::new_v4()));
        let written =
            self.write_draft(&draft, bytes).and_then(|()| fs::rename(&draft, self.folder.join(name)));
        if let Err(error) = written {
            // Nobody reads drafts; one that stays does no harm.
            fs::remove_file(&draft).ok();
            return Err(io(error));
        }
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io)
    }

    /// The file belongs to whom the data directory belongs to: an administrator's token must be readable by the node.
    fn write_draft(&self, draft: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        file.write_all(bytes)?;
        let owner = fs::metadata(self.folder.parent().unwrap_or(&self.folder))?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
            fchown(File::open(&self.folder)?, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.sync_all()
    }

    fn io(&self, name: &str, source: io::Error) -> ShelfError {
        ShelfError::Io { path: self.folder.join(name), source }
    }
}

fn own_name(id: &str) -> String {
    format!("{id}.json")
}

/// What another issuer calls its tokens and itself may be anything, and never becomes a path.
fn foreign_name(issuer: &str, id: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("assetmesh 2026 file of a foreign token");
    hasher.update(&(issuer.len() as u64).to_le_bytes()).update(issuer.as_bytes()).update(id.as_bytes());
    format!("foreign-{}.json", hasher.finalize().to_hex())
}

fn is_record(name: &str) -> bool {
    name.ends_with(".json") && !name.starts_with('.')
}
