//! What is left on disk after every ending, who may read what, and what a neighbour's folder is safe from.

mod removal;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::{poll, stream};
use rstest::rstest;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// Staging in a folder of its own, and what runs it.
struct Stage {
    folder: TempDir,
    tasks: Tasks,
    staging: Staging,
}

impl Stage {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut tasks = Tasks::default();
        let staging = Staging::start(&mut tasks, &folder.path().join("staging"), config).unwrap();
        Self { folder, tasks, staging }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("staging")
    }

    fn names(&self) -> Vec<String> {
        names(&self.root())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn content(bytes: &[u8]) -> Content {
    let (hash, size) = (blake3::hash(bytes).into(), bytes.len() as u64);
    Content { asset: Uuid::new_v4(), hash, size, origin: Origin::Here }
}

fn pieces(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + use<> {
    let pieces: Vec<_> = bytes.chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_container_finds_what_was_staged_and_nothing_stays() {
    let stage = Stage::new();
    let mut invocation = stage.staging.enter("acme", 2).unwrap();
    let path = invocation.open(30).await.unwrap();
    assert_eq!(path, stage.root().join(invocation.id().to_string()));
    assert_eq!(mode(&path), 0o700, "nobody looks in before all is there");
    let (one, two) = (content(b"a cat of 17 bytes"), content(b""));
    invocation.add(one, pieces(b"a cat of 17 bytes")).await.unwrap();
    invocation.add(two, pieces(b"")).await.unwrap();
    invocation.publish().unwrap();
    assert_eq!(mode(&stage.root()), 0o755);
    assert_eq!(mode(&path), 0o777);
    let file = path.join(one.asset.to_string());
    assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"a cat of 17 bytes".to_vec(), 0o644));
    assert_eq!(stage.staging.held(), (1, 30));
    invocation.close().await;
    assert!(stage.names().is_empty());
    assert_eq!(stage.staging.held(), (0, 0));
}

#[tokio::test]
async fn what_the_container_leaves_goes_too_and_links_are_not_followed() {
    let stage = Stage::new();
    let outside = stage.folder.path().join("outside");
    fs::write(&outside, "stays").unwrap();
    let mut invocation = stage.staging.enter("acme", 0).unwrap();
    let path = invocation.open(0).await.unwrap();
    fs::create_dir_all(path.join("a/b")).unwrap();
    fs::write(path.join("a/b/c"), "x").unwrap();
    symlink(stage.folder.path(), path.join("a/up")).unwrap();
    invocation.close().await;
    assert!(stage.names().is_empty());
    assert_eq!(fs::read_to_string(outside).unwrap(), "stays");
}

#[rstest]
#[case::another_byte(b"other bytes", 11)]
#[case::too_few(b"right byte", 11)]
#[case::too_many(b"right bytes and", 11)]
#[case::a_wrong_size(b"right bytes", 12)]
#[tokio::test]
async fn wrong_bytes_are_named_and_never_readable(#[case] sent: &'static [u8], #[case] size: u64) {
    let stage = Stage::new();
    let mut invocation = stage.staging.enter("acme", 1).unwrap();
    let path = invocation.open(size).await.unwrap();
    let content = Content { size, ..content(b"right bytes") };
    let error = invocation.add(content, pieces(sent)).await.unwrap_err();
    assert!(matches!(error, Error::Damaged(asset) if asset == content.asset), "{error}");
    assert_eq!(mode(&path.join(content.asset.to_string())), 0o600);
    drop(invocation);
    finish(stage).await;
}

#[tokio::test]
async fn a_source_that_breaks_off_is_named() {
    let stage = Stage::new();
    let mut invocation = stage.staging.enter("acme", 1).unwrap();
    invocation.open(3).await.unwrap();
    let broken = stream::iter([Ok(Bytes::from_static(b"ab")), Err(io::Error::other("gone"))]);
    let error = invocation.add(content(b"abc"), broken).await.unwrap_err();
    assert!(matches!(&error, Error::Source(_, reason) if reason.contains("gone")), "{error}");
    drop(invocation);
    finish(stage).await;
}

/// Waits, but not for ever.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), what).await.expect("it should be done by now")
}

#[tokio::test]
async fn sources_elsewhere_that_send_nothing_do_not_hold_up_what_is_here() {
    let config = Config { writers_max: 1, receivers_max: 3, ..Config::default() };
    let stage = Stage::with(config);
    let mut invocation = stage.staging.enter("acme", 5).unwrap();
    invocation.open(30).await.unwrap();
    let slow = || {
        let content = Content { origin: Origin::Elsewhere, ..content(b"late") };
        invocation.add(content, stream::pending::<Result<Bytes, io::Error>>())
    };
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(slow())).collect();
    for add in waiting.iter_mut().take(2) {
        assert!(poll!(add).is_pending());
    }
    let quick = Content { origin: Origin::Elsewhere, ..content(b"quick") };
    soon(invocation.add(quick, pieces(b"quick"))).await.unwrap();
    assert!(poll!(&mut waiting[2]).is_pending());
    soon(invocation.add(content(b"here"), pieces(b"here"))).await.unwrap();

    // Nobody is asked for a byte before there is a turn to write it.
    let asked = AtomicBool::new(false);
    let bytes = stream::poll_fn(|_| {
        asked.store(true, Ordering::Relaxed);
        Poll::Ready(None::<Result<Bytes, io::Error>>)
    });
    let mut queued = Box::pin(invocation.add(Content { origin: Origin::Elsewhere, ..content(b"") }, bytes));
    assert!(poll!(&mut queued).is_pending() && !asked.load(Ordering::Relaxed));
    drop(waiting);
    soon(queued).await.unwrap();
    drop(invocation);
    finish(stage).await;
}

#[tokio::test]
async fn an_account_whose_sources_send_nothing_leaves_turns_to_others() {
    let stage = Stage::with(Config { receivers_max: 4, ..Config::default() });
    let enter = async |account| {
        let mut invocation = stage.staging.enter(account, 8).unwrap();
        invocation.open(50).await.unwrap();
        invocation
    };
    let (one, two, other) = (enter("acme").await, enter("acme").await, enter("other").await);
    let far = |bytes| Content { origin: Origin::Elsewhere, ..content(bytes) };
    let slow = || stream::pending::<Result<Bytes, io::Error>>();
    let of = [&one, &two].repeat(4);
    let mut waiting: Vec<_> = of.into_iter().map(|of| Box::pin(of.add(far(b"late"), slow()))).collect();
    for add in &mut waiting {
        assert!(poll!(add).is_pending());
    }
    soon(other.add(far(b"quick"), pieces(b"quick"))).await.unwrap();
    // All its turns are given back.
    drop(waiting);
    soon(one.add(far(b"quick"), pieces(b"quick"))).await.unwrap();
    drop((one, two, other));
    finish(stage).await;
}

/// At a stop everything that was let go is gone.
async fn finish(stage: Stage) {
    let Stage { folder, tasks, staging } = stage;
    tasks.finish().await;
    assert!(names(&folder.path().join("staging")).is_empty());
    assert_eq!(staging.held(), (0, 0));
}

#[tokio::test]
async fn what_ends_after_the_stop_is_removed_too() {
    let stage = Stage::new();
    let mut late = stage.staging.enter("acme", 0).unwrap();
    late.open(5).await.unwrap();
    let Stage { folder, tasks, staging } = stage;
    tasks.finish().await;
    late.close().await;
    assert!(names(&folder.path().join("staging")).is_empty());
    assert_eq!(staging.held(), (0, 0));
}

#[tokio::test]
async fn a_folder_whose_maker_was_given_up_is_removed() {
    let stage = Stage::new();
    let path = stage.staging.shared.root.make(Uuid::new_v4()).unwrap().path().to_owned();
    assert!(!path.exists() && stage.names().is_empty());
}

#[tokio::test]
async fn a_place_is_given_back_even_without_a_folder() {
    let config = Config { invocations_max: 1, bytes_max: 10, assets_max: 2, ..Config::default() };
    let stage = Stage::with(config);
    assert!(matches!(stage.staging.enter("acme", 3), Err(Error::TooMany(3, 2))));
    let mut first = stage.staging.enter("acme", 2).unwrap();
    assert!(matches!(stage.staging.enter("acme", 0), Err(Error::Busy(1))));
    assert!(matches!(first.open(11).await, Err(Error::TooLarge(11))));
    drop(first);
    let mut second = stage.staging.enter("acme", 0).unwrap();
    second.open(10).await.unwrap();
    second.close().await;
    assert_eq!(stage.staging.held(), (0, 0));
}

#[tokio::test]
async fn the_folders_of_a_dead_process_go_and_nothing_else() {
    let stage = Stage::new();
    let (dead, link, file) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let upper = Uuid::new_v4().to_string().to_uppercase();
    let simple = Uuid::new_v4().simple().to_string();
    let root = stage.root();
    for name in [dead.to_string(), upper.clone(), simple.clone(), "models".to_owned()] {
        fs::create_dir(root.join(&name)).unwrap();
        fs::write(root.join(name).join("file"), "x").unwrap();
    }
    symlink(root.join("models"), root.join(link.to_string())).unwrap();
    fs::write(root.join(file.to_string()), "x").unwrap();
    let mut living = stage.staging.enter("acme", 0).unwrap();
    living.open(0).await.unwrap();
    let living_id = living.id();

    let mut tasks = Tasks::default();
    let neighbour = Staging::start(&mut tasks, &root, Config::default()).unwrap();
    let kept =
        [living_id.to_string(), link.to_string(), file.to_string(), upper, simple, "models".to_owned()];
    let mut kept = kept.to_vec();
    kept.sort();
    assert_eq!(stage.names(), kept);
    assert_eq!(fs::read(root.join("models/file")).unwrap(), b"x");
    drop((living, neighbour));
}

#[tokio::test]
async fn neighbours_that_start_all_the_time_take_no_folder_away() {
    let stage = Stage::new();
    let root = stage.root();
    let neighbour = std::thread::spawn(move || {
        for _ in 0..200 {
            Root::open(&root).unwrap().sweep().unwrap();
        }
    });
    let mut made = 0;
    while !neighbour.is_finished() || made == 0 {
        let mut invocation = stage.staging.enter("acme", 0).unwrap();
        let path = invocation.open(0).await.unwrap();
        fs::write(path.join("result"), "x").unwrap();
        invocation.close().await;
        made += 1;
    }
    neighbour.join().unwrap();
    assert!(stage.names().is_empty());
}

#[tokio::test]
async fn a_root_that_is_a_link_or_a_file_is_refused() {
    let stage = Stage::new();
    let mut tasks = Tasks::default();
    let link = stage.folder.path().join("link");
    symlink(stage.root(), &link).unwrap();
    let error = Staging::start(&mut tasks, &link, Config::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotAFolder(_)), "{error}");
    let file = stage.folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Staging::start(&mut tasks, &file, Config::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotAFolder(_)), "{error}");
}
