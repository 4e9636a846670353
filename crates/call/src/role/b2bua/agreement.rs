//! What one leg agreed on: read from what its party said and what it was told.

use duolog_sip::Flow;
use duolog_sip::sdp::{Audio, Description, Encoding, Format, Profile, SdpError, Setup};

use crate::media::{DtlsRole, LegMedia, LegSecurity, Multiplexing, PayloadFormat};

/// Packet time where the peer asks for none (RFC 3551 §4.2), and the limits of what is asked for.
const PTIME_MS: u8 = 20;
const PTIMES_MS: (u8, u8) = (10, 60);

/// What a leg is connected to once both ends have described themselves: formats both have, first in
/// the party's own numbers, which it is sent; then in ours where they differ, under which it may send
/// (RFC 3264 §6.1: an answer may number anew).
pub(crate) fn media(
    theirs: &Description,
    ours: &Description,
    flow: &Flow,
) -> Result<LegMedia, SdpError> {
    let own = theirs.audio_across(ours).ok_or(SdpError::NoUsableAudio)?;
    let told = ours.audio().ok_or(SdpError::NoUsableAudio)?;
    let formats = formats(&own, &told)?;
    if !formats.iter().any(|format| format.encoding.is_speech()) {
        return Err(SdpError::NoCommonCodec);
    }
    Ok(LegMedia {
        rtp: own.rtp,
        rtcp: own.rtcp,
        rtcp_mux: match own.rtcp_mux && told.rtcp_mux {
            true => Multiplexing::Muxed,
            false => Multiplexing::Separate,
        },
        signalled_from: flow.peer.ip(),
        formats,
        ptime_ms: own
            .ptime_ms
            .unwrap_or(PTIME_MS)
            .clamp(PTIMES_MS.0, PTIMES_MS.1),
        direction: own.direction,
        security: security(&own, &told)?,
    })
}

/// A number that both use, and for different things, says nothing about what comes under it: who
/// answers may send by the offer or by its own answer.
fn formats(own: &Audio, told: &Audio) -> Result<Vec<PayloadFormat>, SdpError> {
    let has = |audio: &Audio, encoding| audio.formats.iter().any(|f| f.encoding == encoding);
    let shared = |format: &&Format| {
        format.encoding != Encoding::Other
            && has(own, format.encoding)
            && has(told, format.encoding)
    };
    let mut all: Vec<Format> = own.formats.iter().filter(shared).copied().collect();
    let mut unclear: Vec<Format> = Vec::new();
    for format in told.formats.iter().filter(shared) {
        let known = all.iter().find(|f| f.payload_type == format.payload_type);
        match known.copied() {
            Some(known) if known != *format => unclear.extend([known, *format]),
            Some(_) => {}
            None => all.push(*format),
        }
    }
    if unclear.iter().any(|format| format.encoding.is_speech()) {
        return Err(SdpError::NoCommonCodec);
    }
    let is_clear = |f: &&Format| unclear.iter().all(|u| u.payload_type != f.payload_type);
    let clear = all.iter().filter(is_clear).map(|f| PayloadFormat {
        payload_type: f.payload_type,
        encoding: f.encoding,
    });
    Ok(clear.collect())
}

fn security(own: &Audio, told: &Audio) -> Result<Option<LegSecurity>, SdpError> {
    let clear = |audio: &Audio| matches!(audio.profile, Profile::Avp | Profile::Avpf);
    let pair = told.crypto.iter().find_map(|ours| {
        let same = |theirs: &&duolog_sip::sdp::Crypto| {
            theirs.tag == ours.tag && theirs.key.suite() == ours.key.suite()
        };
        Some((ours, own.crypto.iter().find(same)?))
    });
    if let Some((ours, theirs)) = pair {
        return Ok(Some(LegSecurity::Sdes {
            ours: ours.key.clone(),
            theirs: theirs.key.clone(),
        }));
    }
    // Keys in a clear profile may be left by whoever answers, but not half taken.
    if clear(own) && clear(told) {
        let one_has_none = own.crypto.is_empty() || told.crypto.is_empty();
        return one_has_none.then_some(None).ok_or(SdpError::NoUsableKeys);
    }
    let (Some(theirs), Some(ours)) = (&own.dtls, &told.dtls) else {
        return Err(SdpError::NoUsableKeys);
    };
    let role = match (ours.setup, theirs.setup) {
        (Setup::Active, _) | (Setup::ActPass, Setup::Passive) => DtlsRole::Active,
        (Setup::Passive, _) | (Setup::ActPass, Setup::Active) => DtlsRole::Passive,
        (Setup::ActPass, Setup::ActPass) => return Err(SdpError::NoUsableKeys),
    };
    Ok(Some(LegSecurity::Dtls {
        role,
        fingerprint: theirs.fingerprint.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::offer;

    fn flow() -> Flow {
        Flow {
            transport: duolog_sip::Transport::Udp,
            local: "192.0.2.99:5060".parse().unwrap(),
            peer: "192.0.2.50:5060".parse().unwrap(),
        }
    }

    fn text() -> String {
        String::from_utf8(offer("192.0.2.1:4000").write().to_vec()).unwrap()
    }

    fn parse(text: &str) -> Description {
        Description::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_shared_formats_are_connected() {
        let fewer = text()
            .replace("RTP/AVP 0 8 101", "RTP/AVP 8 101")
            .replace("101", "96");
        let agreed = media(&parse(&text()), &parse(&fewer), &flow()).unwrap();
        let types: Vec<u8> = agreed.formats.iter().map(|f| f.payload_type).collect();
        assert_eq!(types, [8, 101, 96]);
        assert_eq!(agreed.signalled_from, flow().peer.ip());
        let other = text().replace("RTP/AVP 0 8 101", "RTP/AVP 18 101");
        let none = media(&parse(&text()), &parse(&other), &flow());
        assert_eq!(none, Err(SdpError::NoCommonCodec));
    }

    #[test]
    fn a_number_never_stands_for_two_things() {
        let named = |list: &str| {
            let text = text();
            let (head, _) = text.split_once("m=audio").unwrap();
            let mut text = format!("{head}m=audio 4000 RTP/AVP");
            for word in list.split(' ') {
                text += &format!(" {}", word.split('=').next().unwrap());
            }
            text += "\r\n";
            for (number, map) in list.split(' ').filter_map(|word| word.split_once('=')) {
                text += &format!("a=rtpmap:{number} {map}\r\n");
            }
            parse(&text)
        };
        let (te8, te48) = ("telephone-event/8000", "telephone-event/48000");
        for (theirs, ours, want) in [
            // Swapped: neither number says what it is.
            (
                format!("96=opus/48000/2 97={te48}"),
                format!("97=opus/48000/2 96={te48}"),
                "NoCommonCodec",
            ),
            (
                format!("0 96=opus/48000/2 97={te48}"),
                format!("0 97=opus/48000/2 96={te48}"),
                "NoCommonCodec",
            ),
            (
                "96=opus/48000/2 97=L16/16000".to_owned(),
                "97=opus/48000/2 96=L16/16000".to_owned(),
                "NoCommonCodec",
            ),
            // Events alone: the call goes on without them.
            (
                format!("0 96={te8} 97={te48}"),
                format!("0 97={te8} 96={te48}"),
                "0",
            ),
            // What one of them has alone does not take part, so its number is free.
            (
                format!("97=opus/48000/2 96={te8}"),
                "96=opus/48000/2".to_owned(),
                "97 96",
            ),
            (
                "96=opus/48000/2".to_owned(),
                format!("97=opus/48000/2 96={te8}"),
                "96 97",
            ),
            ("0 0 0 8 0".to_owned(), "8 8 0".to_owned(), "0 8"),
        ] {
            let agreed = media(&named(&theirs), &named(&ours), &flow());
            let got = agreed.map_or_else(
                |why| format!("{why:?}"),
                |media| {
                    let numbers = media.formats.iter().map(|f| f.payload_type.to_string());
                    numbers.collect::<Vec<_>>().join(" ")
                },
            );
            assert_eq!(got, want, "{theirs} / {ours}");
        }
    }

    #[test]
    fn rtcp_shares_the_port_only_where_both_say_so() {
        let muxed = parse(&format!("{}a=rtcp-mux\r\n", text()));
        let plain = parse(&text());
        for (theirs, ours, expected) in [
            (&muxed, &muxed, Multiplexing::Muxed),
            (&muxed, &plain, Multiplexing::Separate),
            (&plain, &muxed, Multiplexing::Separate),
        ] {
            assert_eq!(media(theirs, ours, &flow()).unwrap().rtcp_mux, expected);
        }
    }

    #[test]
    fn packet_times_have_limits() {
        for (asked, want) in [
            ("", 20),
            ("a=ptime:1\r\n", 10),
            ("a=ptime:10\r\n", 10),
            ("a=ptime:40\r\n", 40),
            ("a=ptime:60\r\n", 60),
            ("a=ptime:200\r\n", 60),
            ("a=ptime:0\r\n", 20),
            ("a=ptime:900\r\n", 20),
            ("a=ptime:x\r\n", 20),
        ] {
            let theirs = parse(&text().replace("a=ptime:20\r\n", asked));
            let agreed = media(&theirs, &parse(&text()), &flow()).unwrap();
            assert_eq!(agreed.ptime_ms, want, "{asked}");
        }
    }
}
