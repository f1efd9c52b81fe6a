//! Where the tested binary is. `ASSETMESH_BIN` names one; else it is built once by the cargo that runs
//! the tests, in the profile of the tests; else the one beside them in `target/` is taken.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// The path of the `assetmesh` binary under test.
///
/// # Panics
/// If there is none and it cannot be built: nothing can be tested then.
#[must_use]
pub fn binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find().unwrap_or_else(|error| panic!("no binary to test: {error:#}")))
}

/// Runs `assetmesh verify --all` on the data folder of a stopped node.
pub(crate) fn verify_all(data_dir: &Path) -> Result<Output> {
    Command::new(binary())
        .args(["verify", "--all", "--data-dir"])
        .arg(data_dir)
        .output()
        .context("run verify")
}

fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os("ASSETMESH_BIN") {
        let path = PathBuf::from(named);
        ensure!(path.is_file(), "ASSETMESH_BIN names {}, which is no file", path.display());
        return Ok(path);
    }
    let folder = profile_folder()?;
    if let Some(cargo) = env::var_os("CARGO") {
        build(Path::new(&cargo), &folder)?;
    }
    let path = folder.join("assetmesh");
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo build -p assetmesh` or set ASSETMESH_BIN",
        path.display()
    );
    Ok(path)
}

/// `target/<profile>`: the running program is in it, or in its `deps` folder if it is a test.
fn profile_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("where this program is")?;
    let folder = program.parent().context("this program is in no folder")?;
    let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(profile.context("this program is in no profile folder")?.to_path_buf())
}

fn build(cargo: &Path, folder: &Path) -> Result<()> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => bail!("{} names no profile", folder.display()),
    };
    let target = folder.parent().context("a profile folder is in a target folder")?;
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "assetmesh", "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("start cargo")?;
    ensure!(built.status.success(), "cargo build: {}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}
