//! `[recording]`, `[[group]]`, `[codes]`, and the keys of recording at whatever level they stand: in
//! the file, or in a document that was stored while a node ran.

use std::collections::HashMap;
use std::time::Duration;

use duolog_call::{
    Announce, Compliance, DoNotRecord, FeatureCodes, OwnerKind, RepeatInterval, Selected,
    Selective, StartStop,
};
use toml_edit::{Array, InlineTable, Item, Table};

use super::words::{LANGUAGE, code, language, number, repeat_tone, some_text};
use super::{SECONDS, within};
use crate::config::document::{Mistake, Section, Source};
use crate::config::recording::{
    ANNOUNCE, Codes, DTMF, EMERGENCY, Layer, MODES, NOTICES, ON_FAILURE, REASONS, Recording,
    SELECTED, VOICEMAIL,
};
use crate::config::units::duration;

/// What an owner's keys stand over.
pub(super) struct Levels {
    tenant: Layer,
    groups: HashMap<String, Layer>,
    longest_repeat_tone_s: u32,
}

impl Levels {
    /// Reads `[recording]`, `[[group]]` and `[codes]`.
    pub(super) fn read(root: &mut Section<'_>) -> (Self, Recording) {
        let mut section = root.section("recording");
        let (least, most) = (
            *RepeatInterval::RANGE_S.end(),
            *RepeatInterval::WIDE_RANGE_S.end(),
        );
        let longest = within(
            &mut section,
            "longest_repeat_tone",
            least * SECONDS,
            (least, most),
        );
        let longest_repeat_tone_s = longest.as_secs() as u32;
        let tenant = layer(&mut section, longest_repeat_tone_s);
        section.finish();
        let mut levels = Self {
            tenant,
            groups: HashMap::new(),
            longest_repeat_tone_s,
        };
        let groups = levels.groups(root.sections("group"));
        let recording = Recording {
            codes: codes(root.section("codes")),
            longest_repeat_tone_s,
            groups,
        };
        (levels, recording)
    }

    fn groups(&mut self, sections: Vec<Section<'_>>) -> Vec<String> {
        let mut names = Vec::new();
        for mut section in sections {
            let name = section.required("name", "write a name", some_text);
            let own = layer(&mut section, self.longest_repeat_tone_s);
            if let Some(name) = name {
                if names.contains(&name) {
                    section.refuse("name", format!("{name} is already a group"));
                }
                self.groups.insert(name.clone(), own.over(&self.tenant));
                names.push(name);
            }
            section.finish();
        }
        names
    }

    /// An owner's keys over those of their group and of the tenant, and the group's name.
    pub(super) fn owner(
        &self,
        section: &mut Section<'_>,
        kind: OwnerKind,
    ) -> (Option<String>, Layer) {
        let group = section.optional("group", "write the name of a group", some_text);
        let own = layer(section, self.longest_repeat_tone_s);
        let below = match &group {
            None => Some(&self.tenant),
            Some(name) => self.groups.get(name),
        };
        let Some(below) = below else {
            let name = group.as_deref().unwrap_or_default();
            section.refuse("group", format!("there is no group {name}"));
            return (group, own);
        };
        let all = own.over(below);
        if let Some(what) = all.unfit_for(kind) {
            section.refuse("mode", what);
        }
        (group, all)
    }
}

/// Reads a document: the keys of an owner as JSON, over what is configured for that owner. Every mistake
/// names its key; there are no lines.
///
/// # Errors
///
/// All mistakes.
pub fn document(
    json: &serde_json::Value,
    kind: OwnerKind,
    below: &Layer,
    longest_repeat_tone_s: u32,
) -> Result<Layer, Vec<Mistake>> {
    let source = Source::json();
    let mut table = Table::new();
    match json.as_object() {
        Some(keys) => {
            for (key, value) in keys {
                match value_of(value) {
                    Some(value) => drop(table.insert(key, Item::Value(value))),
                    None => {
                        let what = "null is not allowed; leave the key out".into();
                        source.mistake(None, key.clone(), what);
                    }
                }
            }
        }
        None => source.mistake(None, "document".into(), "must be a JSON object".into()),
    }
    let mut section = Section::root(&source, &table);
    let own = layer(&mut section, longest_repeat_tone_s);
    if let Some(what) = own.over(below).unfit_for(kind) {
        section.refuse("mode", what);
    }
    section.finish();
    let mistakes = source.into_mistakes();
    if mistakes.is_empty() {
        Ok(own)
    } else {
        Err(mistakes)
    }
}

/// The same value in TOML, which has no null.
fn value_of(json: &serde_json::Value) -> Option<toml_edit::Value> {
    use serde_json::Value;
    Some(match json {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => {
            let values: Option<Array> = values.iter().map(value_of).collect();
            values?.into()
        }
        Value::Object(keys) => {
            let pair = |(key, value)| Some((key, value_of(value)?));
            let table: Option<InlineTable> = keys.iter().map(pair).collect();
            table?.into()
        }
    })
}

fn layer(section: &mut Section<'_>, longest_repeat_tone_s: u32) -> Layer {
    let tone = format!("write 10s to {longest_repeat_tone_s}s, on for 20s, or off");
    Layer {
        mode: section.chosen("mode", &MODES),
        selective: selective(section),
        emergency: section.chosen("emergency", &EMERGENCY),
        voicemail: section.chosen("voicemail", &VOICEMAIL),
        do_not_record: do_not_record(section),
        announce: announce(section),
        compliance: compliance(section),
        notice: section.chosen("notice", &NOTICES),
        repeat_tone: section.optional("repeat_tone", &tone, |text| {
            repeat_tone(text, longest_repeat_tone_s)
        }),
        auto_resume: section.optional("auto_resume", "write 1s to 86400s, or off", auto_resume),
        on_failure: section.chosen("on_failure", &ON_FAILURE),
        dtmf: section.chosen("dtmf", &DTMF),
        language: section.optional("language", LANGUAGE, language),
    }
}

fn auto_resume(text: &str) -> Option<Option<Duration>> {
    if text == "off" {
        return Some(None);
    }
    let range = SECONDS..=86_400 * SECONDS;
    duration(text).filter(|span| range.contains(span)).map(Some)
}

/// All four, or none.
fn selective(section: &mut Section<'_>) -> Option<Selective> {
    if !section.has("selective") {
        // Known all the same.
        let _ = section.section("selective");
        return None;
    }
    let mut section = section.section("selective");
    let mut of = |key| -> Option<Selected> {
        let find = |text: &str| {
            SELECTED
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, v)| *v)
        };
        section.required(key, "all four are: on or off", find)
    };
    let all = [
        of("inbound_internal"),
        of("inbound_external"),
        of("outbound_internal"),
        of("outbound_external"),
    ];
    section.finish();
    let [
        inbound_internal,
        inbound_external,
        outbound_internal,
        outbound_external,
    ] = all;
    Some(Selective {
        inbound_internal: inbound_internal?,
        inbound_external: inbound_external?,
        outbound_internal: outbound_internal?,
        outbound_external: outbound_external?,
    })
}

fn do_not_record(section: &mut Section<'_>) -> Option<Vec<DoNotRecord>> {
    let given = section.has("do_not_record");
    let digits = "write a number as this node does: digits, * # and a leading +";
    let mut listed: Vec<DoNotRecord> = Vec::new();
    for mut section in section.sections("do_not_record") {
        let number = section.required("number", digits, number);
        let reason = section.required_choice("reason", &REASONS);
        if let Some(number) = number
            .as_ref()
            .filter(|n| listed.iter().any(|l| l.number == **n))
        {
            section.refuse("number", format!("{number} is listed already"));
        }
        section.finish();
        if let (Some(number), Some(reason)) = (number, reason) {
            listed.push(DoNotRecord { number, reason });
        }
    }
    given.then_some(listed)
}

fn announce(section: &mut Section<'_>) -> Option<StartStop> {
    if !section.holds_table("announce") {
        let allowed = "one of on, off, or { internal, pstn, after_resume }";
        return section.optional("announce", allowed, |text| match text {
            "on" => Some(StartStop::BOTH),
            "off" => Some(StartStop::OFF),
            _ => None,
        });
    }
    let mut section = section.section("announce");
    let mut of = |key| section.choice(key, Announce::Off, &ANNOUNCE);
    let announce = StartStop {
        internal: of("internal"),
        pstn: of("pstn"),
        after_resume: of("after_resume"),
    };
    section.finish();
    Some(announce)
}

fn compliance(section: &mut Section<'_>) -> Option<Compliance> {
    let given = section.has("compliance");
    let mut section = section.section("compliance");
    let compliance = Compliance {
        inbound: section.choice("inbound", Announce::Off, &ANNOUNCE),
        outbound: section.choice("outbound", Announce::Off, &ANNOUNCE),
        outbound_delay: within(&mut section, "delay", Duration::ZERO, (0, 60)),
    };
    section.finish();
    given.then_some(compliance)
}

fn codes(mut section: Section<'_>) -> Codes {
    let wait = within(&mut section, "wait", 3 * SECONDS, (1, 10));
    let allowed = "write * or # and one to four digits, for example *48";
    let mut of = |key, usual: &str| section.parsed(key, usual.into(), allowed, code);
    let codes = Codes {
        start: of("start", "*44"),
        stop: of("stop", "*45"),
        pause: of("pause", "*48"),
        resume: of("resume", "*49"),
        wait,
    };
    let named = [
        ("start", "starts", &codes.start),
        ("stop", "stops", &codes.stop),
        ("pause", "pauses", &codes.pause),
        ("resume", "resumes", &codes.resume),
    ];
    let mut taken = false;
    for (at, (key, _, code)) in named.iter().enumerate() {
        if let Some((_, does, _)) = named[..at].iter().find(|(_, _, other)| other == code) {
            section.refuse(key, format!("{code} already {does}"));
            taken = true;
        }
    }
    let Codes {
        start,
        stop,
        pause,
        resume,
        wait: _,
    } = &codes;
    if let Err(error) = FeatureCodes::new(start, stop, pause, resume)
        && !taken
    {
        section.refuse("start", error.to_string());
    }
    section.finish();
    codes
}

#[cfg(test)]
mod tests;
