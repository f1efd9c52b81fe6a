//! File systems that can be broken: an ext4 whose power is cut, and a tmpfs that is full.
//! Both need root; neither touches anything but its own temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// An ext4 file system in a file. After [`Ext4::cut_power`] nothing more reaches it, and what was
/// never synced is lost: the journal is not flushed.
#[derive(Debug)]
pub struct Ext4 {
    image: PathBuf,
    mount: Mount,
    _folder: TempDir,
}

impl Ext4 {
    /// Makes and mounts one of `bytes`.
    ///
    /// # Errors
    /// If this is not root, or loop devices or mkfs.ext4 are missing.
    pub fn new(bytes: u64) -> Result<Self> {
        let folder = TempDir::new()?;
        let image = folder.path().join("image");
        std::fs::File::create(&image)?.set_len(bytes)?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        let mount = Mount::new(folder.path().join("mount"))?;
        let mut volume = Self { image, mount, _folder: folder };
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount.point
    }

    fn mount(&mut self) -> Result<()> {
        self.mount.mount(&["-o", "loop"], &self.image)
    }

    /// `EXT4_IOC_SHUTDOWN` with NOLOGFLUSH (linux/fs/ext4/ext4.h): from here on every write and sync
    /// of this file system fails. Perl is part of every Debian, and calls an ioctl without `unsafe`.
    ///
    /// # Errors
    /// If the call is refused.
    pub fn cut_power(&self) -> Result<()> {
        const SHUTDOWN: &str = r#"open(my $f, "<", $ARGV[0]) or die "$!"; my $how = pack("L", 2); ioctl($f, 0x8004587d, $how) or die "$!";"#;
        run(Command::new("perl").arg("-e").arg(SHUTDOWN).arg(self.path()))
    }

    /// Mounts it again after a cut. Nothing may have a file of it open.
    ///
    /// # Errors
    /// If it is still in use, or damaged beyond its journal.
    pub fn restore_power(&mut self) -> Result<()> {
        self.mount.unmount()?;
        self.mount()
    }
}

/// A tmpfs of a fixed size.
#[derive(Debug)]
pub struct Tmpfs {
    mount: Mount,
    _folder: TempDir,
}

impl Tmpfs {
    /// Mounts one of `bytes`.
    ///
    /// # Errors
    /// If this is not root.
    pub fn new(bytes: u64) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut mount = Mount::new(folder.path().join("mount"))?;
        mount.mount(&["-t", "tmpfs", "-o", &format!("size={bytes}")], Path::new("tmpfs"))?;
        Ok(Self { mount, _folder: folder })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount.point
    }

    /// Changes its size while it is in use.
    ///
    /// # Errors
    /// If more than that is stored already.
    pub fn resize(&self, bytes: u64) -> Result<()> {
        run(Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(self.path()))
    }
}

/// A mount that ends with its value.
#[derive(Debug)]
struct Mount {
    point: PathBuf,
    mounted: bool,
}

impl Mount {
    fn new(point: PathBuf) -> Result<Self> {
        std::fs::create_dir(&point).context("make a mount point")?;
        Ok(Self { point, mounted: false })
    }

    fn mount(&mut self, arguments: &[&str], source: &Path) -> Result<()> {
        run(Command::new("mount").args(arguments).arg(source).arg(&self.point))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        run(Command::new("umount").arg(&self.point))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            // Lazy, because a node that outlived its test may still have files open.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.point));
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", errors.trim());
    Ok(())
}
