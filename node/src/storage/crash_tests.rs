//! What a power cut leaves: thousands of images made of the recorded calls, each opened and compared.

use std::collections::BTreeMap;

use redb::{ReadableTable, TableDefinition};

use super::test_disk::{Event, TestDisk, apply};
use super::{Store, StoreConfig, StoreError, Sync};

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

type Rows = BTreeMap<u64, Vec<u8>>;

/// A small generator of numbers: the seed is the whole input of a run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

fn small() -> StoreConfig {
    StoreConfig { cache_bytes: 256 << 10, ..StoreConfig::default() }
}

/// One change: some rows of all sizes in, some out.
fn change(store: &Store, sync: Sync, rows: &mut Rows, dice: &mut Dice) -> Result<(), StoreError> {
    let mut next = rows.clone();
    store.update(sync, |transaction| {
        let mut table = transaction.open_table(ROWS)?;
        for _ in 0..=dice.roll(4) {
            let key = dice.roll(40);
            if dice.roll(4) == 0 {
                table.remove(key)?;
                next.remove(&key);
                continue;
            }
            let len = [10, 300, 5_000, 70_000][dice.roll(4) as usize];
            let value = vec![dice.roll(256) as u8; len];
            table.insert(key, value.as_slice())?;
            next.insert(key, value);
        }
        Ok::<_, StoreError>(())
    })?;
    *rows = next;
    Ok(())
}

fn rows_of(store: &Store) -> Result<Rows, StoreError> {
    store.view(|transaction| {
        let table = match transaction.open_table(ROWS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Rows::new()),
            other => other?,
        };
        let mut rows = Rows::new();
        for row in table.iter()? {
            let (key, value) = row?;
            rows.insert(key.value(), value.value().to_vec());
        }
        Ok(rows)
    })
}

/// A run with its history: the states in order, and for each how many calls had been made when it was
/// begun and when it was acknowledged as durable.
struct Run {
    start: Vec<u8>,
    events: Vec<Event>,
    states: Vec<Rows>,
    begun: Vec<usize>,
    durable: Vec<Option<usize>>,
}

fn run(seed: u64, changes: usize, lies: bool) -> Run {
    let dice = &mut Dice(seed);
    let disk = TestDisk::made("test", 1);
    let start = disk.bytes();
    disk.record();
    if lies {
        disk.lie();
    }
    let store = disk.store("test", 1, small()).unwrap();
    let mut run =
        Run { start, events: vec![], states: vec![Rows::new()], begun: vec![0], durable: vec![Some(0)] };
    for _ in 0..changes {
        let sync = if dice.roll(3) == 0 { Sync::Later } else { Sync::Now };
        let mut rows = run.states.last().unwrap().clone();
        run.begun.push(disk.recorded());
        change(&store, sync, &mut rows, dice).unwrap();
        run.states.push(rows);
        run.durable.push((sync == Sync::Now).then(|| disk.recorded()));
    }
    drop(store);
    run.events = disk.events();
    run
}

fn image(run: &Run, cut: usize, sector: usize, dice: &mut Dice) -> Vec<u8> {
    image_of(&run.start, &run.events[..cut], sector, dice)
}

/// What the medium may hold when power fails after these calls: all that was synced, and of the rest any
/// part, in pieces of `sector` bytes.
pub(crate) fn image_of(start: &[u8], events: &[Event], sector: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = start.to_vec();
    let mut pending = vec![];
    for event in events {
        match event {
            Event::Sync => pending.drain(..).for_each(|event| whole(&mut bytes, event)),
            Event::FailedSync => pending.drain(..).for_each(|event| part(&mut bytes, event, sector, dice)),
            other => pending.push(other),
        }
    }
    let all = dice.roll(4) == 0;
    for event in pending {
        if all { whole(&mut bytes, event) } else { part(&mut bytes, event, sector, dice) }
    }
    bytes
}

fn whole(bytes: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(offset, data) => apply(bytes, *offset, data),
        Event::SetLen(len) => bytes.resize(*len as usize, 0),
        Event::Sync | Event::FailedSync => {}
    }
}

fn part(bytes: &mut Vec<u8>, event: &Event, sector: usize, dice: &mut Dice) {
    match (dice.roll(3), event) {
        (0, _) => {}
        (1, event) | (_, event @ Event::SetLen(_)) => whole(bytes, event),
        (_, Event::Write(offset, data)) => {
            for (number, piece) in data.chunks(sector).enumerate() {
                if dice.roll(2) == 0 {
                    apply(bytes, offset + (number * sector) as u64, piece);
                }
            }
        }
        _ => {}
    }
}

/// Opens an image; `Err` says how it differs from every allowed state.
fn judge(run: &Run, cut: usize, bytes: Vec<u8>) -> Result<(), String> {
    let oldest = run.durable.iter().rposition(|at| at.is_some_and(|at| at <= cut)).unwrap();
    let newest = run.begun.iter().rposition(|at| *at <= cut).unwrap();
    let disk = TestDisk::holding(bytes);
    let store = disk.store("test", 1, small()).map_err(|error| format!("cut {cut}: {error}"))?;
    let rows = rows_of(&store).map_err(|error| format!("cut {cut}: {error}"))?;
    let found = (oldest..=newest).any(|state| run.states[state] == rows);
    if !found {
        return Err(format!("cut {cut}: none of the states {oldest} to {newest}"));
    }
    let mut rows = rows;
    change(&store, Sync::Now, &mut rows, &mut Dice(cut as u64))
        .map_err(|error| format!("cut {cut}: {error}"))?;
    if rows_of(&store).map_err(|error| error.to_string())? == rows {
        Ok(())
    } else {
        Err("it forgets".into())
    }
}

fn images(seed: u64, changes: usize, lies: bool, count: usize) -> Vec<String> {
    let run = run(seed, changes, lies);
    let dice = &mut Dice(seed + 1);
    let mut wrong = vec![];
    for number in 0..count {
        let cut =
            if number <= run.events.len() { number } else { dice.roll(run.events.len() as u64 + 1) as usize };
        let sector = if dice.roll(2) == 0 { 512 } else { 4096 };
        let bytes = image(&run, cut, sector, dice);
        wrong.extend(judge(&run, cut, bytes).err());
    }
    wrong
}

#[test]
fn any_power_cut_leaves_the_last_durable_state_or_a_later_one() {
    for seed in [1, 2, 3] {
        let wrong = images(seed, 60, false, 1_000);
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    }
}

#[test]
fn a_disk_that_lies_about_sync_is_caught() {
    let wrong = images(4, 40, true, 300);
    assert!(!wrong.is_empty(), "the images must show the loss, or the test above shows nothing");
}

#[test]
fn after_a_failed_sync_nothing_that_was_acknowledged_is_lost() {
    for nth in 0..12 {
        let disk = TestDisk::made("test", 1);
        let start = disk.bytes();
        disk.record();
        let store = disk.store("test", 1, small()).unwrap();
        let mut run =
            Run { start, events: vec![], states: vec![Rows::new()], begun: vec![0], durable: vec![Some(0)] };
        disk.fail_sync(nth, std::io::ErrorKind::Other);
        let dice = &mut Dice(u64::from(nth));
        let mut failures = 0;
        for _ in 0..12 {
            let mut rows = run.states.last().unwrap().clone();
            let begun = disk.recorded();
            if change(&store, Sync::Now, &mut rows, dice).is_err() {
                failures += 1;
                // It may or may not be there: the next state is built on what is.
                rows = rows_of(&store).unwrap();
            }
            run.begun.push(begun);
            run.states.push(rows);
            run.durable.push(Some(disk.recorded()));
        }
        assert_eq!(failures, 1, "the fault must strike");
        run.events = disk.events();
        for cut in 0..=run.events.len() {
            let bytes = image(&run, cut, 512, dice);
            judge(&run, cut, bytes).unwrap();
        }
    }
}
