//! `duolog serve`: a node until it is told to stop.

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::config::Config;
use crate::node::{Node, Stopper};

/// Runs a node until SIGTERM or SIGINT lets its calls end, and a second one ends them.
///
/// # Errors
///
/// When the node can not start, or a thread of it broke.
pub fn until_stopped(config: Config) -> Result<()> {
    let signals = hold_signals()?;
    let node = Node::start(config)?;
    announce(&node);
    stop_on_signal(signals, node.stopper())?;
    node.wait()
}

/// The signals that end a node, held back from every thread started later.
///
/// # Errors
///
/// When the system refuses.
pub fn hold_signals() -> Result<SigSet> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().context("signals can not be held")?;
    Ok(signals)
}

/// Ends the node when a held signal comes, its calls when another one does.
///
/// # Errors
///
/// When the thread that waits can not be started.
pub fn stop_on_signal(signals: SigSet, stopper: Stopper) -> Result<()> {
    let wait = move || {
        if signals.wait().is_ok() {
            tracing::info!("stopping: new calls are refused, running ones may end");
            stopper.drain();
        }
        while signals.wait().is_ok() {
            tracing::info!("stopping: running calls are ended");
            stopper.hang_up();
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)?;
    Ok(())
}

/// Says where everything is.
pub fn announce(node: &Node) {
    for (transport, address) in node.listening() {
        tracing::info!(transport = transport.as_str(), %address, "SIP is heard");
    }
    tracing::info!(address = %node.operations(), "metrics and health are served");
    if let Some(address) = node.api() {
        tracing::info!(%address, "the API is served");
    }
}
