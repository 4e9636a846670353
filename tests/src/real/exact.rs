//! Judges a channel by comparing it, code by code, with what was sent.

use duolog::phone::SentPacket;

use super::Site;
use super::kept::{Gap, Kept};
use super::phones::Looks;

/// mu-law silence, which fills gaps.
const SILENCE: u8 = 0xff;

/// How a channel compares with what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Samples of the channel that are what was sent.
    pub same: usize,
    /// Samples that lie in listed gaps.
    pub in_gaps: usize,
    /// Samples sent before the first one that the channel holds.
    pub before: usize,
    /// Samples sent after the last one that the channel holds.
    pub after: usize,
}

/// The audio of packets that follow each other without a hole, in the order in which they were sent.
///
/// # Panics
/// When the time stamps leave a hole.
pub fn audio(sent: &[SentPacket]) -> Vec<u8> {
    let mut audio = Vec::new();
    let first = sent.first().map_or(0, |packet| packet.timestamp.0);
    for packet in sent {
        let at = packet.timestamp.0.wrapping_sub(first) as usize;
        assert_eq!(at, audio.len(), "the sender left a hole");
        audio.extend_from_slice(&packet.payload);
    }
    audio
}

/// Compares a channel with what was sent: every sample is what was sent or lies in a listed gap.
///
/// # Errors
/// Where it is neither.
pub fn compare(channel: &[u8], gaps: &[Gap], sent: &[u8]) -> Result<Comparison, String> {
    let mut gap = vec![false; channel.len()];
    for listed in gaps {
        let end = listed.from + listed.samples;
        let place = gap.get_mut(listed.from..end);
        place
            .ok_or_else(|| format!("{listed:?} lies outside {} samples", channel.len()))?
            .fill(true);
    }
    let start = gap
        .iter()
        .position(|gap| !gap)
        .ok_or("the channel is one gap")?;
    let whole = channel
        .get(start..start + 160)
        .ok_or("less than 20 ms is there")?;
    let begin = sent.windows(160).position(|window| window == whole);
    let before = begin.ok_or_else(|| format!("what stands at {start} was never sent"))?;
    let mut found = Comparison {
        same: 0,
        in_gaps: 0,
        before,
        after: sent.len(),
    };
    for (at, (&code, &gap)) in channel.iter().zip(&gap).enumerate() {
        if gap {
            found.in_gaps += 1;
            if code != SILENCE {
                return Err(format!("{code:#x} stands at {at}, in a listed gap"));
            }
            continue;
        }
        let place = at - start + before;
        if sent.get(place) != Some(&code) {
            let wanted = sent.get(place);
            return Err(format!(
                "{code:#x} at {at}, where {wanted:x?} was sent (sample {place})"
            ));
        }
        found.same += 1;
        found.after = sent.len() - place - 1;
    }
    Ok(found)
}

/// Both channels of a recording against what the phones sent, owner first.
///
/// # Panics
/// When a channel is what none of the phones sent.
pub fn recording(site: &Site, row: &Kept, looks: &Looks) -> [Comparison; 2] {
    let gaps = row.gaps(site);
    let codes = row.codes();
    [(0, &looks.callees), (1, &looks.callers)].map(|(channel, senders)| {
        let (codes, gaps) = (&codes[channel], &gaps[channel]);
        let compared = senders
            .iter()
            .map(|look| compare(codes, gaps, &audio(&look.sent)));
        let mut wrong = Vec::new();
        let fits = compared
            .filter_map(|compared| compared.map_err(|why| wrong.push(why)).ok())
            .next();
        fits.unwrap_or_else(|| panic!("channel {channel} of {row:?}: {wrong:?}; {gaps:?}"))
    })
}

/// Samples in gaps that are neither at the beginning nor at the end of their channel.
pub fn interior_gaps(site: &Site, row: &Kept) -> usize {
    let length = row.codes()[0].len();
    let gaps = row.gaps(site);
    let inside = gaps
        .iter()
        .flatten()
        .filter(|gap| gap.from > 0 && gap.from + gap.samples < length);
    inside.map(|gap| gap.samples).sum()
}
