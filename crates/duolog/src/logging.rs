//! Log lines: JSON for machines or text for a terminal, on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging; a second call changes nothing.
pub fn start(log: &Log) {
    // The filter was checked with the configuration.
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_default();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let result = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(terminal).with_target(false).try_init()
        }
    };
    if result.is_err() {
        tracing::debug!("logging had already been started");
    }
}
