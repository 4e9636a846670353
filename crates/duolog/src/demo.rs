//! `duolog demo`: a node on loopback and one call through it, over real sockets, told as it happens.

mod report;
mod script;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duolog_archive::Shown;
use duolog_archive::catalogue::{Filter, State};
use duolog_audio::codec::Codec;
use duolog_audio::container::wav;
use duolog_sip::{StatusCode, Transport};

use crate::config::Config;
use crate::logging;
use crate::node::Node;
use crate::phone::{Answering, EarlyMedia, Keep, RealPhones, RealSettings, Repeat, Speech, Voice};
use crate::serve;

const OWNER: &[u8] = include_bytes!("../../../fixtures/audio/demo-owner.wav");
const OTHER: &[u8] = include_bytes!("../../../fixtures/audio/demo-other.wav");

/// How long the phone of the demonstration rings.
const RING_MS: u32 = 600;

/// Longest time from the end of a call to its row; Opus takes a moment.
const STORED_WITHIN: Duration = Duration::from_secs(30);

/// What follows the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// The node stops and the program ends.
    Exit,
    /// The node serves on until Ctrl-C.
    Serve,
}

/// Runs the demonstration.
///
/// # Errors
///
/// When the node can not start, the call fails, or no recording comes of it.
pub fn run(mut config: Config, afterwards: Afterwards) -> Result<()> {
    // The story is told on standard output; the log adds what goes wrong.
    config.log.filter = "warn".into();
    logging::start(&config.log);
    let signals = serve::hold_signals()?;
    let node = Node::start(config)?;
    serve::announce(&node);
    let stopper = node.stopper();
    if afterwards == Afterwards::Serve {
        serve::stop_on_signal(signals, stopper.clone())?;
    }
    let demonstrated = demonstrate(&node);
    match (afterwards, &demonstrated) {
        (Afterwards::Exit, _) => stopper.drain(),
        (Afterwards::Serve, Ok(())) => println!("\nduolog serves on; Ctrl-C ends it."),
        // Serving on behind a failed demonstration would hide it.
        (Afterwards::Serve, Err(_)) => stopper.hang_up(),
    }
    let ended = node.wait();
    demonstrated.and(ended)
}

fn demonstrate(node: &Node) -> Result<()> {
    let config = node.config();
    let trunk = config
        .trunks
        .first()
        .context("the demonstration needs a trunk")?;
    let user = config
        .users
        .first()
        .context("the demonstration needs a user")?;
    let number = user
        .numbers
        .first()
        .context("the demonstration's user needs a number")?;
    let began = Instant::now();
    let proxy = proxy(node)?;
    let trunk = trunk
        .numeric()
        .context("the demonstration's trunk needs an address")?;
    let contact = user
        .contact
        .context("the demonstration's user needs a contact")?;
    let caller = phones(trunk, proxy, "+31612345678", OTHER)?;
    let callee = phones(contact, proxy, &user.name, OWNER)?;
    let call = script::Call {
        caller: &caller,
        callee: &callee,
        codes: &config.recording.codes,
        began,
    };
    let heard = script::play(&call, number, proxy)?;
    let shown = stored(node, &heard.call_id)?;
    report::print(&shown, &heard)
}

fn proxy(node: &Node) -> Result<SocketAddr> {
    let udp = node
        .listening()
        .iter()
        .find(|(transport, _)| *transport == Transport::Udp);
    Ok(udp.context("the demonstration needs a UDP listener")?.1)
}

fn phones(
    (transport, sip): (Transport, SocketAddr),
    proxy: SocketAddr,
    name: &str,
    voice: &[u8],
) -> Result<RealPhones> {
    let mut reader = wav::Reader::open(voice).context("the demonstration's speech")?;
    let samples = reader.read_to_end().context("the demonstration's speech")?;
    let voice = Voice::Samples {
        speech: Speech::new(&samples),
        repeat: Repeat::Looped,
        from: 0,
    };
    let settings = RealSettings {
        sip,
        proxy,
        transport,
        media: sip.ip(),
        domain: sip.ip().to_string(),
        phones: vec![(name.to_string(), voice)],
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        ptime_ms: 20,
        answering: Answering {
            ring_ms: RING_MS,
            early_media: EarlyMedia::No,
            code: StatusCode::OK,
        },
        keep: Keep::Packets,
        seed: u64::from(sip.port()),
    };
    RealPhones::spawn(settings)
        .with_context(|| format!("the demonstration's phone at {sip} can not start"))
}

/// Waits for the row of a call to be ended.
fn stored(node: &Node, call_id: &str) -> Result<Arc<Shown>> {
    let filter = Filter {
        call_id: Some(call_id.to_string()),
        ..Filter::default()
    };
    let archive = node.archive();
    let until = Instant::now() + STORED_WITHIN;
    node.runtime().block_on(async {
        while Instant::now() < until {
            let rows = archive.catalogue().list(&filter, 1).await?;
            if let Some(row) = rows
                .into_iter()
                .next()
                .filter(|r| r.state() != State::Recording)
            {
                return Ok(Arc::new(archive.shown(row).await?));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!(
            "the call was not stored within {} s",
            STORED_WITHIN.as_secs()
        )
    })
}
