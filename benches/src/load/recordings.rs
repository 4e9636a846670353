//! Whether what was recorded is what was sent: every call has a complete recording of the right length,
//! and its two channels hold every packet of its two parties, the phone's on the left.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::exchange::Call;
use super::other;
use super::payload::{self, Payload};
use super::recorder::Recorder;

/// How long the last recording may take to be stored.
const PATIENCE: Duration = Duration::from_secs(120);

/// A recording's length against what the caller saw of its call.
const LENGTH_TOLERANCE_S: f64 = 0.3;

/// Waits until every recording is stored and checks all of them.
///
/// # Errors
/// When one is missing, not complete, too long or short, or holds anything else than was sent.
pub fn check(recorder: &Recorder, calls: &[Call], sent: &[u32]) -> Result<()> {
    let rows = stored(recorder, calls.len())?;
    let mut seen = vec![false; calls.len()];
    let mut wrong = Vec::new();
    for row in &rows {
        let id = row["id"].as_str().unwrap_or_default();
        match check_row(recorder, row, calls, sent) {
            Ok(number) if seen[number] => wrong.push(format!("call {number} has two recordings")),
            Ok(number) => seen[number] = true,
            Err(error) => wrong.push(format!("{id}: {error:#}")),
        }
    }
    let (count, all) = (wrong.len(), rows.len());
    ensure!(
        count == 0,
        "{count} of {all} recordings are wrong: {:#?}",
        &wrong[..count.min(5)]
    );
    ensure!(seen.iter().all(|seen| *seen), "a call has no recording");
    Ok(())
}

fn stored(recorder: &Recorder, count: usize) -> Result<Vec<Value>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = recorder.list(count + 1)?;
        let rows: Vec<Value> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        ensure!(rows.len() <= count, "more recordings than calls");
        let ended = rows.iter().filter(|row| !row["ended_at"].is_null()).count();
        if ended == count {
            return Ok(rows);
        }
        ensure!(
            Instant::now() < until,
            "{ended} of {count} recordings are stored: {}",
            recorder.log()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Checks one recording; gives which call's it is.
fn check_row(recorder: &Recorder, row: &Value, calls: &[Call], sent: &[u32]) -> Result<usize> {
    let (state, reason) = (&row["state"], &row["reason"]);
    ensure!(state == "complete", "state {state}, reason {reason}");
    let key = row["audio"].as_str().context("a row without audio")?;
    let wav = std::fs::read(recorder.store().join(key)).with_context(|| key.to_string())?;
    let codes = codes(&wav).with_context(|| key.to_string())?;
    let owner = check_channel(codes, 0, sent).context("left channel")?;
    let caller = check_channel(codes, 1, sent).context("right channel")?;
    ensure!(
        owner % 2 == 1,
        "party {owner}, a caller, is on the owner's channel"
    );
    ensure!(
        caller == other(owner),
        "parties {owner} and {caller} are not of one call"
    );
    let call = &calls[owner / 2];
    let (answered, hung_up) = call
        .answered
        .zip(call.hung_up)
        .context("the call never was")?;
    let expected_s = (hung_up - answered).as_secs_f64();
    let stored_s = (codes.len() / 2) as f64 / 8_000.0;
    let listed_s = row["seconds"].as_f64().unwrap_or_default();
    for seconds in [stored_s, listed_s] {
        let wrong = (seconds - expected_s).abs() > LENGTH_TOLERANCE_S;
        ensure!(!wrong, "{seconds:.3} s of a call of {expected_s:.3} s");
    }
    Ok(owner / 2)
}

/// The interleaved mu-law codes of a WAV file.
fn codes(wav: &[u8]) -> Result<&[u8]> {
    let (head, mut rest) = wav.split_at_checked(12).context("no RIFF header")?;
    ensure!(
        &head[..4] == b"RIFF" && &head[8..] == b"WAVE",
        "no WAVE file"
    );
    while let Some((head, body)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([4, 5, 6, 7].map(|n| head[n])) as usize;
        let chunk = body.get(..length).context("a chunk is cut off")?;
        match &head[..4] {
            b"fmt " => ensure!(
                chunk.starts_with(&[7, 0, 2, 0]),
                "not mu-law of two channels"
            ),
            b"data" => return Ok(chunk),
            _ => {}
        }
        rest = body.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    anyhow::bail!("no data chunk")
}

/// Checks that a channel holds every packet of one party, each behind the other, and silence around
/// them; gives the party.
fn check_channel(codes: &[u8], channel: usize, sent: &[u32]) -> Result<usize> {
    const SILENCE: u8 = 0xff;
    let channel: Vec<u8> = codes.iter().skip(channel).step_by(2).copied().collect();
    let first = channel
        .iter()
        .position(|code| *code != SILENCE)
        .context("only silence")?;
    let (packets, _) = channel[first..].as_chunks::<{ payload::BYTES }>();
    let read: Vec<Payload> = packets.iter().map_while(Payload::read).collect();
    let party = read
        .first()
        .context("no packet where the channel begins")?
        .party;
    for (index, payload) in read.iter().enumerate() {
        ensure!(
            payload.party == party,
            "party {} in the audio of {party}",
            payload.party
        );
        ensure!(
            payload.index as usize == index,
            "packet {} at {index}",
            payload.index
        );
    }
    let expected = *sent
        .get(party as usize)
        .context("a party that does not exist")?;
    let behind = &channel[first + read.len() * payload::BYTES..];
    ensure!(
        read.len() == expected as usize,
        "{} packets of {expected}, {}",
        read.len(),
        what_follows(behind)
    );
    ensure!(
        behind.iter().all(|code| *code == SILENCE),
        "something follows the last packet"
    );
    Ok(party as usize)
}

/// The next packet behind a break, for whoever looks for its cause.
fn what_follows(codes: &[u8]) -> String {
    let packets = codes.windows(payload::BYTES).enumerate();
    let mut packets =
        packets.filter_map(|(at, bytes)| Some((at, Payload::read(bytes.try_into().ok()?)?)));
    match packets.next() {
        Some((at, next)) => format!(
            "then {at} samples of something else, then packet {}",
            next.index
        ),
        None => "then nothing of it any more".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(party: u32, count: u32) -> Vec<u8> {
        let mut codes = vec![0xff; 100];
        for index in 0..count {
            let mut bytes = [0; payload::BYTES];
            Payload {
                party,
                index,
                sent_ns: 7,
            }
            .write(&mut bytes);
            codes.extend(bytes);
        }
        codes.resize(codes.len() + 33, 0xff);
        codes.iter().flat_map(|code| [*code, 0]).collect()
    }

    #[test]
    fn a_channel_is_one_party_whole_and_in_order() {
        let check = |codes: &[u8]| check_channel(codes, 0, &[9, 3]);
        let good = channel(1, 3);
        assert_eq!(check(&good).expect("three of three"), 1);
        let mut changed = good.clone();
        changed[2 * (100 + 200)] ^= 1;
        assert!(check(&changed).is_err(), "one octet differs");
        let mut lost = good.clone();
        lost.drain(2 * (100 + 160)..2 * (100 + 320));
        assert!(check(&lost).is_err(), "a packet is missing");
        let mut shifted = good.clone();
        shifted.drain(2 * (100 + 160)..2 * (100 + 161));
        assert!(check(&shifted).is_err(), "a sample is missing");
        assert!(check(&channel(1, 2)).is_err(), "the last packet is missing");
        assert!(check(&channel(0, 3)).is_err(), "another party");
        assert!(
            check(&channel(7, 3)).is_err(),
            "a party that does not exist"
        );
        assert!(check(&[0xff; 4_000]).is_err(), "silence");
    }
}
