//! What goes with a folder in which another user has left what the node may not remove.

use std::os::unix::fs::chown;
use std::thread;

use rustix::fs::Uid;
use rustix::process::geteuid;

use super::*;

const NOBODY: u32 = 65534;

/// Runs as a user who may not do everything, on a thread of its own.
fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let run = || {
        if geteuid().is_root() {
            let nobody = Uid::from_raw(NOBODY);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// A folder that the user of [`unprivileged`] cannot empty: of another user, or closed to its own.
fn make_stuck(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::write(path.join("result"), "x").unwrap();
    let mode = if geteuid().is_root() { 0o755 } else { 0 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A root that the user of [`unprivileged`] owns.
fn owned_root() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = parent.path().join("staging");
    fs::create_dir(&path).unwrap();
    if geteuid().is_root() {
        chown(&path, Some(NOBODY), None).unwrap();
    }
    (parent, path)
}

#[test]
fn what_another_user_left_keeps_no_asset_and_lets_nobody_in() {
    let (_parent, root) = owned_root();
    let staged = unprivileged(|| {
        let folder = Root::open(&root).unwrap().make(Uuid::new_v4()).unwrap();
        for asset in 0..20 {
            fs::write(folder.path().join(asset.to_string()), "an asset").unwrap();
        }
        folder.publish().unwrap();
        folder
    });
    let path = staged.path().to_owned();
    make_stuck(&path.join("outputs"));
    fs::create_dir_all(path.join("scratch/deep")).unwrap();
    fs::set_permissions(path.join("scratch"), fs::Permissions::from_mode(0o777)).unwrap();

    let error = unprivileged(|| staged.remove()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(names(&path), ["outputs"], "nothing else stays");
    assert_eq!(mode(&path), 0o700);

    // A start finds it, and goes on without removing more.
    assert_eq!(unprivileged(|| Root::open(&root).unwrap().sweep()).unwrap(), 0);
    assert_eq!(names(&path), ["outputs"]);
    fs::set_permissions(path.join("outputs"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(Root::open(&root).unwrap().sweep().unwrap(), 1, "a user who may removes it");
}
