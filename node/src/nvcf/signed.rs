//! What is signed into an upload URL. It has exactly one spelling, so whatever was altered is refused: another spelling
//! of the same values is no valid one.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::row::{AccountTag, Key, Row};

/// Bytes of a ticket as text: 32 + 36 + 64 hex digits, a time, and what stands between them.
const TEXT_BYTES_MAX: usize = 200;

/// A right to upload the content of one asset, once, until a moment: the end of an upload URL,
/// `<account>/<asset>?expires=<seconds>&signature=<hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    account: AccountTag,
    id: Uuid,
    expires_s: u64,
    signature: [u8; 32],
}

/// A text that is no ticket in its one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an upload URL of this node")]
pub struct NotATicket;

impl Ticket {
    /// Signs the right to upload the content of an asset.
    pub(super) fn sign(secret: &[u8; 32], key: &Key, row: &Row) -> Self {
        let expires_s = row.created.shown.saturating_add(row.upload_for) / 1000;
        let signature = *signature(secret, (key, expires_s), row).as_bytes();
        Self { account: key.account(), id: key.id(), expires_s, signature }
    }

    /// The asset that it is for.
    pub(super) fn key(&self) -> Key {
        Key::new(self.account, self.id)
    }

    /// Whether this node signed it for this asset, compared in constant time.
    pub(super) fn is_of(&self, secret: &[u8; 32], row: &Row) -> bool {
        let expected = signature(secret, (&self.key(), self.expires_s), row);
        // `blake3::Hash` compares in constant time.
        expected == blake3::Hash::from_bytes(self.signature)
    }
}

/// Over everything that the upload may be: nothing of it can be exchanged. Each text stands behind its length.
fn signature(secret: &[u8; 32], (key, expires_s): (&Key, u64), row: &Row) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(b"PUT\0").update(&key.0);
    hasher.update(&expires_s.to_le_bytes()).update(&row.bytes_max.to_le_bytes());
    for text in [&row.account, &row.content_type, &row.description] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize()
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = u128::from_be_bytes(self.account.0);
        let signature = blake3::Hash::from_bytes(self.signature).to_hex();
        let Self { id, expires_s, .. } = self;
        write!(f, "{account:032x}/{}?expires={expires_s}&signature={signature}", id.as_hyphenated())
    }
}

impl FromStr for Ticket {
    type Err = NotATicket;

    /// Accepts exactly the printed form.
    fn from_str(text: &str) -> Result<Self, NotATicket> {
        let parsed = Some(text).filter(|text| text.len() <= TEXT_BYTES_MAX).and_then(parse);
        // Whatever the parts would also accept, such as capitals or a sign, prints differently.
        parsed.filter(|ticket| ticket.to_string() == text).ok_or(NotATicket)
    }
}

fn parse(text: &str) -> Option<Ticket> {
    let (account, rest) = text.split_once('/')?;
    let (id, rest) = rest.split_once("?expires=")?;
    let (expires, signature) = rest.split_once("&signature=")?;
    Some(Ticket {
        account: AccountTag(u128::from_str_radix(account, 16).ok()?.to_be_bytes()),
        id: Uuid::try_parse(id).ok()?,
        expires_s: expires.parse().ok()?,
        signature: *blake3::Hash::from_hex(signature).ok()?.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvcf::row::tests::sample;

    const SECRET: [u8; 32] = [5; 32];

    fn key() -> Key {
        Key::new(AccountTag::of("acme"), Uuid::from_u128(7))
    }

    fn ticket() -> Ticket {
        Ticket::sign(&SECRET, &key(), &sample("acme"))
    }

    #[test]
    fn a_ticket_reads_back_in_its_one_spelling() {
        let text = ticket().to_string();
        assert_eq!(text.parse(), Ok(ticket()));
        assert!(ticket().is_of(&SECRET, &sample("acme")));
        assert!(text.len() <= TEXT_BYTES_MAX);
        let (path, query) = text.split_once('?').unwrap();
        let (expires, signature) = query.split_once('&').unwrap();
        for other in [
            text.to_uppercase(),
            format!("{text}&"),
            format!("{text}&x=1"),
            format!("{text}#"),
            format!("{path}?{signature}&{expires}"),
            format!("{path}?{expires}&{expires}&{signature}"),
            format!("{path}?{expires}"),
            format!("{path}?{signature}"),
            path.to_owned(),
            text.replace("expires=", "expires=0"),
            text.replace("expires=", "expires=%2B"),
            text.replace("expires=", "expires=+"),
            text.replace('-', ""),
            text.replacen('/', "//", 1),
            text.replacen('/', "%2F", 1),
            format!("0{text}"),
            format!("+{}", &text[1..]),
            format!(" {text}"),
            String::new(),
            "/?expires=&signature=".to_owned(),
        ] {
            assert_eq!(other.parse::<Ticket>(), Err(NotATicket), "{other}");
        }
    }

    #[test]
    fn every_part_is_signed() {
        let good = ticket();
        let rows = [
            Row { account: "acme2".to_owned(), ..sample("acme") },
            Row { content_type: "image/jpeg".to_owned(), ..sample("acme") },
            Row { description: "red-cat-photo ".to_owned(), ..sample("acme") },
            Row { bytes_max: 5_001, ..sample("acme") },
        ];
        for row in rows {
            assert!(!good.is_of(&SECRET, &row), "{row:?}");
        }
        // A letter may not move from one text to the next.
        let moved = Row {
            content_type: "image/pngr".to_owned(),
            description: "ed-cat-photo".to_owned(),
            ..sample("acme")
        };
        assert!(!good.is_of(&SECRET, &moved));
        assert!(!good.is_of(&[6; 32], &sample("acme")), "another node's");
        let others = [
            Ticket { id: Uuid::from_u128(8), ..good },
            Ticket { account: AccountTag::of("acme2"), ..good },
            Ticket { expires_s: good.expires_s + 1, ..good },
        ];
        for other in others {
            assert!(!other.is_of(&SECRET, &sample("acme")), "{other}");
        }
        for bit in 0..256 {
            let mut bad = good;
            bad.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(!bad.is_of(&SECRET, &sample("acme")), "bit {bit}");
        }
    }

    #[test]
    fn the_spelling_never_changes() {
        let golden = "/00000000-0000-0000-0000-000000000007?expires=1001&signature=";
        assert!(ticket().to_string().contains(golden), "{}", ticket());
    }
}
