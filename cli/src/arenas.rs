//! How much memory the system's allocator may hold back. It gives each thread one of eight arenas a processor, and each
//! arena keeps the most that was ever in use in it; a node has many threads that hand large pieces on to each other.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread::available_parallelism;

/// What the allocator reads, when a program starts and only then.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// As above, and what is set there is meant.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Says that this was done: the loader takes the others away from a program that has capabilities.
const DONE: &str = "ASSETMESH_BEGUN_ANEW";
/// Fewer make threads wait for each other.
const ARENAS_MIN: usize = 2;

/// Begins the program anew with one arena for each processor, unless somebody has set how many. Where that is not
/// possible, or the allocator is another, the node only needs more memory.
pub(crate) fn bound() {
    let is_set = |name| std::env::var_os(name).is_some();
    if !cfg!(target_env = "gnu") || [ARENAS, TUNABLES, DONE].into_iter().any(is_set) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("assetmesh"));
    let arenas = available_parallelism().map_or(ARENAS_MIN, NonZeroUsize::get).max(ARENAS_MIN);
    // It comes back only if it fails.
    let _ = Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(ARENAS, arenas.to_string())
        .env(DONE, "1")
        .exec();
}
