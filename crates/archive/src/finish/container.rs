//! Step 2: the container, in a file that has no name and goes with the process.

use super::{Assembled, StepError};
use crate::archive::Spool;
use crate::digest::{CHUNK_BYTES, Digester, Digests};
use crate::encode::{self, Choice, OpusShape};
use crate::manifest::Level;
use duolog_spool::Reader;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// A container in a file without a name.
#[derive(Debug)]
pub(super) struct EncodedAudio {
    pub(super) file: File,
    pub(super) choice: Choice,
    pub(super) digests: Digests,
    pub(super) levels: [Level; 2],
}

/// Step 2, on a thread of its own.
pub(super) fn encode_into<S: Spool>(
    spool: &S,
    scratch: PathBuf,
    assembled: &Assembled,
    choice: Choice,
    opus: &OpusShape,
) -> Result<EncodedAudio, StepError> {
    let disk = spool.disk()?;
    let reader = Reader::open(&disk, assembled.recording)?;
    let frames = reader.map(|numbered| Ok(numbered?.frame));
    let mut file = tempfile::tempfile_in(scratch)?;
    let mut buffered = BufWriter::new(&file);
    let timeline = &assembled.timeline;
    let levels = encode::encode(timeline, choice.format, opus, frames, &mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    let digests = digest_file(&mut file)?;
    Ok(EncodedAudio {
        file,
        choice,
        digests,
        levels,
    })
}

fn digest_file(file: &mut File) -> Result<Digests, std::io::Error> {
    file.seek(SeekFrom::Start(0))?;
    let mut digester = Digester::new(CHUNK_BYTES);
    let mut piece = vec![0; CHUNK_BYTES as usize];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(digester.finish()),
            Ok(read) => digester.push(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
