//! The RTP side of a phone: paced packets of its voice and keys, its ear, its RTCP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_audio::g711::Law;
use duolog_rtp::packet::{Outgoing, View};
use duolog_rtp::rtcp::{self, Rtcp, RtcpSettings};
use duolog_rtp::source::Source;
use duolog_rtp::{ClockRate, PayloadType, RtpTimestamp, SeqNo, Ssrc, WallTime};

use super::Output;
use super::ear::{Ear, Keep};
use super::keypad::{Keypad, Turn};
use super::voice::{Spoken, Voice};

/// A phone that was not asked for this long skips the packets it should have sent.
const LATE: Duration = Duration::from_millis(500);
/// Wall time at which a phone's life begins: its reports need some time of day, not the right one.
const BEGAN: WallTime = WallTime {
    unix_us: 1_700_000_000_000_000,
};
/// Header and 200 ms of audio, or a compound report.
const LONGEST: usize = 2_048;

/// A packet as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPacket {
    /// When.
    pub at: Instant,
    /// Its sequence number.
    pub seq: SeqNo,
    /// Its time stamp.
    pub timestamp: RtpTimestamp,
    /// Its payload type, 0 to 127.
    pub payload_type: u8,
    /// Its payload.
    pub payload: Bytes,
}

/// What offer and answer agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Where the peer wants RTP.
    pub rtp: SocketAddr,
    /// Where the peer wants RTCP.
    pub rtcp: SocketAddr,
    /// The law of the audio sent.
    pub law: Law,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of telephone-events, if there is one.
    pub event_type: Option<u8>,
    /// Whether the phone may send.
    pub speaks: Speaks,
}

/// Whether a phone sends audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// It does.
    Yes,
    /// The call is held, by either end.
    OnHold,
}

/// How a phone's packets are numbered and paced.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    pub ptime_ms: u8,
    pub ssrc: Ssrc,
    pub seq: SeqNo,
    pub timestamp: RtpTimestamp,
    pub cname: String,
    pub seed: u64,
}

#[derive(Debug)]
struct Stream {
    agreed: Agreed,
    next: Instant,
    began: Instant,
    rtcp: Rtcp,
    source: Option<Source>,
}

#[derive(Debug)]
pub(super) struct MediaSide {
    pace: Pace,
    keep: Keep,
    stream: Option<Stream>,
    voice: Voice,
    /// Samples since the voice was set.
    spoken: u64,
    keypad: Keypad,
    /// The next audio packet begins a talk spurt.
    spurt: bool,
    sent: Vec<SentPacket>,
    ear: Ear,
}

impl MediaSide {
    pub(super) fn new(pace: Pace, keep: Keep, voice: Voice) -> Self {
        let (sent, ear) = (Vec::new(), Ear::new(keep));
        let (stream, keypad) = (None, Keypad::default());
        Self {
            pace,
            keep,
            stream,
            voice,
            spoken: 0,
            keypad,
            spurt: true,
            sent,
            ear,
        }
    }

    pub(super) fn ear(&self) -> &Ear {
        &self.ear
    }

    pub(super) fn sent(&self) -> &[SentPacket] {
        &self.sent
    }

    pub(super) fn agreed(&self) -> Option<&Agreed> {
        self.stream.as_ref().map(|stream| &stream.agreed)
    }

    /// Begins to talk, or goes on under what was agreed anew.
    pub(super) fn connect(&mut self, now: Instant, agreed: Agreed) {
        if let Some(stream) = &mut self.stream {
            if stream.agreed.speaks != agreed.speaks {
                self.spurt = true;
            }
            stream.agreed = agreed;
            return;
        }
        let settings = RtcpSettings {
            ssrc: self.pace.ssrc,
            cname: self.pace.cname.clone().into(),
            rate: ClockRate::HZ_8000,
            seed: self.pace.seed,
        };
        let rtcp = Rtcp::new(settings, now);
        self.stream = Some(Stream {
            agreed,
            next: now,
            began: now,
            rtcp,
            source: None,
        });
        self.spurt = true;
    }

    /// The call is over.
    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.keypad.clear();
        if let Some(mut stream) = self.stream.take() {
            let mut buffer = [0; LONGEST];
            let wall = stream.wall(now);
            let written = stream
                .rtcp
                .goodbye(now, wall, stream.source.as_mut(), &mut buffer);
            stream.send_report(written, &buffer, out);
        }
    }

    pub(super) fn set_voice(&mut self, voice: Voice) {
        self.voice = voice;
        self.spoken = 0;
        self.spurt = true;
    }

    /// Queues keys; answers how many characters were no key.
    pub(super) fn press(&mut self, digits: &str) -> usize {
        self.keypad.press(digits)
    }

    pub(super) fn receive(&mut self, arrived: Instant, datagram: &[u8]) {
        let Ok(view) = View::parse(datagram) else {
            self.ear.refuse();
            return;
        };
        if let Some(stream) = &mut self.stream {
            let known = stream
                .source
                .take()
                .filter(|source| source.ssrc() == view.ssrc());
            let mut source = known.unwrap_or_else(|| Source::new(view.ssrc(), ClockRate::HZ_8000));
            source.update(view.seq(), view.timestamp(), arrived);
            stream.source = Some(source);
        }
        let agreed = self.stream.as_ref().map(|stream| &stream.agreed);
        self.ear.packet(arrived, &view, agreed);
    }

    pub(super) fn receive_rtcp(&mut self, now: Instant, datagram: &[u8]) {
        match rtcp::parse(datagram) {
            Ok(reports) => {
                if let Some(stream) = &mut self.stream {
                    stream.rtcp.receive(now, &reports);
                }
                self.ear.report(reports);
            }
            Err(_) => self.ear.refuse(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let stream = self.stream.as_ref()?;
        Some(stream.next.min(stream.rtcp.deadline()))
    }

    /// Sends what is due.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let ptime = Duration::from_millis(u64::from(self.pace.ptime_ms));
        while let Some(stream) = &mut self.stream
            && stream.next <= now
        {
            let late = now.duration_since(stream.next) > LATE;
            stream.next += ptime;
            if !late {
                self.interval(now, out);
            }
            let ticks = u32::from(self.pace.ptime_ms) * 8;
            self.pace.timestamp = self.pace.timestamp.plus(ticks);
            self.spoken += u64::from(ticks);
        }
        if let Some(stream) = &mut self.stream
            && stream.rtcp.deadline() <= now
        {
            let mut buffer = [0; LONGEST];
            let wall = stream.wall(now);
            let written = stream
                .rtcp
                .report(now, wall, stream.source.as_mut(), &mut buffer);
            stream.send_report(written, &buffer, out);
        }
    }

    /// One packet interval: a key, the voice, or nothing.
    fn interval(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(agreed) = self.agreed().copied() else {
            return;
        };
        let keys = match agreed.event_type {
            Some(event_type) => (event_type, self.keypad.turn(u32::from(self.pace.ptime_ms))),
            None => (0, Turn::Free),
        };
        match keys {
            (event_type, Turn::Key(key)) => {
                let timestamp = RtpTimestamp(self.pace.timestamp.0.wrapping_sub(key.behind_ticks));
                self.send(now, (event_type, timestamp, key.first), &key.payload, out);
                self.spurt = true;
            }
            (_, Turn::Quiet) => {}
            (_, Turn::Free) => {
                let mut codes = [0; LONGEST];
                let codes = &mut codes[..usize::from(self.pace.ptime_ms) * 8];
                let quiet = agreed.speaks == Speaks::OnHold
                    || self.voice.speak(agreed.law, self.spoken, codes) == Spoken::Nothing;
                if quiet {
                    self.spurt = true;
                    return;
                }
                let head = (agreed.payload_type, self.pace.timestamp, self.spurt);
                self.send(now, head, codes, out);
                self.spurt = false;
            }
        }
    }

    fn send(
        &mut self,
        now: Instant,
        (payload_type, timestamp, marker): (u8, RtpTimestamp, bool),
        payload: &[u8],
        out: &mut Vec<Output>,
    ) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let seq = self.pace.seq;
        self.pace.seq = seq.next();
        let packet = Outgoing {
            ssrc: self.pace.ssrc,
            seq,
            timestamp,
            payload_type: PayloadType(payload_type),
            marker,
            payload,
        };
        let mut bytes = vec![0; payload.len() + 12];
        let length = packet
            .write(&mut bytes)
            .expect("the buffer holds header and payload");
        bytes.truncate(length);
        stream.rtcp.sent(payload.len(), timestamp, now);
        out.push(Output::SendRtp {
            to: stream.agreed.rtp,
            bytes: bytes.into(),
        });
        if self.keep == Keep::Packets {
            let payload = Bytes::copy_from_slice(payload);
            self.sent.push(SentPacket {
                at: now,
                seq,
                timestamp,
                payload_type,
                payload,
            });
        }
    }
}

impl Stream {
    fn wall(&self, now: Instant) -> WallTime {
        let since = now.saturating_duration_since(self.began).as_micros() as u64;
        WallTime {
            unix_us: BEGAN.unix_us + since,
        }
    }

    /// A report that does not fit is left out: its length depends on nothing from outside.
    fn send_report(
        &self,
        written: Result<usize, rtcp::RtcpError>,
        buffer: &[u8],
        out: &mut Vec<Output>,
    ) {
        if let Ok(length) = written {
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            out.push(Output::SendRtcp {
                to: self.agreed.rtcp,
                bytes,
            });
        }
    }
}
