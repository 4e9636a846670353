//! Settings as JSON, with the same keys and words as the configuration.

use std::time::Duration;

use duolog_call::{Announce, Compliance, DoNotRecord, Selective, StartStop};
use serde_json::{Map, Value, json};

use super::recording::{
    ANNOUNCE, DTMF, EMERGENCY, Layer, MODES, NOTICES, ON_FAILURE, REASONS, SELECTED, VOICEMAIL,
    word,
};

/// A level's keys; what it leaves to the level below is left out.
pub fn written(layer: &Layer) -> Value {
    let words = [
        ("mode", layer.mode.map(|v| word(&MODES, &v))),
        ("emergency", layer.emergency.map(|v| word(&EMERGENCY, &v))),
        ("voicemail", layer.voicemail.map(|v| word(&VOICEMAIL, &v))),
        ("notice", layer.notice.map(|v| word(&NOTICES, &v))),
        (
            "on_failure",
            layer.on_failure.map(|v| word(&ON_FAILURE, &v)),
        ),
        ("dtmf", layer.dtmf.map(|v| word(&DTMF, &v))),
    ];
    let listed = layer.do_not_record.as_ref();
    let tone = layer.repeat_tone.map(|tone| tone.map(|t| t.duration()));
    let others = [
        ("selective", layer.selective.map(selective)),
        (
            "do_not_record",
            listed.map(|list| list.iter().map(number).collect()),
        ),
        ("announce", layer.announce.map(announce)),
        ("compliance", layer.compliance.map(compliance)),
        ("repeat_tone", tone.map(span_or_off)),
        ("auto_resume", layer.auto_resume.map(span_or_off)),
        ("language", layer.language.clone().map(Value::from)),
    ];
    let words = words.map(|(key, word)| (key, word.map(Value::from)));
    let given = words.into_iter().chain(others);
    let keys: Map<String, Value> = given
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
    Value::Object(keys)
}

/// Every key, as calls follow them, where no level gives it as it is without.
pub fn written_whole(layer: &Layer, language: &str) -> Value {
    let settled = layer.settled();
    written(&Layer {
        mode: Some(settled.mode),
        selective: Some(settled.selective),
        emergency: Some(settled.emergency),
        voicemail: Some(settled.voicemail),
        do_not_record: Some(settled.do_not_record),
        announce: Some(settled.announce),
        compliance: Some(settled.compliance),
        notice: Some(settled.notice),
        repeat_tone: Some(settled.repeat_tone),
        auto_resume: Some(settled.auto_resume),
        on_failure: Some(settled.on_failure),
        dtmf: Some(settled.dtmf),
        language: Some(
            layer
                .language
                .clone()
                .unwrap_or_else(|| language.to_owned()),
        ),
    })
}

fn selective(selective: Selective) -> Value {
    let switch = |selected| word(&SELECTED, &selected);
    json!({
        "inbound_internal": switch(selective.inbound_internal),
        "inbound_external": switch(selective.inbound_external),
        "outbound_internal": switch(selective.outbound_internal),
        "outbound_external": switch(selective.outbound_external),
    })
}

fn number(listed: &DoNotRecord) -> Value {
    json!({ "number": listed.number, "reason": word(&REASONS, &listed.reason) })
}

fn switch(announce: Announce) -> &'static str {
    word(&ANNOUNCE, &announce)
}

fn announce(announce: StartStop) -> Value {
    json!({
        "internal": switch(announce.internal),
        "pstn": switch(announce.pstn),
        "after_resume": switch(announce.after_resume),
    })
}

fn compliance(compliance: Compliance) -> Value {
    json!({
        "inbound": switch(compliance.inbound),
        "outbound": switch(compliance.outbound),
        "delay": span(compliance.outbound_delay),
    })
}

fn span_or_off(wanted: Option<Duration>) -> Value {
    wanted.map_or_else(|| "off".into(), |wanted| span(wanted).into())
}

/// In whole seconds where it is that, else in milliseconds; the configuration knows nothing finer.
fn span(span: Duration) -> String {
    match span.subsec_millis() {
        0 => format!("{}s", span.as_secs()),
        _ => format!("{}ms", span.as_millis()),
    }
}
