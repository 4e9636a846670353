//! Guards the shape of the tree: which crate may know which, how long things may be, and what
//! every crate says about itself. There is no list of exceptions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const STRUCT_FIELDS: usize = 15;

/// The table of `crates/README.md`: a crate and the crates of the house that it may depend on.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("sip", &[]),
    ("rtp", &[]),
    ("audio", &[]),
    ("reach", &["sip"]),
    ("call", &["sip", "reach"]),
    ("media", &["rtp", "audio"]),
    ("spool", &[]),
    ("archive", &["spool", "audio"]),
    ("portal", &["archive"]),
    (
        "duolog",
        &[
            "sip", "rtp", "audio", "reach", "call", "media", "spool", "archive", "portal",
        ],
    ),
];

/// Crates that may hold no clock, socket, file, thread or lock.
const CORES: &[&str] = &["sip", "rtp", "audio", "reach", "call", "media"];

/// Packages that would bring a clock or a socket into a core.
const NOT_IN_CORES: &[&str] = &[
    "tokio",
    "socket2",
    "nix",
    "libc",
    "tracing",
    "sqlx",
    "object_store",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ stands in the tree")
        .into()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn every_source() -> Vec<(PathBuf, String)> {
    let folders = ["crates", "tests", "benches"];
    let paths = folders.iter().flat_map(|f| sources(&root().join(f)));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        (
            path.strip_prefix(root())
                .expect("below the root")
                .to_path_buf(),
            text,
        )
    };
    paths.map(read).collect()
}

fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).expect("every crate has a manifest");
    let document: toml_edit::DocumentMut = text.parse().expect("a manifest is TOML");
    let table = document.get("dependencies").and_then(|d| d.as_table_like());
    table.map_or_else(Vec::new, |t| {
        t.iter().map(|(name, _)| name.to_string()).collect()
    })
}

#[test]
fn arrows_point_one_way() {
    let mut wrong = Vec::new();
    let table: BTreeMap<_, _> = MAY_DEPEND_ON.iter().copied().collect();
    for entry in fs::read_dir(root().join("crates"))
        .expect("crates/")
        .flatten()
    {
        if !entry.path().is_dir() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(allowed) = table.get(name.as_str()) else {
            wrong.push(format!("crates/{name} has no line in the table"));
            continue;
        };
        for dependency in dependencies(&entry.path().join("Cargo.toml")) {
            let own = dependency.strip_prefix("duolog-");
            if own.is_some_and(|own| !allowed.contains(&own)) {
                wrong.push(format!("{name} may not depend on {dependency}"));
            }
            if CORES.contains(&name.as_str()) && NOT_IN_CORES.contains(&dependency.as_str()) {
                wrong.push(format!(
                    "{name} is a core and may not depend on {dependency}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_core_bans_clocks_sockets_and_files() {
    for core in CORES {
        let path = root().join("crates").join(core).join(".clippy.toml");
        let text = fs::read_to_string(&path).unwrap_or_default();
        for banned in [
            "std::time::Instant::now",
            "std::net::UdpSocket",
            "std::fs::File",
        ] {
            assert!(
                text.contains(banned),
                "{} does not ban {banned}",
                path.display()
            );
        }
    }
}

#[test]
fn every_crate_says_what_it_does_not_know() {
    for (name, _) in MAY_DEPEND_ON {
        let path = root().join("crates").join(name).join("src/lib.rs");
        let text = fs::read_to_string(&path).expect("every crate has a lib.rs");
        for heading in ["//! # What it does not know", "//! # Invariants"] {
            assert!(
                text.contains(heading),
                "{} lacks the heading {heading:?}",
                path.display()
            );
        }
    }
}

#[test]
fn unsafe_stands_where_it_is_known() {
    let allowing = |(_, text): &&(PathBuf, String)| text.contains("allow(unsafe_code)");
    let sources = every_source();
    let files: Vec<String> = sources
        .iter()
        .filter(|(path, _)| !path.ends_with("tidy.rs"))
        .filter(allowing)
        .map(|(path, _)| path.display().to_string())
        .collect();
    let known = [
        "benches/src/allocations.rs",
        "crates/audio/src/codec/g729.rs",
        "crates/duolog/src/memory.rs",
        "crates/duolog/src/relay/socket.rs",
    ];
    assert!(
        files.iter().all(|f| known.contains(&f.as_str())),
        "unsafe code in {files:?}"
    );
    for (path, text) in &sources {
        let blocks = text.matches("unsafe {").count() + text.matches("unsafe impl").count();
        let reasons = text.matches("// SAFETY:").count();
        if !path.ends_with("tidy.rs") {
            assert!(
                blocks <= reasons,
                "{}: an unsafe block without its reason",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_is_too_long() {
    let mut wrong = Vec::new();
    for (path, text) in every_source() {
        // The file limit is "without tests" (ARCHITECTURE §11); the others hold for tests as well.
        let tests = path.starts_with("crates") && path.iter().any(|part| part == "tests");
        let tests = tests || path.ends_with("tests.rs");
        let code = text
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or(&text);
        let lines = code.lines().count();
        if lines > FILE_LINES && !tests {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
        for (name, length) in blocks(&text, is_function) {
            if length > FUNCTION_LINES {
                wrong.push(format!("{}: {name}: {length} lines", path.display()));
            }
        }
        for (name, fields) in structs(&text) {
            if fields > STRUCT_FIELDS {
                wrong.push(format!("{}: {name}: {fields} fields", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "longer than the stop: {wrong:#?}");
}

#[test]
fn no_test_sleeps_or_is_switched_off() {
    // Split, so that this file does not find itself.
    let banned = [
        concat!("thread::", "sleep("),
        concat!("time::", "sleep("),
        concat!("#[ign", "ore"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in every_source() {
        let whole = path.starts_with("tests/tests");
        let tests = text.split("\n#[cfg(test)]\nmod tests").nth(1).unwrap_or("");
        let scope = if whole { text.as_str() } else { tests };
        for word in banned {
            if scope.contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Functions or structs of formatted source: from the line that opens one to the line that closes
/// it at the same depth, with the number of lines.
fn blocks(text: &str, opens: fn(&str) -> bool) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        if !opens(body) {
            continue;
        }
        let indent = &line[..line.len() - body.len()];
        let close = format!("{indent}}}");
        let rest = lines[start..].iter().position(|l| {
            *l == close
                || l.ends_with(';') && l.starts_with(indent) && !l[indent.len()..].starts_with(' ')
        });
        if let Some(length) = rest {
            found.push((body.to_string(), length + 1));
        }
    }
    found
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let allowed =
        |w: &&str| w.starts_with("pub") || ["const", "async", "unsafe", "extern"].contains(w);
    words.find(|w| !allowed(w)) == Some("fn")
}

fn structs(text: &str) -> Vec<(String, usize)> {
    let is_struct = |line: &str| {
        let line = line
            .strip_prefix("pub ")
            .or(line.strip_prefix("pub(crate) "))
            .unwrap_or(line);
        line.starts_with("struct ") && line.ends_with('{')
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        if is_struct(line.trim_start()) {
            let body = lines[start + 1..].iter().take_while(|l| l.trim() != "}");
            let field = |l: &&&str| {
                let l = l.trim();
                !l.starts_with("//") && !l.starts_with('#') && l.contains(':') && l.ends_with(',')
            };
            found.push((line.trim().to_string(), body.filter(field).count()));
        }
    }
    found
}

#[test]
fn the_guards_see_what_they_guard_against() {
    let long = format!("fn long() {{\n{}}}\n", "    work();\n".repeat(80));
    assert_eq!(
        blocks(&long, is_function),
        [("fn long() {".to_string(), 82)]
    );
    let wide = format!("struct Wide {{\n{}}}\n", "    field: u8,\n".repeat(16));
    assert_eq!(structs(&wide), [("struct Wide {".to_string(), 16)]);
}
