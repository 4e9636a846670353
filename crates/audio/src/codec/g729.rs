//! G.729 through libbcg729, which is loaded at run time where it is installed.
//!
//! The library is under the GPL, so it is never linked: who installs it decides about its licence.
//!
//! The only file of this crate with unsafe code. It keeps the library loaded for as long as one of
//! its contexts lives, gives it buffers of its own of the sizes it reads and writes, and hands out
//! plain samples and octets.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::Library;
use thiserror::Error;

/// The library's name with the version of its interface.
const LIBRARY: &str = "libbcg729.so.0";
/// Samples of a frame: 10 ms.
pub(super) const FRAME: usize = 80;
/// Octets of a frame of speech.
const SPEECH_BYTES: usize = 10;
/// Octets of a silence description (Annex B).
const SILENCE_BYTES: usize = 2;

type Decode = unsafe extern "C" fn(*mut c_void, *const u8, u8, u8, u8, u8, *mut i16);
type Encode = unsafe extern "C" fn(*mut c_void, *const i16, *mut u8, *mut u8);

/// The functions that are called, and the library that they stand in.
struct Functions {
    open_decoder: unsafe extern "C" fn() -> *mut c_void,
    close_decoder: unsafe extern "C" fn(*mut c_void),
    decode: Decode,
    open_encoder: unsafe extern "C" fn(u8) -> *mut c_void,
    close_encoder: unsafe extern "C" fn(*mut c_void),
    encode: Encode,
    /// Unloaded when the last context is gone.
    _library: Library,
}

/// The G.729 library, loaded. Clones share it.
#[derive(Clone)]
pub struct G729Library {
    functions: Arc<Functions>,
}

impl fmt::Debug for G729Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LIBRARY)
    }
}

/// The G.729 library is not installed, or is not the one that is known here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no G.729 library: {reason}")]
pub struct G729Missing {
    /// What the loader says.
    pub reason: String,
}

impl G729Library {
    /// Loads `libbcg729.so.0` from where the system keeps its libraries.
    ///
    /// # Errors
    /// [`G729Missing`] when it is not there or lacks one of the functions that are called.
    pub fn open() -> Result<G729Library, G729Missing> {
        Self::open_named(LIBRARY)
    }

    fn open_named(name: &str) -> Result<G729Library, G729Missing> {
        let missing = |error: libloading::Error| G729Missing {
            reason: error.to_string(),
        };
        // SAFETY: libbcg729 has no initialisers or finalisers of its own, and any other library of
        // that name is refused below before one of its functions is called.
        let library = unsafe { Library::new(name) }.map_err(missing)?;
        /// # Safety
        /// `F` must be the type of the function called `name` in `library`.
        unsafe fn function<F: Copy>(
            library: &Library,
            name: &[u8],
        ) -> Result<F, libloading::Error> {
            // SAFETY: as promised by the caller.
            unsafe { library.get::<F>(name) }.map(|symbol| *symbol)
        }
        // SAFETY: these are the types of bcg729/decoder.h and bcg729/encoder.h since version 1.0.2, in
        // which bcg729GetRFC3389Payload came and which have not changed since. The pointers are used
        // only while `Functions` keeps the library loaded.
        let functions = unsafe {
            function::<*const c_void>(&library, b"bcg729GetRFC3389Payload\0").map_err(missing)?;
            Functions {
                open_decoder: function(&library, b"initBcg729DecoderChannel\0").map_err(missing)?,
                close_decoder: function(&library, b"closeBcg729DecoderChannel\0")
                    .map_err(missing)?,
                decode: function(&library, b"bcg729Decoder\0").map_err(missing)?,
                open_encoder: function(&library, b"initBcg729EncoderChannel\0").map_err(missing)?,
                close_encoder: function(&library, b"closeBcg729EncoderChannel\0")
                    .map_err(missing)?,
                encode: function(&library, b"bcg729Encoder\0").map_err(missing)?,
                _library: library,
            }
        };
        Ok(G729Library {
            functions: Arc::new(functions),
        })
    }
}

/// Samples of a payload of `bytes` octets: frames of ten octets, at the end perhaps a silence
/// description of two, each 10 ms (RFC 3551 §4.5.6). `None` for any other length.
pub(super) fn samples(bytes: usize) -> Option<usize> {
    match bytes % SPEECH_BYTES {
        0 => Some(bytes / SPEECH_BYTES * FRAME),
        SILENCE_BYTES => Some((bytes / SPEECH_BYTES + 1) * FRAME),
        _ => None,
    }
}

/// What the library is told about ten milliseconds.
#[derive(Clone, Copy)]
enum Frame<'a> {
    Speech(&'a [u8; SPEECH_BYTES]),
    /// Ten octets of which the library reads two.
    Silence(&'a [u8; SPEECH_BYTES]),
    Lost,
}

/// Decodes one stream.
pub(super) struct Decoder {
    context: NonNull<c_void>,
    library: G729Library,
}

// SAFETY: a context is plain memory of the library's own, not tied to a thread; `&mut self` on every
// call keeps two threads from using it at once. The library has no state outside its contexts.
unsafe impl Send for Decoder {}

impl Decoder {
    /// `None` when the library has no memory.
    pub(super) fn new(library: &G729Library) -> Option<Self> {
        // SAFETY: the function takes nothing and gives a context or null.
        let context = NonNull::new(unsafe { (library.functions.open_decoder)() })?;
        let library = library.clone();
        Some(Self { context, library })
    }

    /// Appends the sound of `payload`, whose length [`samples`] knows.
    pub(super) fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let (speech, rest) = payload.as_chunks::<SPEECH_BYTES>();
        for frame in speech {
            self.frame(Frame::Speech(frame), out);
        }
        if let [first, second] = *rest {
            let mut description = [0; SPEECH_BYTES];
            description[..SILENCE_BYTES].copy_from_slice(&[first, second]);
            self.frame(Frame::Silence(&description), out);
        }
    }

    /// Appends 10 ms for a frame that did not come: what came before fades, or after a silence
    /// description its noise goes on (§4.4, Annex B §B.4.4).
    pub(super) fn conceal(&mut self, out: &mut Vec<i16>) {
        self.frame(Frame::Lost, out);
    }

    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<i16>) {
        let (bytes, length, lost, silence) = match frame {
            Frame::Speech(bytes) => (bytes, SPEECH_BYTES as u8, 0, 0),
            Frame::Silence(bytes) => (bytes, SILENCE_BYTES as u8, 0, 1),
            Frame::Lost => (&[0; SPEECH_BYTES], 0, 1, 0),
        };
        let mut signal = [0_i16; FRAME];
        // SAFETY: the context is this decoder's and not closed; the library reads at most ten octets
        // of `bytes` and writes 80 samples, which is what both hold.
        unsafe {
            let (context, signal) = (self.context.as_ptr(), signal.as_mut_ptr());
            (self.library.functions.decode)(
                context,
                bytes.as_ptr(),
                length,
                lost,
                silence,
                0,
                signal,
            );
        }
        out.extend_from_slice(&signal);
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context came from this library and is not used again.
        unsafe { (self.library.functions.close_decoder)(self.context.as_ptr()) }
    }
}

/// Encodes one stream, without silence suppression.
pub(super) struct Encoder {
    context: NonNull<c_void>,
    library: G729Library,
}

// SAFETY: as for the decoder.
unsafe impl Send for Encoder {}

impl Encoder {
    /// `None` when the library has no memory.
    pub(super) fn new(library: &G729Library) -> Option<Self> {
        // SAFETY: the function takes a flag (0: no voice activity detection) and gives a context or null.
        let context = NonNull::new(unsafe { (library.functions.open_encoder)(0) })?;
        let library = library.clone();
        Some(Self { context, library })
    }

    /// Appends the ten octets of 10 ms.
    pub(super) fn encode(&mut self, frame: &[i16; FRAME], payload: &mut Vec<u8>) {
        let (mut bytes, mut length) = ([0_u8; SPEECH_BYTES], 0_u8);
        // SAFETY: the context is this encoder's and not closed; the library reads 80 samples, writes
        // at most ten octets and one length, which is what the buffers hold.
        unsafe {
            let context = self.context.as_ptr();
            let (frame, bytes) = (frame.as_ptr(), bytes.as_mut_ptr());
            (self.library.functions.encode)(context, frame, bytes, &raw mut length);
        }
        payload.extend_from_slice(&bytes);
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the context came from this library and is not used again.
        unsafe { (self.library.functions.close_encoder)(self.context.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure;

    #[test]
    fn a_library_that_is_not_there_or_another_one_is_refused_with_a_reason() {
        let missing =
            G729Library::open_named("libbcg729-of-nowhere.so.9").expect_err("no such file");
        assert!(
            missing.to_string().contains("libbcg729-of-nowhere"),
            "{missing}"
        );
        let other = G729Library::open_named("libc.so.6").expect_err("the wrong library");
        assert!(other.to_string().contains("bcg729"), "{other}");
    }

    /// The library, or a loud word that nothing was tested.
    fn library(test: &str) -> Option<G729Library> {
        match G729Library::open() {
            Ok(library) => Some(library),
            Err(missing) => {
                eprintln!("SKIPPED, NOTHING TESTED: {test}: {missing} (Debian: libbcg729-0)");
                None
            }
        }
    }

    fn hum(frames: usize) -> Vec<[i16; FRAME]> {
        let at = |n: usize| {
            (6_000.0 * (n as f64 * 0.157).sin() + 3_000.0 * (n as f64 * 0.4).sin()) as i16
        };
        (0..frames)
            .map(|f| std::array::from_fn(|n| at(f * FRAME + n)))
            .collect()
    }

    #[test]
    fn a_stream_is_heard_at_its_level_and_a_lost_frame_is_filled() {
        let Some(library) = library("G.729 concealment") else {
            return;
        };
        let mut encoder = Encoder::new(&library).expect("memory");
        let mut decoder = Decoder::new(&library).expect("memory");
        let (mut payload, mut heard) = (Vec::new(), Vec::new());
        for (at, frame) in hum(100).iter().enumerate() {
            payload.clear();
            encoder.encode(frame, &mut payload);
            assert_eq!(payload.len(), 10);
            match at {
                60 | 61 => decoder.conceal(&mut heard),
                _ => decoder.decode(&payload, &mut heard),
            }
        }
        assert_eq!(heard.len(), 100 * FRAME);
        let level = |frames: std::ops::Range<usize>| {
            measure::rms_dbfs(&heard[frames.start * FRAME..frames.end * FRAME])
        };
        let speech = measure::rms_dbfs(&hum(50).concat());
        assert!(
            (level(20..60) - speech).abs() < 1.5,
            "{} for {speech}",
            level(20..60)
        );
        assert!(level(60..61) > speech - 6.0, "{}", level(60..61));
    }

    #[test]
    fn silence_descriptions_give_noise_that_goes_on() {
        let Some(library) = library("G.729 Annex B") else {
            return;
        };
        let mut decoder = Decoder::new(&library).expect("memory");
        let mut heard = Vec::new();
        decoder.decode(&[0x52, 0x90], &mut heard);
        for _ in 0..20 {
            decoder.conceal(&mut heard);
        }
        assert_eq!(heard.len(), 21 * FRAME);
        let level = measure::rms_dbfs(&heard[10 * FRAME..]);
        assert!((-80.0..-20.0).contains(&level), "{level} dBFS");
    }

    #[test]
    fn contexts_may_go_to_another_thread_and_outlive_the_handle() {
        fn is_send<T: Send>() {}
        is_send::<Decoder>();
        is_send::<Encoder>();
        let Some(library) = library("G.729 lifetimes") else {
            return;
        };
        let mut decoder = Decoder::new(&library).expect("memory");
        drop(library);
        let mut heard = Vec::new();
        decoder.decode(&[0; 20], &mut heard);
        assert_eq!(heard.len(), 2 * FRAME);
    }
}
