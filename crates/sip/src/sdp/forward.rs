//! A party's description as the other party gets it: our address, our ports, our keys, the formats
//! both can have. Each leg has its own transport; what is said beside it passes untouched.

use std::net::SocketAddr;

use super::audio::{Audio, Chosen, place_of_ours, read_at, select};
use super::crypto::{Crypto, CryptoSuite, SdesKey};
use super::format::{DYNAMIC, Encoding, Format};
use super::protection::{DtlsAbility, MediaSecurity, Profile, Protection, Setup};
use super::wording::{
    Keys, Mux, adapt_address, adapt_profile, adapt_session, add_formats, keep_formats, refuse,
    take_formats,
};
use super::{Description, SdpError};

/// Our end of one leg, and what the operator wants there.
#[derive(Debug)]
pub struct Terms<'a> {
    /// Our address for RTP.
    pub rtp: SocketAddr,
    /// Our address for RTCP.
    pub rtcp: SocketAddr,
    /// Whether media may or must be protected.
    pub security: MediaSecurity,
    /// Our certificate, as `sha-256 AA:BB:...`; without one there is no DTLS.
    pub dtls_fingerprint: Option<&'a str>,
    /// What we send with: one key for each suite that may be agreed on.
    pub keys: Vec<SdesKey>,
    /// What the peer of this leg was told last in an exchange that came to its end. A new offer does
    /// not change the transport of a leg, nor the meaning of a payload type (RFC 3264 §8.3.2).
    pub standing: Option<&'a Description>,
}

/// What can be made out of what.
#[derive(Debug, Clone, Copy)]
pub struct Transcoding<'a> {
    /// Codecs to offer beside what a party offers. Empty: nothing is transcoded.
    pub add: &'a [Encoding],
    /// Whether G.729 can be transcoded.
    pub g729: G729,
}

/// Whether the G.729 library is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum G729 {
    /// G.729 can be transcoded.
    Available,
    /// G.729 passes where both parties have it, and only there.
    #[default]
    Missing,
}

/// An offer, as it came and as it went on.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// What the party that offered said.
    pub theirs: &'a Description,
    /// What the party that answers was told.
    pub told: &'a Description,
}

impl Transcoding<'_> {
    fn takes(&self, encoding: Encoding) -> bool {
        let ready = encoding != Encoding::G729 || self.g729 == G729::Available;
        !self.add.is_empty() && encoding.is_speech() && ready
    }
}

impl Terms<'_> {
    fn dtls(&self) -> DtlsAbility {
        match self.dtls_fingerprint {
            Some(_) => DtlsAbility::Able,
            None => DtlsAbility::Unable,
        }
    }

    fn key(&self, suite: CryptoSuite) -> Option<&SdesKey> {
        self.keys.iter().find(|key| key.suite() == suite)
    }

    /// Our own audio in what the peer was told last.
    fn standing(&self) -> Option<Audio> {
        let session = &self.standing?.session;
        read_at(session, place_of_ours(session)?)
    }
}

impl Description {
    /// This offer as the other party gets it.
    ///
    /// Formats that are not known go with their attributes; what `transcoding` adds comes after those
    /// that stay. Other media are refused in place (RFC 3264 §6), unknown attributes stay. A
    /// `c=0.0.0.0` hold becomes a direction. Session id and version in `o=` stay. Errors call for 488.
    pub fn offer_to(
        &self,
        from: &Terms<'_>,
        to: &Terms<'_>,
        transcoding: &Transcoding<'_>,
    ) -> Result<Description, SdpError> {
        let chosen = select(&self.session, from.security, from.dtls())?;
        let standing = to.standing();
        let (profile, way) = transport_of_offer(&chosen, to, standing.as_ref());
        let kept: Vec<Format> = known(&chosen.audio).collect();
        let added = additions(&kept, standing.as_ref(), transcoding);
        let mux = match (profile == chosen.audio.profile, &standing) {
            (true, _) => chosen.audio.rtcp_mux,
            (false, Some(standing)) => standing.rtcp_mux,
            (false, None) => false,
        };
        let keys = match (way, to.dtls_fingerprint) {
            (Way::Clear, _) | (Way::Dtls, None) => Keys::None,
            (Way::Optional | Way::Sdes, _) => {
                Keys::Sdes(lines(&chosen.audio, standing.as_ref(), to))
            }
            (Way::Dtls, Some(fingerprint)) => Keys::Dtls {
                fingerprint,
                setup: Setup::ActPass,
            },
        };
        let mut session = self.session.clone();
        adapt_session(&mut session, to.rtp.ip());
        for (at, media) in session.medias.iter_mut().enumerate() {
            if at != chosen.place {
                refuse(media);
                continue;
            }
            keep_formats(media, &kept);
            add_formats(media, &added);
            adapt_address(media, &chosen.audio, to.rtp, to.rtcp);
            adapt_profile(media, profile, Mux::when(mux), &keys);
        }
        Ok(Description { session })
    }

    /// This answer as the party that offered gets it.
    ///
    /// Where the answer's first codec was in the offer, the formats of the answer that were in the
    /// offer pass; else the party that offered is answered with the first codec of its own that can
    /// be transcoded. Errors call for 488.
    pub fn answer_to(
        &self,
        offered: &Offered<'_>,
        to: &Terms<'_>,
        transcoding: &Transcoding<'_>,
    ) -> Result<Description, SdpError> {
        let chosen = select(&offered.theirs.session, to.security, to.dtls())?;
        let (place, answer, told) = self.across(offered.told)?;
        let agreement = agreement(&chosen.audio, &told, &answer, transcoding)?;
        let mux = match told.profile == chosen.audio.profile {
            true => chosen.audio.rtcp_mux && answer.rtcp_mux,
            false => chosen.audio.rtcp_mux,
        };
        let keys = match (&chosen.protection, to.dtls_fingerprint) {
            (Protection::Clear, _) => Keys::None,
            (Protection::Sdes(line), _) => {
                let key = to.key(line.key.suite()).ok_or(SdpError::NoUsableKeys)?;
                let (tag, key) = (line.tag, key.clone());
                Keys::Sdes(vec![Crypto { tag, key }])
            }
            (Protection::Dtls(theirs), Some(fingerprint)) => Keys::Dtls {
                fingerprint,
                setup: theirs.setup.answered(),
            },
            (Protection::Dtls(_), None) => return Err(SdpError::NoUsableKeys),
        };
        let mut session = self.session.clone();
        adapt_session(&mut session, to.rtp.ip());
        let mut media = session.medias.swap_remove(place);
        // Offer and answer have their media in the same order, whatever order this answer has them in.
        session.medias.clone_from(&offered.theirs.session.medias);
        session.medias.iter_mut().for_each(refuse);
        let offer = &offered.theirs.session.medias[chosen.place];
        match &agreement {
            Agreement::Same(kept) => keep_formats(&mut media, kept),
            Agreement::Transcoded(taken) => take_formats(&mut media, offer, taken),
        }
        adapt_address(&mut media, &answer, to.rtp, to.rtcp);
        adapt_profile(&mut media, chosen.audio.profile, Mux::when(mux), &keys);
        session.medias[chosen.place] = media;
        Ok(Description { session })
    }

    /// The place and the audio of this answer, and our own audio in what was answered.
    fn across(&self, told: &Description) -> Result<(usize, Audio, Audio), SdpError> {
        let place = place_of_ours(&told.session).ok_or(SdpError::NoUsableAudio)?;
        let ours = read_at(&told.session, place).ok_or(SdpError::NoUsableAudio)?;
        match read_at(&self.session, place) {
            Some(audio) => Ok((place, audio, ours)),
            None => {
                let found = select(&self.session, MediaSecurity::AsOffered, DtlsAbility::Able)?;
                Ok((found.place, found.audio, ours))
            }
        }
    }
}

/// How an offer is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Clear,
    /// Keys in a clear profile, to be taken or left.
    Optional,
    Sdes,
    Dtls,
}

/// The profile of an offer to a party, and how it is protected: as before, or as the operator wants
/// it, or as it was offered.
fn transport_of_offer(chosen: &Chosen, to: &Terms<'_>, standing: Option<&Audio>) -> (Profile, Way) {
    let theirs = chosen.audio.profile;
    let asked = match &chosen.protection {
        Protection::Clear => Way::Clear,
        Protection::Sdes(_) if theirs.is_clear() => Way::Optional,
        Protection::Sdes(_) => Way::Sdes,
        Protection::Dtls(_) => Way::Dtls,
    };
    if let Some(standing) = standing {
        return (standing.profile, way_of(standing));
    }
    let way = match (to.security, asked) {
        (MediaSecurity::Never, _) => Way::Clear,
        (_, Way::Dtls) if to.dtls() == DtlsAbility::Able => Way::Dtls,
        (_, Way::Dtls) | (MediaSecurity::Always, _) => Way::Sdes,
        (MediaSecurity::AsOffered, asked) => asked,
    };
    let fits = match way {
        Way::Clear | Way::Optional => theirs.is_clear(),
        Way::Sdes => asked == Way::Sdes,
        Way::Dtls => theirs.is_dtls(),
    };
    let profile = match way {
        _ if fits => theirs,
        // Feedback is of use only to the other end of one leg: a leg that is unlike the other does
        // without, and so with what every phone knows.
        Way::Clear | Way::Optional => Profile::Avp,
        Way::Sdes => Profile::Savp,
        Way::Dtls => Profile::DtlsSavpf,
    };
    (profile, way)
}

/// How a description of ours is protected.
fn way_of(ours: &Audio) -> Way {
    match (ours.profile.is_clear(), ours.crypto.is_empty()) {
        (true, true) => Way::Clear,
        (true, false) => Way::Optional,
        (false, false) => Way::Sdes,
        (false, true) => Way::Dtls,
    }
}

/// Our `a=crypto` lines in an offer: first the suites that stand, then those of the party that
/// offers, in its order, then the others.
fn lines(offer: &Audio, standing: Option<&Audio>, to: &Terms<'_>) -> Vec<Crypto> {
    let of = |audio: &Audio| -> Vec<CryptoSuite> {
        audio.crypto.iter().map(|line| line.key.suite()).collect()
    };
    let mut suites = standing.map(of).unwrap_or_default();
    suites.extend(of(offer));
    suites.extend(CryptoSuite::ALL);
    let mut lines: Vec<Crypto> = Vec::new();
    for suite in suites {
        let is_new = lines.iter().all(|line| line.key.suite() != suite);
        if let Some(key) = to.key(suite).filter(|_| is_new).cloned() {
            let tag = lines.last().map_or(1, |line| line.tag + 1);
            lines.push(Crypto { tag, key });
        }
    }
    lines
}

fn known(audio: &Audio) -> impl Iterator<Item = Format> {
    let known = |f: &&Format| f.encoding != Encoding::Other;
    audio.formats.iter().filter(known).copied()
}

/// What is offered beside `kept`: codecs that can be transcoded into one of those, and events on
/// their clocks.
fn additions(
    kept: &[Format],
    standing: Option<&Audio>,
    transcoding: &Transcoding<'_>,
) -> Vec<Format> {
    let mut added: Vec<Format> = Vec::new();
    if !kept.iter().any(|f| transcoding.takes(f.encoding)) {
        return added;
    }
    let before = standing.map(|s| s.formats.as_slice()).unwrap_or_default();
    let missing: Vec<Encoding> = transcoding
        .add
        .iter()
        .copied()
        .filter(|e| transcoding.takes(*e) && kept.iter().all(|f| f.encoding != *e))
        .collect();
    let clocks = missing.iter().filter_map(|e| e.clock_rate_hz());
    let events = clocks.map(|rate_hz| Encoding::TelephoneEvent { rate_hz });
    for encoding in missing.iter().copied().chain(events) {
        let taken = || kept.iter().chain(&added);
        let number = free_number(encoding, taken().copied(), before);
        let is_new = taken().all(|f| f.encoding != encoding);
        added.extend(number.filter(|_| is_new).map(|payload_type| Format {
            payload_type,
            encoding,
        }));
    }
    added
}

/// A payload type for this encoding: its own, or the one it had before, or one that had no meaning
/// yet. High numbers first: phones count from the lowest.
fn free_number(
    encoding: Encoding,
    taken: impl Iterator<Item = Format> + Clone,
    before: &[Format],
) -> Option<u8> {
    let is_free = |number: &u8| taken.clone().all(|f| f.payload_type != *number);
    let same = before.iter().find(|f| f.encoding == encoding);
    let own = encoding.static_type().into_iter();
    let own = own.chain(same.map(|f| f.payload_type));
    let unused = |number: &u8| before.iter().all(|f| f.payload_type != *number);
    let fresh = DYNAMIC.rev().filter(unused);
    own.chain(fresh).find(is_free)
}

/// What the party that offered is answered.
enum Agreement {
    /// These formats of the answer.
    Same(Vec<Format>),
    /// These formats of the offer, since none of the answer will do.
    Transcoded(Vec<Format>),
}

fn agreement(
    offer: &Audio,
    told: &Audio,
    answer: &Audio,
    transcoding: &Transcoding<'_>,
) -> Result<Agreement, SdpError> {
    let offers = |encoding: Encoding| offer.formats.iter().any(|f| f.encoding == encoding);
    let was_told = |f: &&Format| told.formats.iter().any(|t| t.encoding == f.encoding);
    let first = answer.formats.iter().filter(was_told);
    let first = first.map(|f| f.encoding).find(|e| e.is_speech());
    let first = first.ok_or(SdpError::NoCommonCodec)?;
    if offers(first) {
        let kept = known(answer).filter(|f| offers(f.encoding));
        return Ok(Agreement::Same(kept.collect()));
    }
    let mut own = known(offer).filter(|f| transcoding.takes(f.encoding));
    let own = own.next().filter(|_| transcoding.takes(first));
    let own = own.ok_or(SdpError::NoCommonCodec)?;
    Ok(Agreement::Transcoded(beside(own, offer, answer)))
}

/// A codec of the offer with what belongs to its clock: noise, and events if the other party takes
/// any, for keys that nobody hears are better sent as tones.
fn beside(codec: Format, offer: &Audio, answer: &Audio) -> Vec<Format> {
    let clock = codec.encoding.clock_rate_hz();
    let is_event = |f: &Format| matches!(f.encoding, Encoding::TelephoneEvent { .. });
    let is_noise = |f: &Format| matches!(f.encoding, Encoding::ComfortNoise { .. });
    let fits = |f: &Format| f.encoding.clock_rate_hz() == clock;
    let mut taken = vec![codec];
    taken.extend(known(offer).filter(|f| is_noise(f) && fits(f)));
    if answer.formats.iter().any(is_event) {
        let mut events = known(offer).filter(is_event).peekable();
        let any = events.peek().copied();
        let fitting: Vec<Format> = events.filter(fits).collect();
        match fitting.is_empty() {
            true => taken.extend(any),
            false => taken.extend(fitting),
        }
    }
    taken
}
