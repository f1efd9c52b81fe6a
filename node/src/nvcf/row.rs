//! One input asset as it is stored, its key, and when it is gone. Pure.

use assetmesh_protocol::codec;
use assetmesh_protocol::ids::AssetId;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::InputAsset;
use super::clock::Times;

const CHECKSUM_BYTES: usize = 8;

/// Where an asset lies: a hash of its account, then its id. All hashes are of one length, so no account's keys stand
/// among another's, whatever the accounts are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(pub(super) [u8; 32]);

impl Key {
    pub(super) fn new(account: AccountTag, id: Uuid) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&account.0);
        key[16..].copy_from_slice(id.as_bytes());
        Self(key)
    }

    pub(super) fn account(&self) -> AccountTag {
        let mut tag = [0; 16];
        tag.copy_from_slice(&self.0[..16]);
        AccountTag(tag)
    }

    pub(super) fn id(&self) -> Uuid {
        Uuid::from_slice(&self.0[16..]).unwrap_or_default()
    }

    /// Seeds checksums, so that a row under another key is a damaged one.
    fn seed(&self) -> u64 {
        xxh3_64_with_seed(&self.0, 0)
    }
}

/// Stands for an account in keys and upload URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AccountTag(pub(super) [u8; 16]);

impl AccountTag {
    pub(super) fn of(account: &str) -> Self {
        let hash = blake3::derive_key("assetmesh 2026 account of input assets", account.as_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash[..16]);
        Self(tag)
    }
}

/// Content that an asset has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) blob: AssetId,
    pub(super) size: u64,
}

/// A stored asset. What it was promised at its creation stands in it, whatever the settings say later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) account: String,
    pub(super) content_type: String,
    pub(super) description: String,
    /// When it was created, by both clocks; see [`Times`].
    pub(super) created: Times,
    /// How long its upload URL and the asset itself live from then on, in milliseconds.
    pub(super) upload_for: u64,
    pub(super) live_for: u64,
    /// What may be uploaded, in bytes.
    pub(super) bytes_max: u64,
    /// Nothing until it is uploaded.
    pub(super) content: Option<Content>,
}

/// Stored bytes that are no whole row of their key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DamagedRow;

type Stored = (String, String, String, (u64, u64), (u64, u64, u64), Option<([u8; 32], u64)>);

impl Row {
    /// Whether nobody may see it any more. Either clock is enough, so that one that was set wrong at its creation, and
    /// right since, does not keep it for years.
    pub(super) fn is_gone(&self, now: Times) -> bool {
        self.is_over(self.live_for, now)
    }

    /// Whether no upload may begin any more.
    pub(super) fn is_closed(&self, now: Times) -> bool {
        self.is_over(self.upload_for, now) || self.is_gone(now)
    }

    fn is_over(&self, time: u64, now: Times) -> bool {
        now.shown >= self.created.shown.saturating_add(time)
            || now.sure >= self.born(now).saturating_add(time)
    }

    /// When it was created, in certain time. Once that has come to what the wall clock said then, the wall clock was
    /// right, and it is certain time that was behind.
    fn born(&self, now: Times) -> u64 {
        if now.sure >= self.created.shown { self.created.shown } else { self.created.sure }
    }

    /// The row with what is known now of its creation: its end may be later than was noted.
    pub(super) fn settled(mut self, now: Times) -> Self {
        self.created.sure = self.born(now);
        self
    }

    /// When it is destroyed, in certain time. One that is not uploaded stays once again as long as its URL was good, so
    /// that an upload that began in time can end.
    pub(super) fn due(&self) -> u64 {
        self.due_from(self.created.sure)
    }

    /// Whether it is to be destroyed now.
    pub(super) fn is_due(&self, now: Times) -> bool {
        now.sure >= self.due_from(self.born(now))
    }

    fn due_from(&self, born: u64) -> u64 {
        let time = match self.content {
            Some(_) => self.live_for,
            None => self.upload_for.saturating_mul(2).min(self.live_for),
        };
        born.saturating_add(time)
    }

    /// The asset as its owner sees it.
    pub(super) fn asset(self, id: Uuid) -> InputAsset {
        InputAsset {
            id,
            account: self.account,
            content_type: self.content_type,
            description: self.description,
            created_ms: self.created.shown,
            content: self.content.map(|content| (content.blob, content.size)),
        }
    }

    /// Its stored bytes; `None` if it is too long, which no checked one is.
    pub(super) fn encode(&self, key: &Key) -> Option<Vec<u8>> {
        let stored: Stored = (
            self.account.clone(),
            self.content_type.clone(),
            self.description.clone(),
            (self.created.shown, self.created.sure),
            (self.upload_for, self.live_for, self.bytes_max),
            self.content.map(|content| (*content.blob.as_bytes(), content.size)),
        );
        Some(sealed(key.seed(), &codec::encode(&stored).ok()?))
    }

    /// Checks and reads stored bytes.
    pub(super) fn decode(key: &Key, bytes: &[u8]) -> Result<Self, DamagedRow> {
        let frame = opened(key.seed(), bytes).ok_or(DamagedRow)?;
        let stored: Stored = codec::decode(frame).map_err(|_| DamagedRow)?;
        let (account, content_type, description, (shown, sure), (upload_for, live_for, bytes_max), content) =
            stored;
        if AccountTag::of(&account) != key.account() {
            return Err(DamagedRow);
        }
        let content = content.map(|(blob, size)| Content { blob: AssetId::from_bytes(blob), size });
        let created = Times { shown, sure };
        Ok(Self { account, content_type, description, created, upload_for, live_for, bytes_max, content })
    }
}

/// Puts a checksum before stored bytes.
pub(super) fn sealed(seed: u64, content: &[u8]) -> Vec<u8> {
    [&xxh3_64_with_seed(content, seed).to_le_bytes(), content].concat()
}

/// What stands behind a checksum, if it fits.
pub(super) fn opened(seed: u64, bytes: &[u8]) -> Option<&[u8]> {
    let (checksum, content) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
    (u64::from_le_bytes(*checksum) == xxh3_64_with_seed(content, seed)).then_some(content)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sample(account: &str) -> Row {
        Row {
            account: account.to_owned(),
            content_type: "image/png".to_owned(),
            description: "red-cat-photo".to_owned(),
            created: Times { shown: 1_000_000, sure: 1_000_000 },
            upload_for: 1_000,
            live_for: 24_000,
            bytes_max: 5_000,
            content: None,
        }
    }

    fn key(account: &str, id: u128) -> Key {
        Key::new(AccountTag::of(account), Uuid::from_u128(id))
    }

    fn with_content() -> Row {
        Row { content: Some(Content { blob: AssetId::of(b"x"), size: 1 }), ..sample("acme") }
    }

    #[test]
    fn golden_bytes_of_a_row() {
        let hex: String =
            with_content().encode(&key("acme", 7)).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex.len(), 2 * (8 + 1 + 12 + 17 + 21 + 16 + 24 + 1 + 32 + 8));
        assert!(hex[16..].starts_with("01040000000000000061636d65"), "{hex}");
    }

    #[test]
    fn a_row_reads_back_under_its_own_key_only() {
        for row in [sample("acme"), with_content()] {
            let bytes = row.encode(&key("acme", 7)).unwrap();
            assert_eq!(Row::decode(&key("acme", 7), &bytes), Ok(row));
            assert_eq!(Row::decode(&key("acme", 8), &bytes), Err(DamagedRow));
            assert_eq!(Row::decode(&key("acme2", 7), &bytes), Err(DamagedRow));
        }
        let foreign = sample("acme2").encode(&key("acme", 7)).unwrap();
        assert_eq!(Row::decode(&key("acme", 7), &foreign), Err(DamagedRow), "another account's row");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = with_content().encode(&key("acme", 7)).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Row::decode(&key("acme", 7), &bad), Err(DamagedRow), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|cut| Row::decode(&key("acme", 7), &bytes[..cut]).is_err()));
    }

    #[test]
    fn a_key_gives_back_its_parts_and_no_account_is_the_start_of_another() {
        let accounts = ["acme", "acme2", "acm", "", "acme/", "acme\0"];
        for account in accounts {
            assert_eq!(key(account, 7).account(), AccountTag::of(account));
            assert_eq!(key(account, 7).id(), Uuid::from_u128(7));
        }
        let tags: std::collections::BTreeSet<_> = accounts.iter().map(|name| AccountTag::of(name)).collect();
        assert_eq!(tags.len(), accounts.len());
    }

    #[test]
    fn an_asset_is_gone_on_the_millisecond_by_either_clock() {
        let row = sample("acme");
        let at = |shown: u64, sure: u64| Times { shown: 1_000_000 + shown, sure: 1_000_000 + sure };
        assert!(!row.is_closed(at(999, 999)) && row.is_closed(at(1_000, 0)) && row.is_closed(at(0, 1_000)));
        assert!(!row.is_gone(at(23_999, 23_999)));
        assert!(row.is_gone(at(24_000, 0)) && row.is_gone(at(0, 24_000)));
        assert_eq!(row.due(), 1_002_000);
        assert_eq!(with_content().due(), 1_024_000);
    }

    #[test]
    fn one_that_was_made_ahead_of_certain_time_lives_whole_once_that_has_caught_up() {
        const YEAR: u64 = 31_536_000_000;
        let row = Row { created: Times { shown: YEAR, sure: 1_000_000 }, ..with_content() };
        let at = |shown: u64, sure: u64| Times { shown, sure };
        assert!(!row.is_gone(at(YEAR + 3_000, 1_003_000)), "both hands go on");
        assert!(!row.is_gone(at(YEAR + 4_000, YEAR + 4_000)), "the leap is believed");
        assert_eq!(row.clone().settled(at(YEAR + 4_000, YEAR + 4_000)).due(), YEAR + 24_000);
        assert!(row.is_gone(at(YEAR + 24_000, YEAR + 24_000)));
        // It was no leap: the wall clock was wrong, and is right again.
        assert!(row.is_gone(at(1_024_000, 1_024_000)));
        assert_eq!(row.clone().settled(at(1_024_000, 1_024_000)), row);
    }
}
