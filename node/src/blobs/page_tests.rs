//! What damage in a page of the file costs, and how it is written over.

use rstest::rstest;

use super::fault_tests::disk;
use super::test_kit::{Kit, content, keep, nodes_of};
use super::tree::GROUP_BYTES;
use super::*;
use crate::storage::crash_tests::Dice;
use crate::storage::test_disk::TestDisk;

/// Flips a bit in each of four bytes of what lies in the file, and opens it anew.
async fn harmed_at(disk: &TestDisk, kit: Kit, bytes: &[u8]) -> Kit {
    kit.blobs.settle().await.unwrap();
    let records = kit.records.clone();
    kit.stop().await;
    let image = disk.bytes();
    let places = image.windows(bytes.len()).enumerate().filter(|(_, window)| *window == bytes);
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "it must lie in the file");
    for (at, bit) in places.into_iter().flat_map(|at| (0..4).map(move |bit| (at, bit))) {
        disk.flip(at + usize::from(bit), bit);
    }
    Kit::with_records(disk, records)
}

#[tokio::test]
async fn damage_in_a_page_costs_only_what_lies_there_until_it_is_mended() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let mut stored = Vec::new();
    for seed in 0..60 {
        let bytes = content(700, seed);
        stored.push((kit.keep(&bytes).await, bytes));
    }
    let (harmed, bytes) = stored[33].clone();
    let kit = harmed_at(&disk, kit, &bytes[300..340]).await;
    for (id, bytes) in &stored {
        let got = kit.get(id, 0..u64::MAX).await;
        assert!(got.as_ref().is_ok_and(|got| got == bytes) != (*id == harmed), "{got:?}");
    }
    let what = "the stored bytes do not match the hash".to_owned();
    assert_eq!(kit.damages().await, [Damage { id: Some(harmed), offset: Some(0), what }]);
    // The page is written to, whatever lies in it.
    for seed in 100..160 {
        let bytes = content(700, seed);
        stored.push((kit.keep(&bytes).await, bytes));
    }
    let removed = stored.remove(40).0;
    kit.records.remove(&removed);
    assert!(kit.blobs.remove(removed).await.unwrap());
    assert!(kit.get(&harmed, 0..u64::MAX).await.is_err());
    keep(&kit, &bytes, 0..1).await;
    for (id, bytes) in &stored {
        assert!(kit.get(id, 0..u64::MAX).await.unwrap() == *bytes);
    }
    assert_eq!(kit.blobs.metrics().groups_mended(), 1);
    let ids: Vec<AssetId> = stored.iter().map(|(id, _)| *id).collect();
    kit.end_and_check(&disk, &ids).await;
}

/// Some groups, in a page of their own that has a checksum; their outboard is in another.
#[rstest]
#[case::chunk(|content: &[u8]| content[2 * GROUP_BYTES + 5..][..40].to_vec())]
#[case::outboard(|content: &[u8]| nodes_of(content)[1].1[..40].to_vec())]
#[tokio::test]
async fn damage_in_a_chunk_or_an_outboard_is_written_over(#[case] place: fn(&[u8]) -> Vec<u8>) {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let bytes = content(3 * GROUP_BYTES + 77, 5);
    let id = kit.keep(&bytes).await;
    let other = kit.keep(&content(4 * GROUP_BYTES, 6)).await;
    let kit = harmed_at(&disk, kit, &place(&bytes)).await;
    let Err(Error::Damaged { id: named, offset }) = kit.get(&id, 0..u64::MAX).await else {
        panic!("it is damaged")
    };
    assert_eq!((named, offset), (id, 2 * GROUP_BYTES as u64));
    keep(&kit, &bytes, 2..3).await;
    assert!(kit.get(&id, 0..u64::MAX).await.unwrap() == bytes);
    kit.end_and_check(&disk, &[id, other]).await;
}

#[tokio::test]
async fn damage_in_bursts_never_gives_wrong_bytes_and_never_takes_an_upload_for_nothing() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let mut stored = Vec::new();
    for (size, count) in [(700, 80), (5_000, 20), (3 * GROUP_BYTES, 4)] {
        for seed in 0..count {
            let bytes = content(size, seed);
            stored.push((kit.keep(&bytes).await, bytes));
        }
    }
    let records = kit.records.clone();
    kit.blobs.settle().await.unwrap();
    kit.stop().await;
    let image = disk.bytes();
    let used = image.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let (mut harmed, mut refused, mut begun) = (0, 0, 0);
    let dice = &mut Dice::new(5);
    for round in 0..60 {
        let disk = TestDisk::holding(image.clone());
        let at = 4_096 + dice.roll(used - 4_100) as usize;
        (0..4).for_each(|byte| disk.flip(at + byte, dice.roll(8) as u8));
        let Ok(kit) = Kit::try_on(&disk, records.clone(), Config::default()) else { continue };
        begun += 1;
        for (id, bytes) in &stored {
            match kit.get(id, 0..u64::MAX).await {
                Ok(got) => assert!(got == *bytes, "byte {at}"),
                Err(_) => harmed += 1,
            }
        }
        for seed in 0..20 {
            let bytes = content(700, 1_000 + round * 100 + seed);
            match kit.put(&bytes).await {
                Ok(taken) => assert!(kit.get(&taken.id, 0..u64::MAX).await.unwrap() == bytes, "byte {at}"),
                Err(_) => refused += 1,
            }
        }
        kit.stop().await;
    }
    assert!(begun > 40 && harmed > 10 && refused < 5, "{begun} begun, {harmed} harmed, {refused} refused");
}
