//! Opus through libopus (RFC 6716, RFC 7587).

mod packet;

use opus::{Application, Bitrate};

use self::packet::LONGEST_FRAME_BYTES;
pub(super) use self::packet::Packet;
use super::{Concealed, EncoderSettings};

/// The rates that libopus decodes to, in Hz.
pub(super) const RATES_HZ: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// Lengths of a packet in samples of 48 kHz that libopus makes: 2.5 to 120 ms.
pub(super) const FRAMES: [usize; 9] = [120, 240, 480, 960, 1_920, 2_880, 3_840, 4_800, 5_760];
/// The longest packet that is made: six frames of 20 ms and their framing.
const LARGEST_PACKET_BYTES: usize = 6 * LONGEST_FRAME_BYTES + 16;
/// The rate that is encoded, in Hz.
const ENCODED_RATE_HZ: u32 = 48_000;
/// Concealment is counted in 2.5 ms, 1/400 s.
const CONCEALED_PER_SECOND: usize = 400;

/// Decodes one stream, stereo mixed down.
pub(super) struct Decoder {
    inner: opus::Decoder,
    rate_hz: u32,
    /// The newest packet had no part that can be repeated; libopus needs one to go on from.
    celt_only: bool,
}

impl Decoder {
    pub(super) fn new(rate_hz: u32) -> Result<Self, opus::Error> {
        let inner = opus::Decoder::new(rate_hz, opus::Channels::Mono)?;
        Ok(Self {
            inner,
            rate_hz,
            celt_only: true,
        })
    }

    /// Appends the `samples` of `payload`, or nothing when libopus refuses it.
    pub(super) fn decode(
        &mut self,
        payload: &[u8],
        samples: usize,
        out: &mut Vec<i16>,
    ) -> Result<(), opus::Error> {
        let start = out.len();
        out.resize(start + samples, 0);
        let decoded = self.inner.decode(payload, &mut out[start..], false);
        match decoded {
            Ok(_) => self.celt_only = Packet::parse(payload).is_none_or(|p| p.is_celt_only()),
            Err(_) => out.truncate(start),
        }
        decoded.map(|_| ())
    }

    /// Appends `samples`: the end of them from what `next` repeats, if it does, the rest made up.
    pub(super) fn conceal(
        &mut self,
        samples: usize,
        next: Option<&[u8]>,
        out: &mut Vec<i16>,
    ) -> Concealed {
        let next = next.and_then(|payload| Some((payload, Packet::parse(payload)?)));
        let repeated = next.filter(|(_, packet)| packet.repeats() && !self.celt_only);
        let repeated = repeated.and_then(|(payload, packet)| {
            let length = packet.frame_ticks() * self.rate_hz as usize / ENCODED_RATE_HZ as usize;
            (length <= samples).then_some((payload, length))
        });
        let Some((payload, length)) = repeated else {
            self.make_up(samples, out);
            return Concealed::Synthetic;
        };
        self.make_up(samples - length, out);
        let start = out.len();
        out.resize(start + length, 0);
        match self.inner.decode(payload, &mut out[start..], true) {
            Ok(_) => Concealed::Recovered,
            Err(_) => Concealed::Synthetic,
        }
    }

    fn make_up(&mut self, samples: usize, out: &mut Vec<i16>) {
        let unit = self.rate_hz as usize / CONCEALED_PER_SECOND;
        let end = out.len() + samples;
        while out.len() < end {
            let start = out.len();
            let step = (end - start).min(8 * unit).next_multiple_of(unit);
            out.resize(start + step, 0);
            // A refusal leaves zeros, which is all that is left to say then.
            let _ = self.inner.decode(&[], &mut out[start..], false);
        }
        out.truncate(end);
    }
}

/// Encodes one stream of mono at 48 kHz.
pub(super) struct Encoder {
    inner: opus::Encoder,
}

impl Encoder {
    /// The reason is for people.
    pub(super) fn new(settings: EncoderSettings) -> Result<Self, String> {
        let EncoderSettings {
            opus_bitrate,
            opus_complexity,
            opus_expected_loss_percent,
            ..
        } = settings;
        if !(6_000..=510_000).contains(&opus_bitrate)
            || opus_complexity > 10
            || opus_expected_loss_percent > 100
        {
            return Err(format!("settings out of range: {settings:?}"));
        }
        Self::set_up(settings).map_err(|error| error.to_string())
    }

    /// An encoder whose packets sound the same whatever the decoder heard before. SILK carries gains
    /// and filters from packet to packet, and a gain falls only by so much in a packet (RFC 6716
    /// §4.2.7.4); CELT without prediction does not, and changing to it resets it (§4.5.2).
    pub(super) fn after_anything(settings: EncoderSettings) -> Result<Self, String> {
        let settings = EncoderSettings {
            opus_fec: false,
            opus_expected_loss_percent: 0,
            opus_dtx: false,
            ..settings
        };
        let mut encoder = Self::new(settings)?;
        let celt_only = encoder.inner.set_application(Application::LowDelay);
        let alone = celt_only.and_then(|()| encoder.inner.set_prediction_disabled(true));
        alone.map_err(|error| error.to_string())?;
        Ok(encoder)
    }

    fn set_up(settings: EncoderSettings) -> Result<Self, opus::Error> {
        let mono = opus::Channels::Mono;
        let mut inner = opus::Encoder::new(ENCODED_RATE_HZ, mono, Application::Voip)?;
        inner.set_bitrate(Bitrate::Bits(settings.opus_bitrate as i32))?;
        inner.set_complexity(i32::from(settings.opus_complexity))?;
        inner.set_inband_fec(settings.opus_fec)?;
        inner.set_packet_loss_perc(i32::from(settings.opus_expected_loss_percent))?;
        inner.set_dtx(settings.opus_dtx)?;
        Ok(Self { inner })
    }

    /// Fills `payload` with the packet of `samples`, whose number is one of [`FRAMES`].
    pub(super) fn encode(
        &mut self,
        samples: &[i16],
        payload: &mut Vec<u8>,
    ) -> Result<(), opus::Error> {
        payload.resize(LARGEST_PACKET_BYTES, 0);
        let encoded = self.inner.encode(samples, payload);
        payload.truncate(*encoded.as_ref().unwrap_or(&0));
        encoded.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure;

    /// Something like a voice: a gliding pitch with its harmonics, louder and softer.
    fn voice(frames: usize) -> Vec<Vec<i16>> {
        let mut phase = 0.0_f64;
        let sample = |at: usize| {
            let seconds = at as f64 / 48_000.0;
            phase += std::f64::consts::TAU * (140.0 + 40.0 * (3.0 * seconds).sin()) / 48_000.0;
            let loudness = 0.6 + 0.4 * (11.0 * seconds).sin();
            let harmonics = (1..12).map(|k| (f64::from(k) * phase).sin() / f64::from(k));
            (5_000.0 * loudness * harmonics.sum::<f64>()) as i16
        };
        let samples: Vec<i16> = (0..frames * 960).map(sample).collect();
        samples.chunks(960).map(<[i16]>::to_vec).collect()
    }

    fn packets(settings: EncoderSettings, frames: &[Vec<i16>]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(settings).expect("an encoder");
        let encode = |frame: &Vec<i16>| {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload).expect("20 ms");
            payload
        };
        frames.iter().map(encode).collect()
    }

    fn similarity(a: &[i16], b: &[i16]) -> f64 {
        measure::correlate(a, b).expect("equally long").correlation
    }

    #[test]
    fn a_lost_packet_is_recovered_from_the_next_or_made_up() {
        let settings = EncoderSettings {
            opus_expected_loss_percent: 25,
            opus_bitrate: 24_000,
            ..EncoderSettings::default()
        };
        let packets = packets(settings, &voice(60));
        let mut whole = Vec::new();
        let mut decoder = Decoder::new(48_000).expect("a decoder");
        for packet in &packets {
            decoder.decode(packet, 960, &mut whole).expect("decoded");
        }
        let lose = |lost: std::ops::Range<usize>, last: Option<&[u8]>| {
            let (mut decoder, mut out) = (Decoder::new(48_000).expect("a decoder"), Vec::new());
            for packet in &packets[..lost.start] {
                decoder.decode(packet, 960, &mut out).expect("decoded");
            }
            let how = decoder.conceal(960 * lost.len(), last, &mut out);
            let at = (lost.end - 1) * 960;
            (how, similarity(&out[at..at + 960], &whole[at..at + 960]))
        };
        let (how, recovered) = lose(40..41, Some(&packets[41]));
        assert_eq!(how, Concealed::Recovered);
        let (how, made_up) = lose(40..41, None);
        assert_eq!(how, Concealed::Synthetic);
        assert!(
            recovered > 0.8 && recovered > made_up,
            "{recovered}, made up {made_up}"
        );
        let (how, recovered) = lose(38..41, Some(&packets[41]));
        assert_eq!(how, Concealed::Recovered);
        let (_, made_up) = lose(38..41, None);
        assert!(recovered > made_up + 0.3, "{recovered}, made up {made_up}");
    }

    #[test]
    fn without_redundancy_nothing_is_called_recovered() {
        let settings = EncoderSettings {
            opus_fec: false,
            ..EncoderSettings::default()
        };
        let packets = packets(settings, &voice(30));
        assert!(
            packets
                .iter()
                .all(|p| !Packet::parse(p).expect("a packet").repeats())
        );
        let (mut decoder, mut out) = (Decoder::new(16_000).expect("a decoder"), Vec::new());
        for packet in &packets[..20] {
            decoder.decode(packet, 320, &mut out).expect("decoded");
        }
        let how = decoder.conceal(801, Some(&packets[21]), &mut out);
        assert_eq!((how, out.len()), (Concealed::Synthetic, 20 * 320 + 801));
    }

    #[test]
    fn silence_suppression_sends_next_to_nothing_and_is_decoded() {
        let settings = EncoderSettings {
            opus_dtx: true,
            ..EncoderSettings::default()
        };
        let mut frames = voice(20);
        frames.resize(80, vec![0; 960]);
        let packets = packets(settings, &frames);
        let tiny = packets[20..].iter().filter(|packet| packet.len() <= 2);
        assert!(tiny.count() > 40);
        let (mut decoder, mut out) = (Decoder::new(8_000).expect("a decoder"), Vec::new());
        for packet in &packets {
            assert_eq!(Packet::parse(packet).map(|p| p.ticks()), Some(960));
            decoder.decode(packet, 160, &mut out).expect("decoded");
        }
        assert!(measure::rms_dbfs(&out[60 * 160..]) < -70.0);
    }

    #[test]
    fn every_rate_hears_the_same_level() {
        let frames: Vec<Vec<i16>> = (0..50)
            .map(|f| {
                let at = |n: u32| f64::from(f * 960 + n) * std::f64::consts::TAU / 48.0;
                (0..960).map(|n| (8_192.0 * at(n).sin()) as i16).collect()
            })
            .collect();
        let packets = packets(EncoderSettings::default(), &frames);
        for rate in RATES_HZ {
            let (mut decoder, mut out) = (Decoder::new(rate).expect("a decoder"), Vec::new());
            for packet in &packets {
                let samples = rate as usize / 50;
                decoder.decode(packet, samples, &mut out).expect("decoded");
            }
            let level = measure::rms_dbfs(&out[out.len() / 2..]);
            assert!((level + 15.05).abs() < 0.5, "{rate} Hz: {level}");
        }
    }
}
