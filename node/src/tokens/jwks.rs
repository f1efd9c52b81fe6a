//! The public keys of an issuer outside of the federation: a JSON Web Key Set (RFC 7517) in a file, read again when it
//! changes. Each key has one algorithm, and none is secret. Keys of kinds that are not used here are passed over.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::json;
use super::jwt::VerifyKey;
use crate::clock;

/// Larger than any issuer's set.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// More than any issuer has in use at once.
const KEYS_MAX: usize = 256;
/// An RSA key below 2048 bits is too weak (RFC 7518, 3.3), and above 8192 too slow to check.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// A file that was changed less than this before it was read may change again without looking different.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("the keys of an issuer, {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else, or a key that cannot be used.
    #[error("the keys of an issuer, {}: {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

type Keys = BTreeMap<String, VerifyKey>;

/// The keys in a file, as they are now.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    known: RwLock<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    /// `None`: look again.
    seen: Option<Look>,
    keys: Arc<Keys>,
    /// What was passed over, and why.
    ignored: Arc<[String]>,
}

impl Known {
    /// Tells once what was passed over.
    fn warn(&self, path: &Path, before: &[String]) {
        if !self.ignored.is_empty() && *self.ignored != *before {
            let (file, ignored) = (path.display(), self.ignored.join("; "));
            tracing::warn!(%file, %ignored, "keys of an issuer are passed over");
        }
    }
}

/// By what a changed file is told from the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: (i64, i64),
    size: u64,
    file: (u64, u64),
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
            file: (metadata.dev(), metadata.ino()),
        }
    }
}

impl KeyFile {
    /// Reads a file for the first time.
    pub(super) fn open(path: &Path) -> Result<Self, JwksError> {
        let known = read(path)?;
        known.warn(path, &[]);
        Ok(Self { path: path.to_owned(), known: RwLock::new(known) })
    }

    /// The key of this id.
    pub(super) fn find(&self, key_id: &str) -> Option<VerifyKey> {
        self.current().get(key_id).cloned()
    }

    /// The keys of the file. If it was made unfit, those before hold on: an editor's slip shall lock nobody out.
    fn current(&self) -> Arc<Keys> {
        let now = std::fs::metadata(&self.path).ok().map(|metadata| Look::of(&metadata));
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.seen.is_some() && known.seen == now {
            return known.keys;
        }
        let fresh = match read(&self.path) {
            Ok(fresh) => {
                fresh.warn(&self.path, &known.ignored);
                fresh
            }
            Err(error) => {
                if known.seen != now {
                    tracing::error!(%error, "the keys that were read before are still used");
                }
                Known { seen: now, ..known }
            }
        };
        let keys = Arc::clone(&fresh.keys);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        keys
    }
}

fn read(path: &Path) -> Result<Known, JwksError> {
    let io = |source| JwksError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(io)?;
    let (keys, ignored) =
        parse(&text).map_err(|reason| JwksError::Unfit { path: path.to_owned(), reason })?;
    let age = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let is_settled = age.is_some_and(|modified| modified + SETTLED_AFTER < clock::now());
    Ok(Known { seen: is_settled.then(|| Look::of(&metadata)), keys: Arc::new(keys), ignored: ignored.into() })
}

/// The keys that can sign tokens here, and what was passed over.
fn parse(text: &[u8]) -> Result<(Keys, Vec<String>), String> {
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    }
    let set = json::object(text).ok_or("it is not a JSON object without duplicate members")?;
    let list = set.get("keys").and_then(Value::as_array).ok_or("it has no list `keys`")?;
    if list.len() > KEYS_MAX {
        return Err(format!("it has more than {KEYS_MAX} keys"));
    }
    let (mut keys, mut ignored) = (Keys::new(), Vec::new());
    for (at, key) in list.iter().enumerate() {
        let key = key.as_object().ok_or_else(|| format!("key {} is no object", at + 1))?;
        let name =
            text_of(key, "kid").map_or_else(|| format!("key {}", at + 1), |id| format!("the key {id:?}"));
        match entry(key).map_err(|reason| format!("{name} {reason}"))? {
            Entry::Key(id, verify) => {
                if keys.insert(id, verify).is_some() {
                    return Err(format!("{name} stands there twice"));
                }
            }
            Entry::Ignored(reason) => ignored.push(format!("{name} {reason}")),
            Entry::Sealing => {}
        }
    }
    if keys.is_empty() {
        return Err(format!("it holds no key for signatures that can be used here: {}", ignored.join("; ")));
    }
    Ok((keys, ignored))
}

/// What stands in a set.
enum Entry {
    /// A key for signatures, and its id.
    Key(String, VerifyKey),
    /// Nothing that is used here, and why (RFC 7517, 5: what is not understood is to be ignored).
    Ignored(&'static str),
    /// A key for encryption.
    Sealing,
}

/// The one algorithm of a key follows from its kind; `alg` may say the same and nothing else. A key of a kind that is
/// used here must be as it should be.
fn entry(key: &Map<String, Value>) -> Result<Entry, &'static str> {
    if key.contains_key("d") || key.contains_key("k") {
        return Err("is secret: only public keys belong here");
    }
    let member = |name: &str, wrong| key.get(name).map(|value| value.as_str().ok_or(wrong)).transpose();
    match member("use", "has a `use` that is no text")? {
        None | Some("sig") => {}
        Some("enc") => return Ok(Entry::Sealing),
        Some(_) => return Ok(Entry::Ignored("is not for signatures")),
    }
    let (name, algorithm) = match (text_of(key, "kty"), text_of(key, "crv")) {
        (Some("OKP"), Some("Ed25519")) => ("EdDSA", Algorithm::EdDSA),
        (Some("EC"), Some("P-256")) => ("ES256", Algorithm::ES256),
        (Some("RSA"), None) => ("RS256", Algorithm::RS256),
        _ => return Ok(Entry::Ignored("is of a kind that is not used: Ed25519, P-256 and RSA are")),
    };
    match member("alg", "names an algorithm that is no text")? {
        Some(told) if told == name => {}
        None => {}
        Some("EdDSA" | "ES256" | "RS256") => return Err("names an algorithm that is not that of its kind"),
        Some(_) => return Ok(Entry::Ignored("names another algorithm than EdDSA, ES256 or RS256")),
    }
    let public = match algorithm {
        Algorithm::EdDSA => ed25519(key)?,
        Algorithm::ES256 => p256(key)?,
        _ => rsa(key)?,
    };
    match member("kid", "has a `kid` that is no text")? {
        Some(id) => Ok(Entry::Key(id.to_owned(), VerifyKey { key: public, algorithm })),
        None => Ok(Entry::Ignored("has no `kid`")),
    }
}

fn ed25519(key: &Map<String, Value>) -> Result<DecodingKey, &'static str> {
    let x = bytes(key, "x").filter(|x| x.len() == 32).ok_or("has no x of 32 bytes")?;
    Ok(DecodingKey::from_ed_der(&x))
}

fn p256(key: &Map<String, Value>) -> Result<DecodingKey, &'static str> {
    let number =
        |name| bytes(key, name).filter(|number| number.len() == 32).ok_or("has no x and y of 32 bytes");
    let point = [vec![0x04], number("x")?, number("y")?].concat();
    Ok(DecodingKey::from_ec_der(&point))
}

fn rsa(key: &Map<String, Value>) -> Result<DecodingKey, &'static str> {
    let modulus = bytes(key, "n").ok_or("has no n")?;
    let exponent =
        bytes(key, "e").filter(|e| (1..=8).contains(&e.len())).ok_or("has no e of at most 8 bytes")?;
    let is_strong = RSA_BYTES.contains(&modulus.len()) && modulus[0] != 0;
    if !is_strong {
        return Err("has no n of 2048 to 8192 bits");
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn text_of<'a>(key: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    key.get(name)?.as_str()
}

fn bytes(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text_of(key, name)?).ok()
}
