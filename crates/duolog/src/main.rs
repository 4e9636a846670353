//! duolog, a real-time telephone call recorder.

use std::process::ExitCode;

fn main() -> ExitCode {
    duolog::cli::run()
}
