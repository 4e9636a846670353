//! A file system of its own: a real ext4 on a loop device, that can be frozen and filled.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What the filler is written in.
const PIECE: usize = 64 * 1_024;

/// A mounted file system. Thawed and unmounted when dropped.
#[derive(Debug)]
pub struct Volume {
    directory: TempDir,
    frozen: bool,
}

impl Volume {
    /// Makes and mounts one of that many MiB, or says why not.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn new(mib: u64) -> Result<Self, String> {
        let directory =
            TempDir::with_prefix("duolog-volume-").map_err(|error| error.to_string())?;
        let image = directory.path().join("image");
        let made = File::create(&image).and_then(|file| file.set_len(mib << 20));
        made.map_err(|error| error.to_string())?;
        let volume = Self {
            directory,
            frozen: false,
        };
        std::fs::create_dir(volume.path()).map_err(|error| error.to_string())?;
        run(
            "mkfs.ext4",
            &[
                "-q".as_ref(),
                "-F".as_ref(),
                "-m".as_ref(),
                "0".as_ref(),
                image.as_path(),
            ],
        )?;
        run(
            "mount",
            &[
                "-o".as_ref(),
                "loop".as_ref(),
                image.as_path(),
                &volume.path(),
            ],
        )?;
        Ok(volume)
    }

    /// One of that many MiB; none where mounting is refused and `DUOLOG_NO_MOUNT` allows that.
    ///
    /// # Panics
    /// When mounting is refused and `DUOLOG_NO_MOUNT` is not set.
    pub fn wanted(mib: u64) -> Option<Self> {
        match Self::new(mib) {
            Ok(volume) => Some(volume),
            Err(why) if std::env::var_os("DUOLOG_NO_MOUNT").is_some() => {
                println!("SKIPPED, as DUOLOG_NO_MOUNT is set: {why}");
                None
            }
            Err(why) => panic!(
                "this test needs a file system of its own, and that is refused: {why}. Run it as \
                 root, or set DUOLOG_NO_MOUNT to leave it out."
            ),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// From here on every write to it blocks.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn freeze(&mut self) {
        self.frozen = true;
        run("fsfreeze", &["-f".as_ref(), &self.path()]).expect("an ext4 can be frozen");
    }

    /// Lets writes go on.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn thaw(&mut self) {
        run("fsfreeze", &["-u".as_ref(), &self.path()]).expect("a frozen ext4 can be thawed");
        self.frozen = false;
    }

    /// Fills it to the last block with a file; answers how many bytes went in.
    ///
    /// # Panics
    /// When writing fails for another reason than a full disk.
    pub fn fill(&self) -> u64 {
        let open = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.filler());
        let mut file = open.expect("the filler can be made");
        let mut written = 0;
        let mut length = PIECE;
        while length >= 512 {
            match file.write(&vec![0x5a; length]) {
                Ok(bytes) => written += bytes as u64,
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => length /= 2,
                Err(error) => panic!("the filler cannot be written: {error}"),
            }
        }
        written
    }

    /// Makes the room again that [`Volume::fill`] took.
    ///
    /// # Panics
    /// When the filler cannot be removed.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("the filler can be removed");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let path = self.path();
        if self.frozen {
            let _ = run("fsfreeze", &["-u".as_ref(), &path]);
        }
        // Lazily: a process that is still being killed may hold a file open.
        if let Err(error) = run("umount", &["-l".as_ref(), &path]) {
            eprintln!("{} stays mounted: {error}", path.display());
        }
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{program}: {}", said.trim()))
}
