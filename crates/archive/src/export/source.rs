//! Stored audio on its way back to samples, and its digest on the way.

use crate::digest::{CHUNK_BYTES, Digester};
use crate::format::StoredFormat;
use duolog_audio::container::Layout;
use duolog_audio::container::flac::{self, FlacReadError};
use duolog_audio::container::ogg_opus::{self, OggOpusReadError};
use duolog_audio::container::wav::{self, WavReadError};
use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;
use thiserror::Error;

/// Samples that are read at a time.
const PIECE: usize = 16_384;

/// Why stored audio cannot be decoded.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The Ogg Opus cannot be decoded.
    #[error("the stored Ogg Opus cannot be decoded")]
    Opus(#[from] OggOpusReadError),
    /// The WAV cannot be read.
    #[error("the stored WAV cannot be read")]
    Wav(#[from] WavReadError),
    /// The FLAC cannot be decoded.
    #[error("the stored FLAC cannot be decoded")]
    Flac(#[from] FlacReadError),
}

/// Reads from its start to its end and makes the digest of it. Going back or forth is refused: the
/// digest would be of something else.
pub(super) struct Digesting<R> {
    inner: Rc<RefCell<Inner<R>>>,
}

struct Inner<R> {
    source: R,
    digester: Digester,
    position: u64,
}

impl<R: Read> Digesting<R> {
    pub(super) fn new(source: R) -> Digesting<R> {
        let inner = Inner {
            source,
            digester: Digester::new(CHUNK_BYTES),
            position: 0,
        };
        Digesting {
            inner: Rc::new(RefCell::new(inner)),
        }
    }

    fn another(&self) -> Digesting<R> {
        Digesting {
            inner: Rc::clone(&self.inner),
        }
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let inner = &mut *self.inner.borrow_mut();
        let read = inner.source.read(bytes)?;
        inner.digester.push(&bytes[..read]);
        inner.position += read as u64;
        Ok(read)
    }
}

impl<R: Read> Seek for Digesting<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = self.inner.borrow().position;
        match to {
            SeekFrom::Current(0) => Ok(position),
            SeekFrom::Start(start) if start == position => Ok(position),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Stored audio that is being read.
pub(super) struct Source<R: Read> {
    reader: Reader<R>,
    all: Digesting<R>,
    piece: Vec<i16>,
}

enum Reader<R: Read> {
    Opus(Box<ogg_opus::Reader<Digesting<R>>>),
    Wav(wav::Reader<Digesting<R>>),
    Flac(Box<flac::Reader<Digesting<R>>>),
}

impl<R: Read> Source<R> {
    pub(super) fn open(
        format: StoredFormat,
        stored: Digesting<R>,
    ) -> Result<Source<R>, SourceError> {
        let all = stored.another();
        let reader = match format {
            StoredFormat::OggOpus => Reader::Opus(Box::new(ogg_opus::Reader::open(stored)?)),
            StoredFormat::Flac => Reader::Flac(Box::new(flac::Reader::open(stored)?)),
            StoredFormat::WavPcm16 | StoredFormat::WavMulaw | StoredFormat::WavAlaw => {
                Reader::Wav(wav::Reader::open(stored)?)
            }
        };
        Ok(Source {
            reader,
            all,
            piece: vec![0; PIECE],
        })
    }

    pub(super) fn layout(&self) -> Layout {
        match &self.reader {
            Reader::Opus(reader) => reader.layout(),
            Reader::Wav(reader) => reader.layout(),
            Reader::Flac(reader) => reader.layout(),
        }
    }

    /// Samples per second and channel.
    pub(super) fn rate_hz(&self) -> u32 {
        match &self.reader {
            Reader::Opus(reader) => reader.sample_rate_hz(),
            Reader::Wav(reader) => reader.sample_rate_hz(),
            Reader::Flac(reader) => reader.sample_rate_hz(),
        }
    }

    /// The next interleaved samples, whole frames; none at the end.
    pub(super) fn next_samples(&mut self) -> Result<Option<&[i16]>, SourceError> {
        Ok(match &mut self.reader {
            Reader::Opus(reader) => reader.next_samples()?,
            Reader::Flac(reader) => reader.next_samples()?,
            Reader::Wav(reader) => {
                let read = reader.read(&mut self.piece)?;
                (read > 0).then(|| &self.piece[..read])
            }
        })
    }

    /// The SHA-256 of all of it, read or not.
    pub(super) fn into_digest(self) -> io::Result<String> {
        let Source {
            reader, mut all, ..
        } = self;
        io::copy(&mut all, &mut io::sink())?;
        drop(reader);
        let inner = Rc::into_inner(all.inner);
        let inner = inner.expect("the reader, which held the other one, is gone");
        Ok(inner.into_inner().digester.finish().sha256)
    }
}
