//! Long silence without the encoder.

/// Silent packets that are encoded first: a second, in which encoder and decoder forget the sound.
const ENCODED_FIRST: u64 = 50;
/// Of the packets that follow, one in so many is encoded: what the decoder predicts from its past
/// never runs further from the encoder than 400 ms, as in Opus' own discontinuous transmission.
const ENCODED_EVERY: u64 = 20;

/// Counts silent packets, and knows what to write for the later ones.
///
/// It repeats a packet of silence. Frames of no bytes would be smaller still, but not every
/// decoder keeps quiet over them: that of ffmpeg 5.1 makes noise of -68 dBFS.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    /// Silent packets in a row.
    packets: u64,
    /// The newest silent packet that was encoded.
    encoded: Option<Vec<u8>>,
}

impl Stillness {
    /// Counts the next packet's sound; the packet, if it need not be encoded.
    pub(super) fn packet(&mut self, silent: bool) -> Option<Vec<u8>> {
        if !silent {
            self.packets = 0;
            return None;
        }
        self.packets += 1;
        match self.packets > ENCODED_FIRST && !self.packets.is_multiple_of(ENCODED_EVERY) {
            true => self.encoded.clone(),
            false => None,
        }
    }

    /// Learns the packet that was encoded instead.
    pub(super) fn encoded(&mut self, packet: &[u8]) {
        self.encoded = (self.packets > 0).then(|| packet.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_that_lasts_is_not_encoded() {
        let mut stillness = Stillness::default();
        let mut repeated = Vec::new();
        for number in 1..=200_u8 {
            let silent = number != 150;
            match stillness.packet(silent) {
                Some(packet) => repeated.push((number, packet[0])),
                None => stillness.encoded(&[number]),
            }
        }
        let expected = (51..150).filter(|number| number % 20 != 0);
        let expected: Vec<_> = expected
            .map(|number| (number, (number / 20 * 20).max(50)))
            .collect();
        assert_eq!(repeated, expected);
    }
}
