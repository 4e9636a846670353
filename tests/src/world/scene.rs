//! Usual worlds: desks with recorded users, and one trunk.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use duolog::phone::{
    Action, Answering, CodedVoice, EarlyMedia, Keep, PhoneSettings, Repeat, Security, Speech,
    Voice, Ways,
};
use duolog_audio::codec::Codec;
use duolog_audio::g711::Law;
use duolog_media::Sabotage;
use duolog_rtp::timeline::DriftCorrection;
use duolog_sip::{Flow, StatusCode, Transport, Uri};

use super::dice::Dice;
use super::net::Conditions;
use super::{Plan, Who, World};

/// How a desk's user is recorded, as the configuration writes it.
#[derive(Debug, Clone)]
pub struct Desk {
    /// `never`, `always` or `always-pause-resume`.
    pub mode: &'static str,
    /// `on` or `off`.
    pub announce: &'static str,
    /// `none`, `beep` or `announcement`.
    pub notice: &'static str,
    /// `off` or `10s` to `90s`.
    pub repeat_tone: &'static str,
    /// Further lines of the user.
    pub lines: &'static str,
}

impl Desk {
    /// Recorded from the answer on, and nothing is heard of it.
    #[must_use]
    pub fn quiet() -> Desk {
        let (mode, announce) = ("always-pause-resume", "off");
        Desk {
            mode,
            announce,
            notice: "none",
            repeat_tone: "off",
            lines: "",
        }
    }
}

/// A world to be made.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Reproduces everything.
    pub seed: u64,
    /// One phone each; desk `n` has the number `10n`.
    pub desks: Vec<Desk>,
    /// Phones behind the trunk.
    pub trunk_phones: usize,
    /// What phones offer and take, the preferred one first: desks, trunk.
    pub codecs: [Vec<Codec>; 2],
    /// How phones send.
    pub lines: Lines,
    /// What the node is to do with media.
    pub wanted: Wanted,
    /// What phones say: desks, trunk.
    pub voices: [Saying; 2],
    /// What happens to SIP.
    pub sip: Conditions,
    /// What happens to RTP and RTCP.
    pub media: Conditions,
    /// How long called phones ring, ms.
    pub ring_ms: u32,
    /// Whether they speak while they ring.
    pub early_media: EarlyMedia,
    /// A fault put in on purpose.
    pub sabotage: Sabotage,
    /// Off for the negative control of the clocks' test.
    pub drift: DriftCorrection,
    /// Entries that may wait for the disk.
    pub queue: usize,
    /// What phones remember.
    pub keep: Keep,
}

/// How phones send: desks, trunk.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Packet times in ms.
    pub ptime_ms: [u8; 2],
    /// How fast their clocks run, in parts per million.
    pub clock_ppm: [i32; 2],
    /// Whether their media is encrypted.
    pub security: [Security; 2],
    /// How they signal.
    pub ways: Ways,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines {
            ptime_ms: [20; 2],
            clock_ppm: [0; 2],
            security: [Security::Clear, Security::Clear],
            ways: Ways::default(),
        }
    }
}

/// What the node is to do with media, as configured.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// `media_security`: users, trunk.
    pub media_security: [&'static str; 2],
    /// What it may transcode between.
    pub transcode: &'static str,
    /// The DTMF policy of every desk: `keep` or `mask`.
    pub dtmf: &'static str,
    /// How much it takes from one source.
    pub limits: Limits,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            media_security: ["as-offered"; 2],
            transcode: "[]",
            dtmf: "keep",
            limits: Limits::Usual,
        }
    }
}

/// How much the node takes from one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// As it comes.
    Usual,
    /// Everything, for tests of what is behind the limits.
    Off,
}

/// What a phone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    /// Its own name and the time; party 0 at desks, 1 behind the trunk, each phone from elsewhere.
    Code,
    /// Digital silence, in packets.
    Silence,
    /// Noise of its own, cheap to make.
    Noise,
    /// No packets.
    Nothing,
}

impl Scene {
    /// One desk and one phone behind the trunk, PCMU, coded voices, a clean network.
    #[must_use]
    pub fn new(seed: u64, desk: Desk) -> Scene {
        Scene {
            seed,
            desks: vec![desk],
            trunk_phones: 1,
            codecs: in_laws([Law::Mulaw; 2]),
            lines: Lines::default(),
            wanted: Wanted::default(),
            voices: [Saying::Code; 2],
            sip: Conditions::clean(),
            media: Conditions::clean(),
            ring_ms: 300,
            early_media: EarlyMedia::No,
            sabotage: Sabotage::None,
            drift: DriftCorrection::On,
            queue: 4_096,
            keep: Keep::Packets,
        }
    }

    /// Makes the world. Site 0 is the trunk, site `n` + 1 is desk `n`.
    #[must_use]
    pub fn build(&self) -> World {
        let mut world = World::new(&Plan {
            seed: self.seed,
            sip: self.sip,
            media: self.media,
            sabotage: self.sabotage,
            drift: self.drift,
            queue: self.queue,
            config: self.config(),
        });
        let trunk = (0..self.trunk_phones).map(|n| self.phone(0, n)).collect();
        world.add_site(trunk_sip(), trunk);
        for desk in 0..self.desks.len() {
            world.add_site(desk_sip(desk), vec![self.phone(desk + 1, 0)]);
        }
        world
    }

    /// The configuration file of the node.
    #[must_use]
    pub fn config(&self) -> String {
        let mut text = format!(
            "[sip]\nlisten = [\"udp:{}\"]\n[media]\naddress = \"10.0.0.1\"\nthreads = 2\n\
             timeout = \"20s\"\ntranscode = {}\n[store]\nformat = \"wav-g711\"\n\
             [[trunk]]\nname = \"pstn\"\naddress = \"udp:{}\"\nmedia_security = \"{}\"\n",
            node_sip(),
            self.wanted.transcode,
            trunk_sip(),
            self.wanted.media_security[1]
        );
        if self.wanted.limits == Limits::Off {
            for who in ["strangers", "neighbours"] {
                let _ = writeln!(text, "[limits.{who}]");
                for what in ["invites", "registers", "others", "bad"] {
                    let _ = writeln!(text, "{what} = \"100000/s\"");
                }
            }
        }
        for (n, desk) in self.desks.iter().enumerate() {
            let Desk {
                mode,
                announce,
                notice,
                repeat_tone,
                lines,
            } = desk;
            let _ = write!(
                text,
                "[[user]]\nname = \"desk{n}\"\nnumbers = [\"10{n}\"]\ncontact = \"udp:{}\"\n\
                 mode = \"{mode}\"\nannounce = \"{announce}\"\nnotice = \"{notice}\"\n\
                 repeat_tone = \"{repeat_tone}\"\ndtmf = \"{}\"\n\
                 media_security = \"{}\"\n{lines}",
                desk_sip(n),
                self.wanted.dtmf,
                self.wanted.media_security[0]
            );
        }
        text
    }

    fn phone(&self, site: usize, place: usize) -> PhoneSettings {
        let side = usize::from(site == 0);
        let (sip, rtp, user) = match site {
            0 => (trunk_sip(), trunk_rtp(place), format!("+3170{place:04}")),
            desk => (
                desk_sip(desk - 1),
                desk_rtp(desk - 1),
                format!("10{}", desk - 1),
            ),
        };
        let number = (site * 1_000 + place) as u64;
        PhoneSettings {
            user,
            domain: sip.ip().to_string(),
            flow: Flow {
                transport: Transport::Udp,
                local: sip,
                peer: node_sip(),
            },
            rtp,
            rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
            codecs: self.codecs[side].clone(),
            ptime_ms: self.lines.ptime_ms[side],
            clock_ppm: self.lines.clock_ppm[side],
            security: self.lines.security[side].clone(),
            answering: Answering {
                ring_ms: self.ring_ms,
                early_media: self.early_media,
                code: StatusCode::OK,
            },
            ways: self.lines.ways.clone(),
            voice: self.voices[side].voice(side as u8, number),
            keep: self.keep,
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(number),
        }
    }
}

impl Saying {
    /// The voice of a phone with this number.
    #[must_use]
    pub fn voice(self, party: u8, number: u64) -> Voice {
        match self {
            Saying::Code => Voice::Coded(CodedVoice::new(party, number * 80_000)),
            Saying::Nothing => Voice::None,
            Saying::Silence => looped(Speech {
                mulaw: vec![0xff; 160].into(),
                alaw: vec![0xd5; 160].into(),
            }),
            Saying::Noise => {
                let mut dice = Dice::new(number);
                let mut code = || (0..12_000).map(|_| dice.draw() as u8).collect();
                looped(Speech {
                    mulaw: code(),
                    alaw: code(),
                })
            }
        }
    }
}

fn looped(speech: Speech) -> Voice {
    Voice::Samples {
        speech,
        repeat: Repeat::Looped,
        from: 0,
    }
}

/// Phones that prefer these laws and take the other one too.
#[must_use]
pub fn in_laws(laws: [Law; 2]) -> [Vec<Codec>; 2] {
    laws.map(|law| match law {
        Law::Mulaw => vec![Codec::Pcmu, Codec::Pcma],
        Law::Alaw => vec![Codec::Pcma, Codec::Pcmu],
    })
}

/// Where the node hears SIP.
#[must_use]
pub fn node_sip() -> SocketAddr {
    ([10, 0, 0, 1], 5_060).into()
}

fn trunk_sip() -> SocketAddr {
    ([10, 0, 2, 1], 5_060).into()
}

fn trunk_rtp(place: usize) -> SocketAddr {
    ([10, 0, 2, 1], 4_000 + 2 * place as u16).into()
}

fn desk_sip(desk: usize) -> SocketAddr {
    ([10, 0, 1, 1 + desk as u8], 5_060).into()
}

fn desk_rtp(desk: usize) -> SocketAddr {
    ([10, 0, 1, 1 + desk as u8], 4_000).into()
}

/// The phone of a desk.
#[must_use]
pub fn desk(n: usize) -> Who {
    Who(n + 1, 0)
}

/// A phone behind the trunk.
#[must_use]
pub fn outside(n: usize) -> Who {
    Who(0, n)
}

impl World {
    /// A phone calls a number through the node.
    pub fn call(&mut self, who: Who, number: &str) {
        let uri: Uri = format!("sip:{number}@10.0.0.1")
            .parse()
            .expect("a number makes a URI");
        self.act(who, Action::Call { uri });
    }

    /// Somebody outside calls desk 0, and they talk until `end` after now; the desk hangs up.
    pub fn one_call(&mut self, length: Duration) {
        self.call(outside(0), "100");
        self.run(length);
        self.act(desk(0), Action::HangUp);
        self.run_out();
    }
}
