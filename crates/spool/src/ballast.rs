//! A file that holds room for facts and seals on a full disk: removed when room is needed, made
//! again when there is room.

use crate::disk::{Disk, DiskError};
use crate::splitmix::SplitMix;

pub(crate) const NAME: &str = "ballast";

/// Makes the ballast; that it could be made proves that there is room.
pub(crate) fn make<D: Disk>(disk: &mut D, bytes: u64) -> Result<(), DiskError> {
    let file = disk.create(NAME)?;
    let made = fill(disk, file, bytes);
    disk.close(file);
    if made.is_err() {
        // A half-made ballast would only take the room away; when it cannot be removed either,
        // the error below says enough.
        let _ = disk.remove(NAME);
    }
    made
}

fn fill<D: Disk>(disk: &mut D, file: crate::FileId, bytes: u64) -> Result<(), DiskError> {
    // Noise: a file system that compresses or leaves out zeros would keep no room.
    let mut noise = SplitMix(bytes);
    let mut left = bytes;
    while left > 0 {
        let length = left.min(64 * 1024);
        let block: Vec<u8> = (0..length.div_ceil(8))
            .flat_map(|_| noise.draw().to_le_bytes())
            .collect();
        disk.append(file, &block[..length as usize])?;
        left -= length;
    }
    match disk.sync(&[file]).pop() {
        Some(failure) => Err(failure.error),
        None => disk.sync_dir(),
    }
}

/// Whether the directory holds the whole ballast. A shorter one, left by a crash, is removed.
pub(crate) fn found<D: Disk>(disk: &mut D, bytes: u64) -> Result<bool, DiskError> {
    let Some(file) = disk.list()?.into_iter().find(|file| file.name == NAME) else {
        return Ok(false);
    };
    if file.bytes != bytes {
        disk.remove(NAME)?;
    }
    Ok(file.bytes == bytes)
}
