//! The command line: data on standard output, everything else on standard error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use duolog_archive::{Export, ExportChannels, ExportFormat, ExportGaps};

use crate::abilities::Abilities;
use crate::config::{self, Config};
use crate::prompts::PromptBook;
use crate::signalling::Tls;
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
    /// Length of one part, as in 90s, 45m or 12h: of `--to call.wav` they are `call.001.wav` and so on,
    /// without a seam between them.
    #[arg(long, value_name = "LENGTH", value_parser = part)]
    parts: Option<Duration>,
}

impl From<Wanted> for Export {
    fn from(wanted: Wanted) -> Export {
        Export {
            format: wanted.format,
            channels: wanted.channels,
            gaps: wanted.gaps,
            parts: wanted.parts,
        }
    }
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

/// Shorter parts are a mistake in the unit: they would be files by the thousand.
const SHORTEST_PART: Duration = Duration::from_secs(1);

fn part(text: &str) -> Result<Duration, String> {
    config::duration(text)
        .filter(|length| *length >= SHORTEST_PART)
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
            check(&load(&file)?)?;
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
                recordings::export(&load(&file)?, &id, &to, wanted.into())?;
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

/// What the configuration names can be used: certificates, codecs, prompts.
fn check(config: &Config) -> Result<(), Refused> {
    let refused = |error: anyhow::Error| Refused(format!("{error:#}\n"));
    Tls::load(&config.sip.tls).map_err(|error| Refused(format!("sip.tls: {error}\n")))?;
    let abilities = Abilities::find(config).map_err(refused)?;
    PromptBook::load(config, &abilities).map_err(refused)?;
    Ok(())
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

    /// What follows `recordings export`.
    fn export(words: &str) -> Result<Export, String> {
        let given = "duolog recordings export rec_1 --to out".split(' ');
        let all = given.chain(words.split(' ').filter(|word| !word.is_empty()));
        let parsed = Arguments::try_parse_from(all).map_err(|error| error.to_string())?;
        match parsed.command {
            Command::Recordings {
                command: RecordingsCommand::Export { id, to, wanted, .. },
            } => {
                assert_eq!((id.as_str(), to), ("rec_1", PathBuf::from("out")));
                Ok(wanted.into())
            }
            other => panic!("an export, not {other:?}"),
        }
    }

    #[test]
    fn an_export_is_what_was_asked_for() {
        assert_eq!(export(""), Ok(Export::default()));
        for (word, format) in FORMATS {
            let asked = export(&format!("--format {word}")).expect(word);
            assert_eq!(
                asked,
                Export {
                    format,
                    ..Export::default()
                }
            );
        }
        for (word, channels) in CHANNELS {
            let asked = export(&format!("--channels={word}")).expect(word);
            assert_eq!(
                asked,
                Export {
                    channels,
                    ..Export::default()
                }
            );
        }
        for (word, gaps) in GAPS {
            let asked = export(&format!("--gaps={word}")).expect(word);
            assert_eq!(
                asked,
                Export {
                    gaps,
                    ..Export::default()
                }
            );
        }
        for (word, seconds) in [("90s", 90), ("45m", 2_700), ("12h", 43_200), ("1d", 86_400)] {
            let asked = export(&format!("--parts {word}")).expect(word);
            assert_eq!(asked.parts, Some(Duration::from_secs(seconds)), "{word}");
        }
        let all =
            export("--format flac --channels owner --gaps cut --parts 10m").expect("all at once");
        let want = Export {
            format: ExportFormat::Flac,
            channels: ExportChannels::Owner,
            gaps: ExportGaps::Cut,
            parts: Some(Duration::from_secs(600)),
        };
        assert_eq!(all, want);
    }

    #[test]
    fn an_export_nobody_can_make_is_refused_with_what_is_allowed() {
        for (words, told) in [
            (
                "--format mp3",
                "'mp3' for '--format <FORMAT>': one of stored, wav, flac, opus",
            ),
            ("--format WAV", "one of stored, wav, flac, opus"),
            ("--format=", "one of stored, wav, flac, opus"),
            (
                "--channels left",
                "'left' for '--channels <CHANNELS>': one of stereo, owner, other, mono",
            ),
            (
                "--gaps keep",
                "'keep' for '--gaps <GAPS>': one of silence, cut",
            ),
            (
                "--parts 0s",
                "'0s' for '--parts <LENGTH>': write a length as in 90s, 45m or 12h",
            ),
            ("--parts 45", "write a length as in 90s, 45m or 12h"),
            ("--parts -1h", "'-1'"),
            ("--parts=-1h", "write a length"),
            ("--parts 1.5h", "write a length"),
            ("--parts 99999999999999999999h", "write a length"),
            ("--parts 500ms", "write a length"),
            ("--parts", "a value is required"),
            (
                "--format wav --format flac",
                "cannot be used multiple times",
            ),
            ("--bitrate 64", "unexpected argument"),
        ] {
            let error = export(words).expect_err(words);
            assert!(error.contains(told), "{words}: {error}");
        }
        let parsed = Arguments::try_parse_from(["duolog", "recordings", "export", "rec_1"]);
        let error = parsed.expect_err("nowhere to write to").to_string();
        assert!(error.contains("--to <TO>"), "{error}");
    }

    #[test]
    fn the_help_of_an_export_says_every_word() {
        let parsed = Arguments::try_parse_from(["duolog", "recordings", "export", "--help"]);
        let help = parsed.expect_err("help").to_string();
        let options = ["--format", "--channels", "--gaps", "--parts <LENGTH>"];
        let words = FORMATS.map(|(word, _)| word);
        let words = words.into_iter().chain(CHANNELS.map(|(word, _)| word));
        let words = words.chain(GAPS.map(|(word, _)| word)).chain(options);
        for word in words.chain(["call.001.wav", "must not exist"]) {
            assert!(help.contains(word), "{word} in\n{help}");
        }
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
