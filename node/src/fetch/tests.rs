//! Transfers between real swarms on loopback: honest providers, and every kind of hostile one.

mod damage_tests;
mod limit_tests;
mod private_tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::asset::Draft;
use assetmesh_protocol::blob::{BlobAsk, BlobHead, BlobWant};
use assetmesh_protocol::document::Document;
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::blobs::tree::{GROUP_BYTES, groups};
use crate::identity::Identity;
use crate::liveness::{PeerFact, PeerState};
use crate::summaries::Summaries;
use crate::swarm::Incoming;
use crate::{blobs, catalog, swarm};

/// Far more than anything here takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

struct Member {
    fetch: Fetch,
    blobs: Blobs,
    catalog: Catalog,
    swarm: Swarm,
    key: NodeKey,
    peers: watch::Sender<Peers>,
    tasks: Option<Tasks>,
    _dir: TempDir,
}

impl Member {
    fn start(bootstrap: &[&Self], config: Config) -> Self {
        Self::start_on(None, bootstrap, config)
    }

    /// Starts on this store, or else on one of its own.
    fn start_on(blobs: Option<&Blobs>, bootstrap: &[&Self], config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut tasks = Tasks::default();
        let identity = Identity::load_or_create(dir.path()).unwrap();
        let mut own = || Blobs::start(&mut tasks, dir.path(), blobs::Config::default()).unwrap();
        let blobs = blobs.cloned().unwrap_or_else(&mut own);
        let owner = catalog::Owner {
            assets_db_id: identity.assets_db_id(),
            public_url: "http://node".to_owned(),
            cursor_secret: [7; 32],
        };
        let catalog =
            Catalog::start(&mut tasks, dir.path(), owner, blobs.clone(), &catalog::Config::default());
        let catalog = catalog.unwrap();
        let settings = swarm::Config {
            data_dir: dir.path().to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: bootstrap.iter().flat_map(|member| member.swarm.listen_addrs()).collect(),
            ..swarm::Config::default()
        };
        let swarm = Swarm::start(&mut tasks, &identity, settings).unwrap();
        let (peers, watched) = watch::channel(Peers::default());
        let summaries = Summaries::of_nobody(&catalog);
        let fetch = Fetch::start(&mut tasks, &swarm, (&blobs, &catalog), (watched, summaries), config);
        let key = identity.node_key();
        Self { fetch, blobs, catalog, swarm, key, peers, tasks: Some(tasks), _dir: dir }
    }

    /// Waits for a link to each, and takes them for alive.
    async fn sees(&self, others: &[&Self]) {
        let mut links = self.swarm.links();
        for other in others {
            let linked = links.wait_for(|links| links.contains_key(&other.key));
            tokio::time::timeout(WITHIN, linked).await.unwrap().unwrap();
        }
        let facts = others.iter().enumerate().map(|(number, other)| {
            let rtt = Some(Duration::from_millis(number as u64));
            let since = Duration::ZERO;
            let fact = PeerFact { key: other.key, state: PeerState::Alive, since, rtt, last_heard: None };
            (other.key, fact)
        });
        self.peers.send_replace(Arc::new(facts.collect::<BTreeMap<_, _>>()));
    }

    async fn store(&self, content: &[u8]) -> AssetId {
        let mut upload = self.blobs.begin();
        upload.write(content.to_vec().into()).await.unwrap();
        let stored = upload.finish().await.unwrap();
        let id = stored.id;
        let text = format!(r#"{{"asset_name":"{id}","asset_version":{{"version":"1","tag":"t"}}}}"#);
        let draft = Draft::upload(&Document::from_json(text.as_bytes()).unwrap()).unwrap();
        let file = FileFacts { file_name: "a b.bin".to_owned(), file_type: "text/plain".to_owned() };
        self.catalog.create_uploaded(draft, file, stored).await.unwrap();
        id
    }

    async fn get(&self, id: AssetId, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.read(self.fetch.find(id).await?, range).await
    }

    async fn read_all(&self, found: Found) -> Result<Vec<u8>, Error> {
        tokio::time::timeout(WITHIN, self.read(found, 0..u64::MAX)).await.expect("it takes too long")
    }

    async fn read(&self, found: Found, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut pieces = Box::pin(self.fetch.read(found, range));
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    async fn get_all(&self, id: AssetId) -> Result<Vec<u8>, Error> {
        tokio::time::timeout(WITHIN, self.get(id, 0..u64::MAX)).await.expect("it takes too long")
    }

    /// Answers questions for content from now on as it likes, in place of the honest way.
    fn turns(&self, how: Hostile) -> JoinSet<()> {
        let (to, mut incoming) = mpsc::channel::<Incoming>(64);
        self.swarm.attach_streams(to);
        let blobs = self.blobs.clone();
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            let mut streams = JoinSet::new();
            while let Some(Incoming { stream, .. }) = incoming.recv().await {
                streams.spawn(hostile(stream, blobs.clone(), how));
            }
        });
        answering
    }
}

/// What a hostile provider does once it has shown that it holds the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hostile {
    /// One bit is wrong, in the tree or in the content.
    FlipsBit { at: usize },
    /// Claims another size from the start.
    Size(i64),
    /// After the content it goes on for ever, and the content is wrong from the start.
    Endless,
    /// One byte, and then one in a long time.
    Drips,
    /// Sends nearly all of each range, and then nothing.
    StopsNearTheEnd,
    /// Ends each answer early.
    CutsShort,
    /// Never has time.
    Busy,
}

async fn hostile(mut stream: swarm::PeerStream, blobs: Blobs, how: Hostile) {
    let mut length = [0];
    if stream.read_exact(&mut length).await.is_err() {
        return;
    }
    let mut ask = vec![0; usize::from(length[0])];
    if stream.read_exact(&mut ask).await.is_err() {
        return;
    }
    // A stream that was given up before its question came.
    let Ok(ask) = BlobAsk::decode(&ask) else { return };
    let Some(blob) = blobs.open(&ask.id()).unwrap() else { return };
    let size = blob.size();
    let mut sent = vec![0];
    let range = match ask.want {
        BlobWant::Head => {
            let claimed = match how {
                Hostile::Size(more) => size.checked_add_signed(more).unwrap(),
                _ => size,
            };
            sent.extend(BlobHead::new(claimed, &FileFacts::default()).encode().unwrap());
            (groups(size) - 1) * GROUP_BYTES as u64..size
        }
        BlobWant::Range { start, end } | BlobWant::Private { start, end } => start..end,
    };
    let mut pieces = Box::pin(blob.read_proven(range));
    while let Some(piece) = pieces.next().await {
        sent.extend_from_slice(&piece.unwrap());
    }
    if let Hostile::Size(more @ 1..=9) = how {
        sent.resize(sent.len() + more as usize, 0);
    }
    if ask.want == BlobWant::Head && how != Hostile::Busy {
        stream.write_all(&sent).await.ok();
        stream.close().await.ok();
        return;
    }
    let forever = std::future::pending::<()>;
    match how {
        Hostile::FlipsBit { at } => {
            let at = at.min(sent.len() - 2);
            sent[1 + at] ^= 1;
        }
        Hostile::Size(_) => {}
        Hostile::Endless => {
            while stream.write_all(&[7; 8192]).await.is_ok() {}
            return;
        }
        Hostile::Drips => {
            stream.write_all(&sent[..2]).await.ok();
            stream.flush().await.ok();
            return forever().await;
        }
        Hostile::StopsNearTheEnd => {
            stream.write_all(&sent[..sent.len() * 99 / 100]).await.ok();
            stream.flush().await.ok();
            return forever().await;
        }
        Hostile::CutsShort => sent.truncate(sent.len() / 2),
        Hostile::Busy => sent = vec![1],
    }
    stream.write_all(&sent).await.ok();
    stream.close().await.ok();
}

fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Small ranges and short times, so that much happens with little content.
fn brisk() -> Config {
    Config {
        stall_after: Duration::from_millis(600),
        head_within: Duration::from_secs(10),
        buffer_bytes_each: 2 << 20,
        ..Config::default()
    }
}

/// One that asks, and some that hold the same content.
async fn federation(holders: usize, content: &[u8]) -> (Member, Vec<Member>, AssetId) {
    federation_of(Member::start(&[], brisk()), holders, content).await
}

async fn federation_of(asker: Member, holders: usize, content: &[u8]) -> (Member, Vec<Member>, AssetId) {
    let holders: Vec<Member> = (0..holders).map(|_| Member::start(&[&asker], brisk())).collect();
    asker.sees(&holders.iter().collect::<Vec<_>>()).await;
    let mut id = AssetId::of(content);
    for holder in &holders {
        id = holder.store(content).await;
    }
    (asker, holders, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_of_every_size_comes_over_as_it_is() {
    let (asker, holders, _) = federation(1, b"x").await;
    let group = GROUP_BYTES;
    for size in [0, 1, group - 1, group, group + 1, 2 * group, 63 * group + 1, 3_000_000] {
        let bytes = content(size, size as u64);
        let id = holders[0].store(&bytes).await;
        let found = asker.fetch.find(id).await.unwrap();
        assert_eq!((found.size(), found.from()), (size as u64, holders[0].key));
        assert_eq!(found.facts().file_name, "a b.bin");
        assert!(asker.get_all(id).await.unwrap() == bytes, "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_comes_over_exactly() {
    let bytes = content(1_000_000, 1);
    let (asker, _holders, id) = federation(2, &bytes).await;
    for (start, end) in [(0, 1), (16_383, 16_385), (500_000, 900_001), (999_999, 1_000_000)] {
        let part = asker.get(id, start..end).await.unwrap();
        assert!(part == bytes[start as usize..end as usize], "{start}..{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_holds_is_not_found_and_those_who_are_away_are_named() {
    let (asker, holders, id) = federation(2, b"here").await;
    let absent = AssetId::of(b"absent");
    let Err(Error::NotFound(coverage)) = asker.fetch.find(absent).await else { panic!("it is found") };
    assert_eq!((coverage.known, coverage.asked, coverage.answered), (2, 2, 2));
    assert!(coverage.missing.is_empty());
    asker.peers.send_modify(|peers| {
        let mut facts = (**peers).clone();
        facts.get_mut(&holders[1].key).unwrap().state = PeerState::Down;
        *peers = Arc::new(facts);
    });
    let Err(Error::NotFound(coverage)) = asker.fetch.find(absent).await else { panic!("it is found") };
    assert_eq!(coverage.missing, [(holders[1].key, Missing::Down)]);
    assert_eq!(asker.get_all(id).await.unwrap(), b"here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_provider_is_found_out_and_another_takes_over() {
    let bytes = content(4_000_000, 2);
    for how in [
        Hostile::FlipsBit { at: 3 },
        Hostile::FlipsBit { at: 20_000 },
        Hostile::Size(1),
        Hostile::Size(-1),
        Hostile::Size(1 << 62),
        Hostile::Endless,
        Hostile::Drips,
        Hostile::StopsNearTheEnd,
        Hostile::CutsShort,
        Hostile::Busy,
    ] {
        let (asker, holders, id) = federation(2, &bytes).await;
        let _hostile = holders[0].turns(how);
        // It is the only one that is known at first.
        asker.sees(&[&holders[0]]).await;
        let found = asker.fetch.find(id).await;
        assert_eq!(found.is_err(), matches!(how, Hostile::Size(_) | Hostile::Busy), "{how:?}");
        asker.sees(&[&holders[0], &holders[1]]).await;
        let begun = Instant::now();
        let got = match found {
            Ok(found) => asker.read_all(found).await,
            Err(_) => asker.get_all(id).await,
        };
        assert!(got.unwrap() == bytes, "{how:?}");
        println!("{how:?}: {:?}", begun.elapsed());
        let metrics = asker.fetch.metrics();
        let is_lie = matches!(how, Hostile::FlipsBit { .. } | Hostile::Size(_) | Hostile::Endless);
        let offences = asker.swarm.metrics().offences(swarm::Offence::FalseContent);
        assert_eq!((metrics.lies() > 0, offences > 0), (is_lie, is_lie), "{how:?}");
        let stalls = matches!(how, Hostile::Drips | Hostile::StopsNearTheEnd);
        assert_eq!(metrics.stalls() > 0, stalls, "{how:?}");
        // What jobs of a dismissed provider had on their way is asked for again, and no more.
        let came = metrics.bytes_in();
        assert!((4_000_000..=4_000_000 + (2 * GROUP_BYTES as u64)).contains(&came), "{how:?}: {came}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_honest_provider_there_is_an_error_and_never_a_wrong_byte() {
    let bytes = content(600_000, 3);
    for how in [
        Hostile::FlipsBit { at: 300_000 },
        Hostile::Size(1),
        Hostile::Endless,
        Hostile::Drips,
        Hostile::StopsNearTheEnd,
    ] {
        let (asker, holders, id) = federation(1, &bytes).await;
        let _hostile = holders[0].turns(how);
        let got = asker.get_all(id).await;
        assert!(matches!(got, Err(Error::Failed(_))), "{how:?}: {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_dies_midway_leaves_no_gap() {
    let bytes = content(24_000_000, 4);
    let (asker, mut holders, id) = federation(2, &bytes).await;
    let found = asker.fetch.find(id).await.unwrap();
    let mut pieces = Box::pin(asker.fetch.read(found, 0..u64::MAX));
    let mut got = pieces.next().await.unwrap().unwrap().to_vec();
    let tasks = holders[0].tasks.take().unwrap();
    drop(tasks);
    let rest = async {
        while let Some(piece) = pieces.next().await {
            got.extend_from_slice(&piece.unwrap());
        }
    };
    tokio::time::timeout(WITHIN, rest).await.unwrap();
    assert!(got == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_want_the_same_share_one_transfer() {
    let bytes = Arc::new(content(1_500_000, 5));
    let (asker, _holders, id) = federation(2, &bytes).await;
    let asker = Arc::new(asker);
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let (asker, bytes) = (Arc::clone(&asker), Arc::clone(&bytes));
        clients.spawn(async move { assert!(asker.get_all(id).await.unwrap() == *bytes) });
    }
    clients.join_all().await;
    let metrics = asker.fetch.metrics();
    assert_eq!((metrics.searches(), metrics.transfers()), (1, 1));
    assert_eq!(metrics.bytes_in(), bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_takes_nothing_does_not_hold_up_another_and_memory_stays_bounded() {
    let bytes = content(12_000_000, 6);
    let (asker, _holders, id) = federation(1, &bytes).await;
    let found = asker.fetch.find(id).await.unwrap();
    let mut slow = Box::pin(asker.fetch.read(found.clone(), 0..u64::MAX));
    let first = slow.next().await.unwrap().unwrap();
    let came = asker.fetch.metrics().bytes_in();
    assert!(came <= brisk().buffer_bytes_each + (1 << 20), "{came} bytes for one who takes nothing");
    assert!(asker.get_all(id).await.unwrap() == bytes);
    let mut got = first.to_vec();
    while let Some(piece) = slow.next().await {
        got.extend_from_slice(&piece.unwrap());
    }
    assert!(got == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_ends_when_nobody_wants_it_any_more() {
    let bytes = content(12_000_000, 7);
    let (asker, _holders, id) = federation(1, &bytes).await;
    let found = asker.fetch.find(id).await.unwrap();
    let mut pieces = Box::pin(asker.fetch.read(found, 0..u64::MAX));
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    let until = Instant::now() + WITHIN;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while asker.fetch.metrics().under_way.get() > 0 {
        assert!(Instant::now() < until, "it goes on");
        looks.tick().await;
    }
    assert!(asker.fetch.metrics().bytes_in() < bytes.len() as u64);
}

/// What a node answers to exactly these bytes.
async fn answer_to(asker: &Member, holder: &Member, question: &[u8]) -> Vec<u8> {
    let mut stream = asker.swarm.open_stream(holder.key, WITHIN).await.unwrap();
    let length = u8::try_from(question.len()).unwrap();
    stream.write_all(&[&[length][..], question].concat()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(WITHIN, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_cannot_be_answered_are_refused() {
    let (asker, holders, id) = federation(1, &content(100_000, 8)).await;
    for (start, end) in [(0, 0), (1, 100_000), (0, 5), (16_384, 16_384), (0, 100_001), (u64::MAX, 0)] {
        let question = BlobAsk::new(&id, BlobWant::Range { start, end }).encode().unwrap();
        assert_eq!(answer_to(&asker, &holders[0], &question).await, [2], "{start}..{end}");
    }
    let absent = BlobAsk::new(&AssetId::of(b"absent"), BlobWant::Head).encode().unwrap();
    assert_eq!(answer_to(&asker, &holders[0], &absent).await, [3]);
    let penalised = |holder: &Member| holder.swarm.metrics().offences(swarm::Offence::Malformed);
    assert_eq!(penalised(&holders[0]), 0);
    for question in [&b"\x01"[..], &[7; 100]] {
        assert_eq!(answer_to(&asker, &holders[0], question).await, [2]);
    }
    let until = Instant::now() + WITHIN;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while penalised(&holders[0]) < 2 {
        assert!(Instant::now() < until, "nobody is blamed");
        looks.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_blamed_for_questions_that_were_given_up() {
    let (asker, holders, id) = federation(1, b"here").await;
    for _ in 0..30 {
        drop(asker.swarm.open_stream(holders[0].key, WITHIN).await.unwrap());
        let mut ended = asker.swarm.open_stream(holders[0].key, WITHIN).await.unwrap();
        ended.close().await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(WITHIN, ended.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, b"");
    }
    assert_eq!(asker.get_all(id).await.unwrap(), b"here");
    assert_eq!(holders[0].swarm.metrics().offences(swarm::Offence::Malformed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_stops_when_its_answer_is_no_longer_wanted() {
    let (asker, holders, id) = federation(1, &content(20_000_000, 9)).await;
    for _ in 0..8 {
        let stream = asker.swarm.open_stream(holders[0].key, WITHIN).await.unwrap();
        let stall = Duration::from_secs(10);
        let want = BlobWant::Range { start: 0, end: 20_000_000 };
        let mut content = super::ask::content(stream, &id, 20_000_000, want, stall).await.unwrap();
        assert!(content.next().await.unwrap().is_some());
        assert!(holders[0].swarm.metrics().streams_open() > 0);
    }
    // Far less than the holder gives a peer that takes nothing.
    let until = Instant::now() + Duration::from_secs(15);
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while holders[0].swarm.metrics().streams_open() > 0 {
        assert!(Instant::now() < until, "{} answers go on", holders[0].swarm.metrics().streams_open());
        looks.tick().await;
    }
}
