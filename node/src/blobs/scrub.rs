//! Reads and checks everything that is stored, and names what is not as it was written.

use std::collections::HashSet;
use std::sync::Arc;

use assetmesh_protocol::ids::AssetId;

use super::backend::{BlobNumber, Place};
use super::read::{Blob, Reader};
use super::shared::Shared;
use super::{Error, Stats};

/// Blobs listed at once.
const BATCH: usize = 256;

/// One thing that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The blob, if it is one.
    pub id: Option<AssetId>,
    /// The first byte of the blob that cannot be trusted.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What a check went over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs.
    pub blobs: u64,
    /// Bytes of content that are sound.
    pub bytes: u64,
    /// Damages found.
    pub damages: u64,
}

/// Checks all. Blocking.
pub(super) fn verify(shared: &Arc<Shared>, mut sink: impl FnMut(Damage)) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    let mut report = |damage: Damage, verified: &mut Verified| {
        verified.damages += 1;
        sink(damage);
    };
    let before = shared.backend.stats();
    let mut sum = Stats::default();
    let mut numbers: HashSet<BlobNumber> = HashSet::new();
    match shared.backend.cached() {
        Ok(kept) => numbers.extend(kept.into_iter().map(|(_, entry)| entry.number)),
        Err(Error::Corrupt(what)) => report(Damage::of_the_store(&what), &mut verified),
        Err(other) => return Err(other),
    }
    let mut after = None;
    loop {
        let list = match shared.backend.list(after.as_ref(), BATCH) {
            Ok(list) => list,
            Err(Error::Corrupt(what)) => {
                report(Damage::of_the_store(&what), &mut verified);
                break;
            }
            Err(other) => return Err(other),
        };
        let Some((last, _)) = list.last() else { break };
        after = Some(*last);
        for (id, found) in list {
            sum.blobs += 1;
            sum.bytes += found.size;
            if let Place::Large(number) = found.place {
                numbers.insert(number);
            }
            match check(shared, id, &mut verified) {
                Ok(()) => {}
                Err(Error::Damaged { id, offset }) => {
                    let what = "the stored bytes do not match the hash".to_owned();
                    report(Damage { id: Some(id), offset: Some(offset), what }, &mut verified);
                }
                Err(Error::Corrupt(what)) => {
                    report(Damage { id: Some(id), ..Damage::of_the_store(&what) }, &mut verified);
                }
                Err(other) => return Err(other),
            }
        }
    }
    for what in loose_ends(shared, &numbers, (before, sum))? {
        report(Damage { id: None, offset: None, what }, &mut verified);
    }
    Ok(verified)
}

impl Damage {
    fn of_the_store(what: &str) -> Self {
        Self { id: None, offset: None, what: what.to_owned() }
    }
}

/// Reads one blob whole. One that was removed meanwhile is no damage.
pub(super) fn check(shared: &Arc<Shared>, id: AssetId, verified: &mut Verified) -> Result<(), Error> {
    let Some(blob) = Blob::open(shared, id)? else { return Ok(()) };
    let size = blob.size();
    if size == 0 && id != AssetId::of(b"") {
        return Err(Error::Damaged { id, offset: 0 });
    }
    let mut reader = Reader::new(blob, 0..size);
    while let Some(bytes) = reader.next() {
        verified.bytes += bytes?.len() as u64;
    }
    verified.blobs += 1;
    Ok(())
}

/// Chunks that belong to nothing, and totals that are off. Only a store at rest can be judged.
fn loose_ends(
    shared: &Shared,
    numbers: &HashSet<BlobNumber>,
    (before, sum): (Result<Stats, Error>, Stats),
) -> Result<Vec<String>, Error> {
    let mut ends = Vec::new();
    let walked = strays(shared, numbers);
    let after = shared.backend.stats();
    match (before, after) {
        (Ok(before), Ok(after)) if before != after => {}
        (Ok(before), Ok(_)) if before == sum => {}
        (Ok(before), Ok(_)) => ends.push(format!(
            "the totals say {} blobs and {} bytes, but there are {} and {}",
            before.blobs, before.bytes, sum.blobs, sum.bytes
        )),
        (Err(Error::Corrupt(what)), _) | (_, Err(Error::Corrupt(what))) => ends.push(what.to_string()),
        (Err(other), _) | (_, Err(other)) => return Err(other),
    }
    match walked {
        Ok(strays) => ends.extend(strays),
        Err(Error::Corrupt(what)) => ends.push(what.to_string()),
        Err(other) => return Err(other),
    }
    Ok(ends)
}

fn strays(shared: &Shared, numbers: &HashSet<BlobNumber>) -> Result<Vec<String>, Error> {
    let mut strays = Vec::new();
    let mut from = BlobNumber(0);
    while let Some(number) = shared.backend.next_used(from)? {
        // Asked anew each time: uploads begin and end meanwhile.
        let known = numbers.contains(&number)
            || shared.backend.cached()?.iter().any(|(_, entry)| entry.number == number)
            || shared.backend.unfinished()?.contains(&number)
            || number.0 >= shared.numbers.load(std::sync::atomic::Ordering::Relaxed);
        if !known {
            strays.push(format!("the chunks under number {} belong to no blob", number.0));
        }
        from = BlobNumber(number.0 + 1);
    }
    Ok(strays)
}
