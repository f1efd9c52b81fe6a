//! A checksum for each page, because the database library checks its own only when asked to check the
//! whole file: one flipped bit in a list of free pages could free, and so overwrite, live data.
//!
//! Layout of the file, in pages of 4 KiB: the library's header page, then groups of one page of sums and
//! 512 pages of data. The header's own sum stands behind it, in the same sector.
//! A page with one flipped bit is corrected as it is read, and remembered: see [`Sums::mended`].
//! The library never overwrites a page that a durable commit names, so page and sum need no order
//! between them; both are on the medium when the sync returns that the commit waits for.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::disk::{Disk, Space};
use super::{leaf, mend};

/// The library's page, and the unit of the layout.
pub(super) const PAGE: u64 = 4096;
/// What the library writes at the start of the file.
pub(super) const HEADER_BYTES: usize = 320;
/// Pages that one page of sums covers.
const GROUP: u64 = PAGE / 8;
/// Larger pages hold one value of the owner's, who checks it with a better hash.
const SUMMED_BYTES_MAX: usize = 128 << 10;
/// Groups of sums kept in memory: 4 MiB, for 2 GiB of file.
const CACHED_GROUPS_MAX: usize = 1024;

/// Pages up to this size are searched for a flipped bit: 130 ms at most.
const MENDED_BYTES_MAX: usize = 16 << 10;
/// Searches in vain before there are no more: so much damage is no flipped bit here and there.
const VAIN_SEARCHES_MAX: u32 = 64;
/// Damaged pages in use that are told of, each once: who has more knows by then.
const USED_TOLD_MAX: usize = 1000;

/// A disk over a disk: the pages of the library, checked when they are read.
#[derive(Debug)]
pub(super) struct Sums {
    disk: Arc<dyn Disk>,
    groups: Mutex<HashMap<u64, Group>>,
    /// Places in the file of pages that were corrected.
    mended: Mutex<BTreeSet<u64>>,
    /// Places of damaged pages that are used for what in them proves itself.
    used: Mutex<BTreeSet<u64>>,
    vain_searches: AtomicU32,
}

#[derive(Debug)]
struct Group {
    sums: Box<[u64]>,
    dirty: bool,
}

impl Sums {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            groups: Mutex::default(),
            mended: Mutex::default(),
            used: Mutex::default(),
            vain_searches: AtomicU32::new(0),
        }
    }

    /// Where in the file a page was not as it was written, but could be corrected.
    pub(super) fn mended(&self) -> Vec<u64> {
        self.mended.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn note_mended(&self, place: u64) {
        if self.mended.lock().unwrap_or_else(PoisonError::into_inner).insert(place) {
            tracing::warn!(place, "a flipped bit in a page was corrected as it was read");
        }
    }

    /// Tells of a damaged page once, however often it is read.
    fn note_used(&self, place: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < USED_TOLD_MAX && used.insert(place) {
            tracing::warn!(place, "a damaged page is used for what in it proves itself");
        }
    }

    /// Makes a damaged page what it was, if that takes one bit of it or of its sum.
    fn mend(&self, page: u64, data: &mut [u8], wanted: u64) -> bool {
        if mend::one_bit_apart(sum_of(page, data), wanted) {
            return true;
        }
        if data.len() > MENDED_BYTES_MAX || self.vain_searches.load(Ordering::Relaxed) >= VAIN_SEARCHES_MAX {
            return false;
        }
        let mended = mend::one_bit(data, |data| sum_of(page, data) == wanted);
        self.vain_searches.fetch_add(u32::from(!mended), Ordering::Relaxed);
        mended
    }

    /// The start of the library's header, corrected if need be; as it is if that takes more than one bit.
    fn read_header(&self, out: &mut [u8]) -> io::Result<()> {
        let mut start = [0; HEADER_BYTES + 8];
        if self.disk.len()? < start.len() as u64 {
            return self.disk.read_at(0, out);
        }
        self.disk.read_at(0, &mut start)?;
        let (header, behind) = start.split_at_mut(HEADER_BYTES);
        let mut sum = [0; 8];
        sum.copy_from_slice(behind);
        if mend_header(header, sum) == Some(true) {
            self.note_mended(0);
        }
        out.copy_from_slice(&header[..out.len()]);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the sum of a page.
    fn with_sum<T>(&self, page: u64, work: impl FnOnce(&mut Group, usize) -> T) -> io::Result<T> {
        let number = page / GROUP;
        let mut groups = self.lock();
        if groups.len() >= CACHED_GROUPS_MAX && !groups.contains_key(&number) {
            self.write_dirty(&mut groups)?;
            groups.clear();
        }
        let group = match groups.entry(number) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.load(number)?),
        };
        Ok(work(group, (page % GROUP) as usize))
    }

    fn load(&self, number: u64) -> io::Result<Group> {
        let mut bytes = vec![0; PAGE as usize];
        self.disk.read_at(place_of_sums(number), &mut bytes)?;
        let sums = bytes.chunks_exact(8).map(|word| {
            let mut sum = [0; 8];
            sum.copy_from_slice(word);
            u64::from_le_bytes(sum)
        });
        Ok(Group { sums: sums.collect(), dirty: false })
    }

    fn write_dirty(&self, groups: &mut HashMap<u64, Group>) -> io::Result<()> {
        for (number, group) in groups.iter_mut().filter(|(_, group)| group.dirty) {
            let bytes: Vec<u8> = group.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            self.disk.write_at(place_of_sums(*number), &bytes)?;
            group.dirty = false;
        }
        Ok(())
    }
}

impl Disk for Sums {
    fn len(&self) -> io::Result<u64> {
        self.disk.len().map(inner_len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Some(page) = data_page(offset, out.len())? else {
            return self.read_header(out);
        };
        let mut rest = &mut *out;
        for (place, len) in pieces(page, rest.len()) {
            let (piece, later) = rest.split_at_mut(len);
            self.disk.read_at(place, piece)?;
            rest = later;
        }
        if out.len() > SUMMED_BYTES_MAX {
            return Ok(());
        }
        let wanted = self.with_sum(page, |group, index| group.sums[index])?;
        if sum_of(page, out) == wanted {
            return Ok(());
        }
        if self.mend(page, out, wanted) {
            self.note_mended(place_of(page));
            return Ok(());
        }
        if leaf::is_usable(out) {
            self.note_used(place_of(page));
            return Ok(());
        }
        let text = format!("the page at byte {} of the file does not match its checksum", place_of(page));
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(page) = data_page(offset, data.len())? else {
            let sum = header_sum(data);
            return self.disk.write_at(offset, &[data, sum.as_slice()].concat());
        };
        let mut rest = data;
        for (place, len) in pieces(page, data.len()) {
            let (piece, later) = rest.split_at(len);
            self.disk.write_at(place, piece)?;
            rest = later;
        }
        let sum = if data.len() > SUMMED_BYTES_MAX { 0 } else { sum_of(page, data) };
        self.with_sum(page, |group, index| {
            group.sums[index] = sum;
            group.dirty = true;
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = outer_len(len);
        let mut groups = self.lock();
        groups.retain(|number, _| place_of_sums(*number) < len);
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.write_dirty(&mut self.lock())?;
        self.disk.sync()
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }
}

/// Makes a header what it was. True if it had to be corrected, none if it cannot be.
pub(super) fn mend_header(header: &mut [u8], sum: [u8; 8]) -> Option<bool> {
    let found = header_sum(header);
    if found == sum {
        return Some(false);
    }
    let apart = mend::one_bit_apart(u64::from_le_bytes(found), u64::from_le_bytes(sum));
    (apart || mend::one_bit(header, |header| header_sum(header) == sum)).then_some(true)
}

/// The sum that stands behind the library's header.
pub(super) fn header_sum(header: &[u8]) -> [u8; 8] {
    xxh3_64(header).to_le_bytes()
}

/// The length of the file for a length that the library asks for.
pub(super) fn outer_len(len: u64) -> u64 {
    let pages = len.saturating_sub(PAGE).div_ceil(PAGE);
    len.saturating_add(pages.div_ceil(GROUP) * PAGE)
}

/// The length that the library sees in a file.
fn inner_len(len: u64) -> u64 {
    let groups = len.saturating_sub(PAGE).div_ceil((GROUP + 1) * PAGE);
    len - groups * PAGE
}

/// The number of a data page, or nothing for the header. Anything but whole pages is not for us.
fn data_page(offset: u64, len: usize) -> io::Result<Option<u64>> {
    match offset {
        0 if len <= HEADER_BYTES => Ok(None),
        _ if offset >= PAGE && offset.is_multiple_of(PAGE) && (len as u64).is_multiple_of(PAGE) => {
            Ok(Some(offset / PAGE - 1))
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{len} bytes at {offset} are no whole pages"),
        )),
    }
}

/// Seeded with the number, so that a page written to the wrong place is found too. Never 0.
fn sum_of(page: u64, data: &[u8]) -> u64 {
    xxh3_64_with_seed(data, page).max(1)
}

fn place_of_sums(group: u64) -> u64 {
    PAGE + group * (GROUP + 1) * PAGE
}

fn place_of(page: u64) -> u64 {
    place_of_sums(page / GROUP) + (1 + page % GROUP) * PAGE
}

/// Cuts a run of pages where a page of sums lies between: (place in the file, bytes).
fn pieces(mut page: u64, len: usize) -> impl Iterator<Item = (u64, usize)> {
    let mut left = len;
    std::iter::from_fn(move || {
        let room = (GROUP - page % GROUP) * PAGE;
        let piece = left.min(room as usize);
        let place = place_of(page);
        page += piece as u64 / PAGE;
        left -= piece;
        (piece > 0).then_some((place, piece))
    })
}

#[cfg(test)]
mod tests {
    use super::super::test_disk::TestDisk;
    use super::*;

    #[test]
    fn a_length_goes_out_and_comes_back() {
        for pages in (1..3_000).chain([1 << 20, 1 << 33]) {
            let len = pages * PAGE;
            assert_eq!(inner_len(outer_len(len)), len, "{pages} pages");
        }
    }

    #[test]
    fn a_run_of_pages_goes_round_the_sums() {
        let disk = Sums::new(Arc::new(TestDisk::default()));
        disk.set_len(PAGE * 1_200).unwrap();
        let data: Vec<u8> = (0..PAGE * 700).map(|at| (at / 7) as u8).collect();
        disk.write_at(PAGE * 300, &data).unwrap();
        let small = vec![9; PAGE as usize * 20];
        disk.write_at(PAGE * 505, &small).unwrap();
        disk.sync().unwrap();
        let mut out = vec![0; small.len()];
        disk.read_at(PAGE * 505, &mut out).unwrap();
        assert_eq!(out, small);
        let mut out = vec![0; data.len()];
        disk.read_at(PAGE * 300, &mut out).unwrap();
        assert_eq!(out[..PAGE as usize * 205], data[..PAGE as usize * 205]);
        assert_eq!(out[PAGE as usize * 225..], data[PAGE as usize * 225..]);
    }

    #[test]
    fn one_flipped_bit_of_a_page_or_its_sum_is_corrected_and_remembered() {
        let disk = TestDisk::default();
        let page: Vec<u8> = (0..PAGE).map(|at| (at / 3) as u8).collect();
        let sums = Sums::new(Arc::new(disk.clone()));
        sums.set_len(PAGE * 10).unwrap();
        sums.write_at(PAGE, &page).unwrap();
        sums.sync().unwrap();
        for (place, bit) in [(place_of(0) + 1234, 5), (place_of_sums(0) + 3, 2)] {
            let before = disk.bytes()[place as usize];
            disk.write_at(place, &[before ^ (1 << bit)]).unwrap();
            let sums = Sums::new(Arc::new(disk.clone()));
            let mut out = vec![0; page.len()];
            sums.read_at(PAGE, &mut out).unwrap();
            assert_eq!(out, page);
            assert_eq!(sums.mended(), [place_of(0)]);
            disk.write_at(place, &[before]).unwrap();
        }
        disk.write_at(place_of(0), &[page[0] ^ 3]).unwrap();
        Sums::new(Arc::new(disk)).read_at(PAGE, &mut vec![0; page.len()]).unwrap_err();
    }

    #[test]
    fn a_page_in_the_wrong_place_is_found() {
        let disk = TestDisk::default();
        let sums = Sums::new(Arc::new(disk.clone()));
        sums.set_len(PAGE * 10).unwrap();
        sums.write_at(PAGE, &[1; PAGE as usize]).unwrap();
        sums.write_at(PAGE * 2, &[2; PAGE as usize]).unwrap();
        disk.write_at(place_of(0), &[2; PAGE as usize]).unwrap();
        let error = sums.read_at(PAGE, &mut [0; PAGE as usize]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn sums_are_written_before_they_leave_memory() {
        let disk = Sums::new(Arc::new(TestDisk::default()));
        disk.set_len(PAGE * (1 + GROUP * 3)).unwrap();
        for group in 0..3 {
            disk.write_at(PAGE * (1 + group * GROUP), &[group as u8; PAGE as usize]).unwrap();
        }
        for number in 3..CACHED_GROUPS_MAX as u64 {
            disk.lock().insert(number, Group { sums: vec![0; GROUP as usize].into(), dirty: false });
        }
        disk.with_sum(5_000 * GROUP, |_, _| ()).unwrap_err();
        assert!(disk.lock().is_empty());
        for group in 0..3 {
            disk.read_at(PAGE * (1 + group * GROUP), &mut [0; PAGE as usize]).unwrap();
        }
    }
}
