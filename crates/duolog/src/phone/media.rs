//! The RTP side of a phone: paced packets of its voice and keys, its ear, its RTCP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_audio::codec::{Codec, CodecError};
use duolog_rtp::packet::{Outgoing, View};
use duolog_rtp::rtcp::{self, Rtcp, RtcpSettings};
use duolog_rtp::source::Source;
use duolog_rtp::srtp::{Protector, Unprotector};
use duolog_rtp::{ClockRate, PayloadType, RtpTimestamp, SeqNo, Ssrc, WallTime};

use super::Output;
use super::ear::{Ear, Keep};
use super::keypad::{Keypad, Turn};
use super::mouth::Mouth;
use super::offer::{Keys, Terms};
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
    /// The codec of the audio sent.
    pub codec: Codec,
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
    /// How fast the phone's clock runs against the true one, in parts per million.
    pub clock_ppm: i32,
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
    /// Nanoseconds by which `next` is too late, below one: a clock's error is a fraction of them.
    late_ns: f64,
    began: Instant,
    mouth: Mouth,
    rtcp: Rtcp,
    source: Option<Source>,
}

#[derive(Debug)]
pub(super) struct MediaSide {
    pace: Pace,
    keep: Keep,
    stream: Option<Stream>,
    /// Stays when the call is over: the peer's last packets come afterwards.
    guard: Option<Guard>,
    voice: Voice,
    /// Milliseconds since the voice was set, by the phone's own clock.
    spoken_ms: u64,
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
            guard: None,
            voice,
            spoken_ms: 0,
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

    pub(super) fn ssrc(&self) -> Ssrc {
        self.pace.ssrc
    }

    pub(super) fn agreed(&self) -> Option<&Agreed> {
        self.stream.as_ref().map(|stream| &stream.agreed)
    }

    /// Begins to talk, or goes on under what was agreed anew.
    ///
    /// # Errors
    /// A codec that cannot be spoken here; what was agreed before goes on.
    pub(super) fn connect(&mut self, now: Instant, terms: Terms) -> Result<(), CodecError> {
        let Terms { agreed, keys, .. } = terms;
        if let Some(stream) = &mut self.stream {
            if stream.mouth.codec() != agreed.codec {
                stream.mouth = Mouth::new(agreed.codec)?;
            }
            if stream.agreed.speaks != agreed.speaks {
                self.spurt = true;
            }
            stream.agreed = agreed;
            Guard::renew(&mut self.guard, keys);
            return Ok(());
        }
        let mouth = Mouth::new(agreed.codec)?;
        self.guard = keys.map(Guard::new);
        let settings = RtcpSettings {
            ssrc: self.pace.ssrc,
            cname: self.pace.cname.clone().into(),
            rate: clock_rate(agreed.codec),
            seed: self.pace.seed,
        };
        let rtcp = Rtcp::new(settings, now);
        // A packet leaves when its last sample was spoken; of 20 ms it leaves at once.
        let fill_ms = u64::from(self.pace.ptime_ms).saturating_sub(20);
        self.stream = Some(Stream {
            agreed,
            next: now + Duration::from_millis(fill_ms),
            late_ns: 0.0,
            began: now,
            mouth,
            rtcp,
            source: None,
        });
        self.spurt = true;
        Ok(())
    }

    /// Goes on as another source, as a phone that was restarted does.
    pub(super) fn renew(&mut self, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTimestamp) {
        (self.pace.ssrc, self.pace.seq, self.pace.timestamp) = (ssrc, seq, timestamp);
        self.spurt = true;
    }

    /// Goes on in packets of another length.
    pub(super) fn repack(&mut self, ptime_ms: u8) {
        let longer = u64::from(ptime_ms.saturating_sub(self.pace.ptime_ms));
        self.pace.ptime_ms = ptime_ms;
        if let Some(stream) = &mut self.stream {
            stream.next += Duration::from_millis(longer);
        }
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
            stream.send_report(self.guard.as_mut(), written, &buffer, out);
        }
    }

    pub(super) fn set_voice(&mut self, voice: Voice) {
        self.voice = voice;
        self.spoken_ms = 0;
        self.spurt = true;
    }

    /// Queues keys; answers how many characters were no key.
    pub(super) fn press(&mut self, digits: &str) -> usize {
        self.keypad.press(digits)
    }

    pub(super) fn receive(&mut self, arrived: Instant, datagram: &[u8]) {
        let mut plain = datagram.to_vec();
        if let Some(guard) = &mut self.guard {
            match guard.theirs.rtp(&mut plain) {
                Ok(length) => plain.truncate(length),
                Err(_) => return self.ear.refuse(),
            }
        }
        let datagram = &plain[..];
        let Ok(view) = View::parse(datagram) else {
            self.ear.refuse();
            return;
        };
        if let Some(stream) = &mut self.stream {
            let known = stream
                .source
                .take()
                .filter(|source| source.ssrc() == view.ssrc());
            let rate = clock_rate(stream.agreed.codec);
            let mut source = known.unwrap_or_else(|| Source::new(view.ssrc(), rate));
            source.update(view.seq(), view.timestamp(), arrived);
            stream.source = Some(source);
        }
        let agreed = self.stream.as_ref().map(|stream| &stream.agreed);
        self.ear.packet(arrived, &view, agreed);
    }

    pub(super) fn receive_rtcp(&mut self, now: Instant, datagram: &[u8]) {
        let mut plain = datagram.to_vec();
        if let Some(guard) = &mut self.guard {
            match guard.theirs.rtcp(&mut plain) {
                Ok(length) => plain.truncate(length),
                Err(_) => return self.ear.refuse(),
            }
        }
        match rtcp::parse(&plain) {
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
        while let Some(stream) = &mut self.stream
            && stream.next <= now
        {
            let late = now.duration_since(stream.next) > LATE;
            stream.advance(&self.pace);
            let rate = clock_rate(stream.agreed.codec);
            if !late {
                self.interval(now, out);
            }
            let ptime_ms = u32::from(self.pace.ptime_ms);
            let ticks = rate.hz() / 1_000 * ptime_ms;
            self.pace.timestamp = self.pace.timestamp.plus(ticks);
            self.spoken_ms += u64::from(ptime_ms);
        }
        if let Some(stream) = &mut self.stream
            && stream.rtcp.deadline() <= now
        {
            let mut buffer = [0; LONGEST];
            let wall = stream.wall(now);
            let written = stream
                .rtcp
                .report(now, wall, stream.source.as_mut(), &mut buffer);
            stream.send_report(self.guard.as_mut(), written, &buffer, out);
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
                let faster = agreed.codec.clock_rate_hz() / 8_000;
                let behind = key.behind_ticks * faster;
                let timestamp = RtpTimestamp(self.pace.timestamp.0.wrapping_sub(behind));
                let payload = key.at_clock(faster);
                self.send(now, (event_type, timestamp, key.first), &payload, out);
                self.spurt = true;
            }
            (_, Turn::Quiet) => {}
            (_, Turn::Free) => {
                let ptime_ms = u32::from(self.pace.ptime_ms);
                let mut payload = Vec::new();
                let Some(stream) = &mut self.stream else {
                    return;
                };
                let mouth = &mut stream.mouth;
                let quiet = agreed.speaks == Speaks::OnHold
                    || mouth.speak(&self.voice, self.spoken_ms, ptime_ms, &mut payload)
                        == Spoken::Nothing;
                if quiet {
                    self.spurt = true;
                    return;
                }
                let head = (agreed.payload_type, self.pace.timestamp, self.spurt);
                self.send(now, head, &payload, out);
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
        if let Some(guard) = &mut self.guard {
            let protected = guard.ours.rtp(&mut bytes);
            protected.expect("a packet that was just written can be protected");
        }
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

/// What encrypts a phone's media.
struct Guard {
    keys: Keys,
    ours: Protector,
    theirs: Unprotector,
}

impl Guard {
    fn new(keys: Keys) -> Guard {
        Guard {
            ours: Protector::new(&keys.ours).expect("a key of its suite's length"),
            theirs: Unprotector::new(&keys.theirs).expect("a key of its suite's length"),
            keys,
        }
    }

    /// Keys that stay the same go on; others begin anew.
    fn renew(guard: &mut Option<Guard>, keys: Option<Keys>) {
        let same = match (&*guard, &keys) {
            (Some(guard), Some(keys)) => {
                guard.keys.ours == keys.ours && guard.keys.theirs == keys.theirs
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            *guard = keys.map(Guard::new);
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// To the next packet, by the phone's own clock.
    fn advance(&mut self, pace: &Pace) {
        let true_ns = f64::from(pace.ptime_ms) * 1e6 / (1.0 + f64::from(pace.clock_ppm) * 1e-6);
        let wanted = true_ns - self.late_ns;
        self.late_ns = wanted.ceil() - wanted;
        // Positive and far below 2^64.
        self.next += Duration::from_nanos(wanted.ceil() as u64);
    }

    fn wall(&self, now: Instant) -> WallTime {
        let since = now.saturating_duration_since(self.began).as_micros() as u64;
        WallTime {
            unix_us: BEGAN.unix_us + since,
        }
    }

    /// A report that does not fit is left out: its length depends on nothing from outside.
    fn send_report(
        &self,
        guard: Option<&mut Guard>,
        written: Result<usize, rtcp::RtcpError>,
        buffer: &[u8],
        out: &mut Vec<Output>,
    ) {
        // On hold as before RFC 3264 the peer has no address.
        if let Ok(length) = written
            && !self.agreed.rtcp.ip().is_unspecified()
        {
            let mut bytes = buffer[..length].to_vec();
            if let Some(guard) = guard {
                let protected = guard.ours.rtcp(&mut bytes);
                protected.expect("a report that was just written can be protected");
            }
            out.push(Output::SendRtcp {
                to: self.agreed.rtcp,
                bytes: bytes.into(),
            });
        }
    }
}

/// The RTP clock of a codec.
pub(super) fn clock_rate(codec: Codec) -> ClockRate {
    ClockRate::new(codec.clock_rate_hz()).expect("no codec's clock stands still")
}
