//! The fuzzers' targets over the committed corpus and over thousands of spoiled copies of it: what
//! `cargo fuzz` looks for over hours, as far as some seconds go (`tests/fuzz`).

#[path = "../../../tests/fuzz/targets.rs"]
mod targets;

mod support;

use std::path::PathBuf;

use support::mutator::Mutator;

/// Every file of a target's corpus, in order.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let entries = std::fs::read_dir(folder.join(target)).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn check(target: &str, run: fn(&[u8]), at_least: usize, mutations: usize) {
    let files = corpus(target);
    assert!(files.len() >= at_least, "{}", files.len());
    for (_, bytes) in &files {
        run(bytes);
    }
    let mut mutator = Mutator::new(44);
    for _ in 0..mutations {
        let (_, bytes) = &files[mutator.below(files.len())];
        run(&mutator.mutate(bytes));
    }
}

#[test]
fn messages() {
    check("message", targets::message, 65, 10_000);
}

#[test]
fn descriptions() {
    check("sdp", targets::sdp, 20, 20_000);
}

#[test]
fn bodies_of_several_parts() {
    check("multipart", targets::multipart, 7, 20_000);
}

#[test]
fn every_fixture_is_in_the_corpus() {
    let names: Vec<String> = corpus("message")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for (name, _) in support::fixtures() {
        assert!(names.contains(&name.replace('/', "-")), "{name}");
    }
}
