//! The command line: data on standard output, everything else on standard error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use duolog_archive::{Export, ExportChannels, ExportFormat, ExportGaps};

use crate::config::{self, Config};
use crate::{demo, logging, recordings, serve};

/// Exit status of a configuration that can not be used (sysexits.h, `EX_USAGE`).
const BAD_CONFIGURATION: u8 = 64;

/// Exit status of a check that found a fault.
const FAULT_FOUND: u8 = 4;

/// duolog records telephone calls: each party on a channel of its own.
#[derive(Debug, Parser)]
#[command(name = "duolog", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record calls until SIGTERM (lets calls end) or a second one (ends them).
    Serve {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Serve on loopback and place one demonstration call through the recorder.
    Demo {
        /// Exit after the call instead of serving on.
        #[arg(long)]
        once: bool,
    },
    /// Check a configuration and report every mistake in it.
    CheckConfig {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Find recordings.
    Recordings {
        #[command(subcommand)]
        command: RecordingsCommand,
    },
    /// Check that stored recordings are what was recorded; names what was changed.
    Verify {
        #[command(flatten)]
        file: ConfigFile,
        /// Recording ids, or beginnings of them; all recordings where none is given.
        ids: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum RecordingsCommand {
    /// The newest recordings, a line each.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Everything known about one recording, as JSON.
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Recording id, or the beginning of one.
        id: String,
    },
    /// Write one recording to a file.
    Export {
        #[command(flatten)]
        file: ConfigFile,
        /// Recording id, or the beginning of one.
        id: String,
        /// File to write; must not exist.
        #[arg(long)]
        to: PathBuf,
        #[command(flatten)]
        wanted: Wanted,
    },
}

/// What an exported copy is to be.
#[derive(Debug, clap::Args)]
struct Wanted {
    /// `stored` as it lies in the store, or made anew: `wav` (16 bit PCM), `flac`, `opus`.
    #[arg(long, default_value = "stored", value_parser = words(&FORMATS))]
    format: ExportFormat,
    /// `stereo` (owner left, other party right), `owner`, `other`, or `mono` for both in one.
    #[arg(long, default_value = "stereo", value_parser = words(&CHANNELS))]
    channels: ExportChannels,
    /// `silence` keeps the clock of the call; `cut` leaves out what was paused.
    #[arg(long, default_value = "silence", value_parser = words(&GAPS))]
    gaps: ExportGaps,
    /// Length of one part, as in 45m or 12h: TO.001.wav and so on, seamless.
    #[arg(long, value_parser = part)]
    parts: Option<Duration>,
}

const FORMATS: [(&str, ExportFormat); 4] = [
    ("stored", ExportFormat::Stored),
    ("wav", ExportFormat::WavPcm16),
    ("flac", ExportFormat::Flac),
    ("opus", ExportFormat::OggOpus),
];
const CHANNELS: [(&str, ExportChannels); 4] = [
    ("stereo", ExportChannels::Stereo),
    ("owner", ExportChannels::Owner),
    ("other", ExportChannels::Other),
    ("mono", ExportChannels::Mono),
];
const GAPS: [(&str, ExportGaps); 2] = [("silence", ExportGaps::Silence), ("cut", ExportGaps::Cut)];

/// A word of a closed list.
fn words<T: Copy + Send + Sync + 'static>(
    list: &'static [(&'static str, T)],
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| {
        let found = list.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<&str> = list.iter().map(|(word, _)| *word).collect();
            format!("one of {}", all.join(", "))
        })
    }
}

fn part(text: &str) -> Result<Duration, String> {
    config::duration(text)
        .filter(|length| !length.is_zero())
        .ok_or_else(|| "write a length as in 90s, 45m or 12h".to_owned())
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Configuration; the embedded loopback one where none is given.
    #[arg(long = "config", env = "DUOLOG_CONFIG")]
    path: Option<PathBuf>,
}

/// Runs the command line and gives the exit status.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments.command) {
        Ok(code) => code,
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => {
                eprint!("{refused}");
                ExitCode::from(BAD_CONFIGURATION)
            }
            Err(error) => {
                eprintln!("duolog: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve { file } => {
            let config = load(&file)?;
            logging::start(&config.log);
            serve::until_stopped(config)?;
        }
        Command::Demo { once } => {
            let after = if once {
                demo::Afterwards::Exit
            } else {
                demo::Afterwards::Serve
            };
            let config = load(&ConfigFile { path: None })?;
            demo::run(config, after)?;
        }
        Command::CheckConfig { file } => {
            load(&file)?;
            println!("the configuration is right");
        }
        Command::Recordings { command } => match command {
            RecordingsCommand::List { file, limit, json } => {
                let form = if json {
                    recordings::Form::Json
                } else {
                    recordings::Form::Text
                };
                recordings::list(&load(&file)?, limit, form)?;
            }
            RecordingsCommand::Show { file, id } => recordings::show(&load(&file)?, &id)?,
            RecordingsCommand::Export {
                file,
                id,
                to,
                wanted,
            } => {
                let Wanted {
                    format,
                    channels,
                    gaps,
                    parts,
                } = wanted;
                let export = Export {
                    format,
                    channels,
                    gaps,
                    parts,
                };
                recordings::export(&load(&file)?, &id, &to, export)?;
            }
        },
        Command::Verify { file, ids } => {
            if recordings::verify(&load(&file)?, &ids)? == recordings::Verdict::FaultFound {
                return Ok(ExitCode::from(FAULT_FOUND));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A configuration that was refused, with every mistake on a line of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn load(file: &ConfigFile) -> Result<Config> {
    let (name, text) = match &file.path {
        None => ("embedded".to_string(), config::EMBEDDED.to_string()),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the configuration {} can not be read", path.display()))?;
            (path.display().to_string(), text)
        }
    };
    config::read(&text).map_err(|mistakes| {
        let line = |m: &config::Mistake| format!("{name}:{}: {}: {}\n", m.line, m.key, m.what);
        Refused(mistakes.iter().map(line).collect()).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_refused_configuration_names_file_line_and_key() {
        let path = std::env::temp_dir().join(format!("duolog-cli-{}.toml", std::process::id()));
        std::fs::write(&path, "[media]\nthreads = 99\n").expect("a scratch file");
        let error = load(&ConfigFile {
            path: Some(path.clone()),
        })
        .expect_err("99 threads");
        std::fs::remove_file(&path).expect("the scratch file");
        let text = error.downcast::<Refused>().expect("refused").to_string();
        assert_eq!(
            text,
            format!(
                "{}:2: media.threads: 99 is outside 1..64; write a whole number\n",
                path.display()
            )
        );
    }
}
