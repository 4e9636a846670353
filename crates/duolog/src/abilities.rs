//! What this machine can do with media beyond what is built in, found out once at the start.

use anyhow::{Context, Result};
use duolog_audio::codec::{Channels, Codec, G729Library};
use duolog_rtp::dtls::Identity;
use duolog_sip::sdp::Encoding;

use crate::config::{Config, Dtls};

/// What is there.
#[derive(Debug, Clone, Default)]
pub struct Abilities {
    /// The G.729 library; without it payloads of G.729 pass and are kept as received.
    pub g729: Option<G729Library>,
    /// The certificate of this start, where DTLS-SRTP is wanted.
    pub dtls: Option<Identity>,
}

impl Abilities {
    /// Looks for libraries and makes a certificate if it is wanted.
    ///
    /// # Errors
    ///
    /// When no certificate can be made, or a codec is to be transcoded whose library is missing.
    pub fn find(config: &Config) -> Result<Abilities> {
        let g729 = G729Library::open();
        if config.media.transcode.contains(&Encoding::G729)
            && let Err(missing) = &g729
        {
            anyhow::bail!(
                "media.transcode has g729: {missing}; install libbcg729-0 or take it out"
            );
        }
        let dtls = match config.media.dtls {
            Dtls::Off => None,
            Dtls::On => Some(Identity::generate().context("no DTLS certificate can be made")?),
        };
        Ok(Abilities {
            g729: g729.ok(),
            dtls,
        })
    }

    /// The codecs that prompts and tones are encoded in beforehand, besides G.711.
    pub fn prompt_codecs(&self) -> Vec<Codec> {
        let linear = |rate_hz| Codec::L16 {
            rate_hz,
            channels: Channels::Mono,
        };
        let mut codecs = vec![Codec::G722, Codec::Opus, linear(8_000), linear(16_000)];
        if self.g729.is_some() {
            codecs.push(Codec::G729);
        }
        codecs
    }
}
