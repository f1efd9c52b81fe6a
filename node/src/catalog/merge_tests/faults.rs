//! What power cuts, failed writes and full disks amid a merge leave behind.

use std::io;

use super::*;

/// A history with what had been called on the disk when each step was begun and when it was answered.
struct Recorded {
    start: Vec<u8>,
    events: Vec<crate::storage::test_disk::Event>,
    steps: Vec<(usize, usize, Step)>,
}

async fn recorded(below: &Below, seed: u64, lies: bool) -> Recorded {
    let (dice, disk) = (&mut Dice::new(seed), TestDisk::made(KIND, FORMAT));
    let start = disk.bytes();
    disk.record();
    if lies {
        disk.lie();
    }
    let (kit, mut model, mut steps) = (below.on(&disk).unwrap(), Model::new(), Vec::new());
    for at in 0..70 {
        let (begun, step) = (disk.recorded(), Step::roll(dice, &model, at));
        step.run(&kit).await.unwrap();
        step.apply(&mut model);
        steps.push((begun, disk.recorded(), step));
    }
    kit.stop().await;
    Recorded { start, events: disk.events(), steps }
}

/// Opens what a power cut after `cut` calls may leave, and says what is wrong with it. Counts those in which a merge
/// had begun and was not complete.
async fn judge(
    below: &Below,
    run: &Recorded,
    (cut, bytes): (usize, Vec<u8>),
    merging: &mut usize,
) -> Result<(), String> {
    let disk = TestDisk::holding(bytes);
    let kit = below.on(&disk)?;
    let merged = kit.merged();
    *merging += usize::from(merged.rows < merged.until && !merged.last.is_empty());
    let model = kit.model().await.map_err(|error| error.to_string())?;
    let (mut sure, mut perhaps) = (Model::new(), Model::new());
    run.steps.iter().filter(|(_, done, _)| *done <= cut).for_each(|(.., step)| step.apply(&mut sure));
    run.steps.iter().filter(|(begun, ..)| *begun <= cut).for_each(|(.., step)| step.apply(&mut perhaps));
    if model != sure && model != perhaps {
        return Err(format!("neither what was answered nor what was asked: {model:?}"));
    }
    let findings = kit.findings();
    if !findings.is_empty() {
        return Err(findings.join("; "));
    }
    kit.check_queries(&model).await?;
    kit.create("after", (0, 0)).await.map_err(|error| error.to_string())?;
    kit.stop().await;
    Ok(())
}

async fn power_cuts(below: &Below, seed: u64, lies: bool, images: usize) -> (Vec<String>, usize) {
    let run = recorded(below, seed, lies).await;
    let dice = &mut Dice::new(seed + 100);
    let (mut wrong, mut merging) = (Vec::new(), 0);
    for _ in 0..images {
        let cut = dice.roll(run.events.len() as u64 + 1) as usize;
        let bytes = image_of(&run.start, &run.events[..cut], 512, dice);
        let judged = judge(below, &run, (cut, bytes), &mut merging).await;
        wrong.extend(judged.err().map(|what| format!("cut {cut}: {what}")));
    }
    (wrong, merging)
}

#[tokio::test]
async fn a_power_cut_amid_a_merge_leaves_rows_and_index_that_fit() {
    let below = Below::new();
    for seed in [1, 2, 3] {
        let (wrong, merging) = power_cuts(&below, seed, false, 80).await;
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        assert!(merging > 20, "only {merging} images lie within a merge");
    }
}

#[tokio::test]
async fn the_loss_on_a_disk_that_lies_is_seen() {
    let (wrong, _) = power_cuts(&Below::new(), 4, true, 40).await;
    assert!(!wrong.is_empty(), "the images must show the loss, or the test above shows nothing");
}

/// Makes the disk fail in the middle of a history, and goes on.
async fn through(below: &Below, fault: impl Fn(&TestDisk, u32)) {
    let mut failures = 0;
    for seed in 0..10 {
        let (dice, disk) = (&mut Dice::new(seed), TestDisk::made(KIND, FORMAT));
        let (kit, mut model) = (below.on(&disk).unwrap(), Model::new());
        let mut merging = 0;
        for at in 0..48 {
            if at == 30 + seed as usize {
                fault(&disk, dice.roll(12) as u32);
            }
            let step = Step::roll(dice, &model, at);
            if step.run(&kit).await.is_ok() {
                step.apply(&mut model);
            } else {
                failures += 1;
                disk.heal();
                // It may be there or not.
                let found = kit.model().await.unwrap();
                if found != model {
                    step.apply(&mut model);
                }
                assert_eq!(found, model);
                assert_eq!(kit.findings(), [""; 0], "seed {seed}, step {at}");
            }
            kit.check_queries(&model).await.unwrap_or_else(|wrong| panic!("seed {seed}, step {at}: {wrong}"));
            let merged = kit.merged();
            merging += usize::from(merged.rows < merged.until);
        }
        disk.heal();
        assert!(merging > 5, "seed {seed}");
        assert_eq!(kit.findings(), [""; 0], "seed {seed}");
        kit.stop().await;
    }
    assert!(failures >= 8, "{failures}");
}

#[tokio::test]
async fn after_a_failed_sync_memory_and_disk_fit() {
    through(&Below::new(), |disk, nth| disk.fail_sync(nth % 3, io::ErrorKind::Other)).await;
}

#[tokio::test]
async fn after_a_full_disk_memory_and_disk_fit() {
    through(&Below::new(), |disk, nth| disk.fail_writes(nth, io::ErrorKind::StorageFull)).await;
    through(&Below::new(), |disk, nth| disk.fill_up(nth)).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_at_the_start_is_missed_by_the_index_and_never_in_silence() {
    let (below, disk) = (Below::new(), TestDisk::made(KIND, FORMAT));
    let kit = below.on(&disk).unwrap();
    for at in 0..10 {
        kit.create(&format!("n{at:04}"), (1, at)).await.unwrap();
    }
    let by_index = json!({"asset_metadata.group": 1});
    let page = kit.catalog.query(query(&by_index, 100, None)).await.unwrap();
    assert_eq!((page.rows.len(), page.gap), (10, None));
    kit.catalog.damage(page.rows[9].record);
    kit.stop().await;

    let kit = below.on(&disk).unwrap();
    let page = kit.catalog.query(query(&by_index, 100, None)).await.unwrap();
    assert_eq!((page.rows.len(), page.gap), (9, Some(Gap::DamagedRows(1))));
    // Its place in the index is passed.
    for at in 10..200 {
        kit.create(&format!("n{at:04}"), (2, at)).await.unwrap();
    }
    assert!(kit.merged().rows > 10);
    kit.stop().await;

    let kit = below.on(&disk).unwrap();
    let page = kit.catalog.query(query(&by_index, 100, None)).await.unwrap();
    assert_eq!((page.rows.len(), page.gap), (9, Some(Gap::DamagedRows(1))));
    let by_uri = kit.catalog.query(query(&json!({"asset_uri": "n0001:1-t"}), 100, None)).await.unwrap();
    assert_eq!((by_uri.rows.len(), by_uri.gap), (1, None));
    kit.stop().await;
}
