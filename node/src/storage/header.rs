//! A look at the first page of a file before the library may touch it.
//!
//! After a crash the library believes the length of the file. But it makes growth durable before the
//! header names it, and names less before it cuts, so a file shorter than its header says has always
//! lost its end.
//! Source of the layout: redb's docs/design.md, "Header"; unchanged since file format 3.

use std::io;

use super::disk::Disk;
use super::sums::{HEADER_BYTES, PAGE, mend_header, outer_len};

const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// Says what is wrong with the file, if it cannot be a whole database.
pub(super) fn objection(disk: &dyn Disk) -> io::Result<Option<String>> {
    let len = disk.len()?;
    let mut start = [0; HEADER_BYTES + 8];
    if len < start.len() as u64 {
        return Ok(Some(format!("it has only {len} bytes, too few for a header")));
    }
    disk.read_at(0, &mut start)?;
    let (header, behind) = start.split_at_mut(HEADER_BYTES);
    let mut sum = [0; 8];
    sum.copy_from_slice(behind);
    let whole = mend_header(header, sum).is_some();
    if !header.starts_with(&MAGIC) {
        return Ok(Some("it does not begin with the magic number".to_owned()));
    }
    if !whole {
        return Ok(Some("its header does not match its checksum".to_owned()));
    }
    let named = outer_len(layout_bytes(header));
    if named > len {
        return Ok(Some(format!("it is cut short: {len} bytes, but its header names {named}")));
    }
    Ok((!len.is_multiple_of(PAGE)).then(|| format!("its length, {len} bytes, is no whole number of pages")))
}

fn layout_bytes(header: &[u8]) -> u64 {
    let [page, region_header, region_data, full_regions, trailing] = [12, 16, 20, 24, 28].map(|at| {
        let mut word = [0; 4];
        word.copy_from_slice(&header[at..at + 4]);
        u64::from(u32::from_le_bytes(word))
    });
    let full = full_regions.saturating_mul(region_header + region_data);
    let last = if trailing == 0 { 0 } else { region_header + trailing };
    page.saturating_mul(full.saturating_add(last).saturating_add(1))
}
