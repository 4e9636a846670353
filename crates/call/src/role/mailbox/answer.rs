//! What is agreed with the caller: this node answers for itself, with one codec that it can play into
//! and record, and the events beside it.

use duolog_sip::endpoint::ServerKey;
use duolog_sip::sdp::{
    self, Crypto, Description, Direction, Encoding, Format, G729, MediaSecurity, Offered, Profile,
    SdpError, Terms, Transcoding,
};
use duolog_sip::{Dialog, Request, Response, StatusCode};

use super::{Call, Phase};
use crate::answer::{not_acceptable, refusal};
use crate::fact::{Fact, HungUpBy, Side};
use crate::log::LogEvent;
use crate::media::MediaCommand;
use crate::role::b2bua::Body;
use crate::role::b2bua::agreement::media;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Agreed, Holding, Stage, introduce, offerer_holds};
use crate::settings::Settings;

/// What is offered where the caller leaves that to us: what every phone has, and its numbers.
const OFFERED: [(u8, Encoding); 4] = [
    (0, Encoding::Pcmu),
    (8, Encoding::Pcma),
    (9, Encoding::G722),
    (101, Encoding::TelephoneEvent { rate_hz: 8_000 }),
];

/// An INVITE of the caller until its ACK.
pub(super) struct Exchange {
    pub(super) server: ServerKey,
    pub(super) request: Request,
    /// Our offer, whose answer is awaited in the ACK.
    offered: Option<Description>,
}

impl Exchange {
    /// That of the INVITE which began the call.
    pub(super) fn first(server: ServerKey, request: Request) -> Self {
        Self {
            server,
            request,
            offered: None,
        }
    }
}

/// A description for the caller, in an answer to a request of theirs.
enum Said {
    Answer(Box<Agreed>),
    /// The caller's request had none: this is ours to make.
    Offer(Box<Description>),
}

impl Call {
    /// Our ports are there: the INVITE that nobody answered is answered.
    pub(super) fn answer(&mut self, cx: &mut Context<'_>) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        let Exchange {
            server, request, ..
        } = exchange;
        let said = self.say(cx, &request);
        let said = match said {
            Ok(said) => said,
            Err(why) => {
                let mut response = not_acceptable(cx.settings, &request, &why);
                response.set_to_tag(&self.leg.tag);
                self.refuse_with(cx, server, response);
                return self.end(cx, HungUpBy::BadSession);
            }
        };
        let reply = self.reply(cx, &request, said.description());
        let dialog = match self.leg.dialog.take() {
            Some(mut dialog) => {
                dialog.confirm(&reply);
                Ok(dialog)
            }
            None => Dialog::uas(&request, &reply, self.leg.flow),
        };
        let Ok(dialog) = dialog else {
            let response = refusal(cx.settings, &request, 400, None);
            self.refuse_with(cx, server, response);
            return self.end(cx, HungUpBy::BadSession);
        };
        self.leg.bind(cx, Side::Caller, dialog);
        (self.phase, self.limit) = (Phase::Answered, None);
        self.leg.stage = Stage::Answered;
        self.note(cx, &Fact::Answered);
        self.respond(cx, (server, request), said, reply);
    }

    /// An INVITE within the dialog: hold, another address, a sign of life.
    pub(super) fn answer_again(
        &mut self,
        cx: &mut Context<'_>,
        server: ServerKey,
        request: Request,
    ) {
        match self.say(cx, &request) {
            Ok(said) => {
                let reply = self.reply(cx, &request, said.description());
                self.respond(cx, (server, request), said, reply);
            }
            Err(why) => {
                let response = not_acceptable(cx.settings, &request, &why);
                self.refuse_with(cx, server, response);
            }
        }
    }

    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        (server, request): (ServerKey, Request),
        said: Said,
        reply: Response,
    ) {
        let offered = match said {
            Said::Offer(offered) => Some(*offered),
            Said::Answer(agreed) => {
                self.agree(cx, *agreed);
                None
            }
        };
        self.exchange = Some(Exchange {
            server,
            request,
            offered,
        });
        cx.act(Action::Respond(server, reply));
    }

    /// The 2xx to an INVITE or UPDATE of the caller.
    pub(super) fn reply(
        &mut self,
        cx: &mut Context<'_>,
        request: &Request,
        said: Option<&Description>,
    ) -> Response {
        let mut reply = Response::to(request, StatusCode::OK);
        reply.set_to_tag(&self.leg.tag);
        for route in request.headers.values("Record-Route") {
            reply.headers.push("Record-Route", route);
        }
        introduce(&mut reply.headers, &self.leg.contact(cx.settings));
        let server = cx.settings.server_name.as_str();
        reply.headers.push("Server", server);
        let timer = &mut self.leg.dialogue.timer;
        timer.grant(cx.now, cx.settings.session_timer, request, &mut reply);
        if let Some(said) = said {
            reply.set_body("application/sdp", said.write());
        }
        reply
    }

    /// What the caller is told in the answer to this request.
    fn say(&mut self, cx: &mut Context<'_>, request: &Request) -> Result<Said, SdpError> {
        let body = Body::read(&request.headers, &request.body)?;
        match body.description() {
            Some(theirs) => {
                let agreed = self.answer_to(cx, theirs)?;
                Ok(Said::Answer(Box::new(agreed)))
            }
            None => {
                let offer = match &self.leg.said {
                    Some(said) => said.offer_again(Direction::SendRecv),
                    None => offer(&self.leg.terms(cx.settings)?, session(cx)),
                };
                let now = self.indication();
                Ok(Said::Offer(Box::new(self.leg.say(offer, now))))
            }
        }
    }

    /// The answer to an offer of the caller.
    pub(super) fn answer_to(
        &mut self,
        cx: &mut Context<'_>,
        theirs: &Description,
    ) -> Result<Agreed, SdpError> {
        let terms = self.leg.terms(cx.settings)?;
        let session = session(cx);
        let ours = answer(cx.settings, &terms, theirs, session)?;
        media(theirs, &ours, &self.leg.flow)?;
        drop(terms);
        let now = self.indication();
        let ours = self.leg.say(ours, now);
        Ok(Agreed {
            theirs: theirs.clone(),
            ours,
        })
    }

    /// The answer to our own offer is in the ACK.
    pub(super) fn take_late_answer(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange,
        ack: &Request,
    ) -> Result<(), SdpError> {
        let Some(ours) = exchange.offered.clone() else {
            return Ok(());
        };
        let body = Body::read(&ack.headers, &ack.body)?;
        let theirs = body.description().ok_or(SdpError::NoUsableAudio)?.clone();
        media(&theirs, &ours, &self.leg.flow)?;
        if self.phase != Phase::Over {
            self.agree(cx, Agreed { theirs, ours });
        }
        Ok(())
    }

    /// Both have described themselves: the leg is connected so.
    pub(super) fn agree(&mut self, cx: &mut Context<'_>, agreed: Agreed) {
        let Ok(media) = media(&agreed.theirs, &agreed.ours, &self.leg.flow) else {
            return;
        };
        let holding = offerer_holds(self.leg.holding, media.direction, Holding::No);
        self.leg.agreed = Some(agreed);
        if self.leg.connected.as_ref() != Some(&media) {
            let leg = self.leg.id;
            self.leg.connected = Some(media.clone());
            cx.media(MediaCommand::ConnectLeg { leg, media });
        }
        let before = std::mem::replace(&mut self.leg.holding, holding);
        if before != holding {
            let by = Side::Caller;
            let fact = match holding {
                Holding::Yes => Fact::Held { by },
                Holding::No => Fact::Retrieved { by },
            };
            self.note(cx, &fact);
        }
    }

    /// Refuses a request of the caller.
    pub(super) fn refuse_with(&self, cx: &mut Context<'_>, key: ServerKey, response: Response) {
        let status = response.status.code();
        cx.log(match self.phase {
            Phase::Opening => LogEvent::Refused { status },
            _ => LogEvent::RequestRefused { status },
        });
        cx.act(Action::Respond(key, response));
    }
}

impl Said {
    fn description(&self) -> Option<&Description> {
        match self {
            Self::Answer(agreed) => Some(&agreed.ours),
            Self::Offer(offer) => Some(offer),
        }
    }
}

/// A session id for `o=`.
fn session(cx: &mut Context<'_>) -> u64 {
    u64::from_str_radix(&cx.tokens.tag()[..8], 16).unwrap_or(1)
}

/// Our answer: as if a party behind us had answered the offer with one codec of it.
fn answer(
    settings: &Settings,
    terms: &Terms<'_>,
    theirs: &Description,
    session_id: u64,
) -> Result<Description, SdpError> {
    let none = Transcoding {
        add: &[],
        g729: settings.media.g729,
    };
    let behind = Terms {
        security: MediaSecurity::Never,
        dtls_fingerprint: None,
        keys: Vec::new(),
        standing: None,
        ..*terms
    };
    let told = theirs.offer_to(terms, &behind, &none)?;
    let audio = told.audio().ok_or(SdpError::NoUsableAudio)?;
    let formats = taken(&audio.formats, settings.media.g729).ok_or(SdpError::NoCommonCodec)?;
    let answer = sdp::Offer {
        session_id,
        version: 1,
        rtp: terms.rtp,
        rtcp: terms.rtcp,
        formats,
        ptime_ms: audio.ptime_ms,
        direction: across(audio.direction),
        profile: Profile::Avp,
        crypto: Vec::new(),
    };
    let told = &told;
    answer
        .describe()
        .answer_to(&Offered { theirs, told }, terms, &none)
}

/// The first codec of an offer that can be played into, and the events on its clock.
fn taken(offered: &[Format], g729: G729) -> Option<Vec<Format>> {
    let plays = |encoding: Encoding| match encoding {
        Encoding::G729 => g729 == G729::Available,
        other => other.is_speech(),
    };
    let speech = offered.iter().find(|format| plays(format.encoding))?;
    let clock = speech.encoding.clock_rate_hz();
    let beside = |format: &&Format| matches!(format.encoding, Encoding::TelephoneEvent { rate_hz } if Some(rate_hz) == clock);
    let events = offered.iter().find(beside);
    Some([speech].into_iter().chain(events).copied().collect())
}

/// Our direction, where the caller's is this one.
fn across(theirs: Direction) -> Direction {
    match theirs {
        Direction::SendRecv => Direction::SendRecv,
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        Direction::Inactive => Direction::Inactive,
    }
}

/// Our offer to a caller who made none.
fn offer(terms: &Terms<'_>, session_id: u64) -> Description {
    let (profile, crypto) = match terms.security {
        MediaSecurity::Always => {
            let lines = (1..).zip(terms.keys.iter().cloned());
            let lines = lines.map(|(tag, key)| Crypto { tag, key });
            (Profile::Savp, lines.collect())
        }
        MediaSecurity::AsOffered | MediaSecurity::Never => (Profile::Avp, Vec::new()),
    };
    let formats = OFFERED.map(|(payload_type, encoding)| Format {
        payload_type,
        encoding,
    });
    sdp::Offer {
        session_id,
        version: 1,
        rtp: terms.rtp,
        rtcp: terms.rtcp,
        formats: formats.to_vec(),
        ptime_ms: Some(20),
        direction: Direction::SendRecv,
        profile,
        crypto,
    }
    .describe()
}
