//! Offer and answer across the call (RFC 3264): each side's description goes to the other with our
//! address and ports; when both have described themselves, both legs are connected accordingly.

use bytes::Bytes;
use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::sdp::{Description, Encoding, Offered, SdpError, Transcoding};
use duolog_sip::{Headers, Request, Response};

use crate::fact::{Fact, HungUpBy, Side};
use crate::media::MediaCommand;
use crate::role::b2bua::agreement::media;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Agreed, Audible, Holding, answerer_holds, offerer_holds};
use crate::role::b2bua::{Body, Call, Phase};
use crate::settings::Settings;

/// An INVITE on its way from one side to the other, until it is acknowledged.
pub(crate) struct Exchange {
    /// Whose INVITE it is.
    pub(crate) asker: Side,
    pub(crate) server: ServerKey,
    /// The INVITE as received.
    pub(crate) request: Request,
    /// Our INVITE to the other side, while its final answer is awaited.
    pub(crate) client: Option<ClientKey>,
    pub(crate) offer: Offer,
    /// The offer as the side that answers was told it.
    pub(crate) told: Option<Description>,
    /// A 2xx that waits for the asker's ACK, because the answer is in there.
    pub(crate) unacked: Option<Unacked>,
}

/// A 2xx that is not acknowledged yet.
#[derive(Clone, Copy)]
pub(crate) struct Unacked {
    pub(crate) client: ClientKey,
    pub(crate) cseq: u32,
}

/// Where the offer of an exchange is (RFC 3261 §13.2.1).
pub(crate) enum Offer {
    /// In the INVITE.
    Given(Description),
    /// The INVITE had none: it is awaited in the 2xx, and the answer in the ACK.
    Awaited,
    /// It came in the 2xx.
    Late(Description),
    /// It came in a reliable provisional answer: the answer is awaited in the PRACK (RFC 3262 §5).
    Early(Description),
    /// It was answered before the 2xx, which has none.
    Settled,
}

/// An offer of one side, and how the other side was told it.
#[derive(Debug)]
pub(crate) struct Offering {
    pub(crate) offerer: Side,
    pub(crate) theirs: Description,
    pub(crate) told: Description,
}

impl Exchange {
    /// Another dialog answers than the one that was heard early: nothing has been answered in it.
    pub(super) fn reopen(&mut self) {
        if let Ok(body) = Body::read(&self.request.headers, &self.request.body) {
            self.offer = Offer::of(&body);
        }
    }

    /// The offer that waits for its answer.
    fn offering(&self) -> Option<Offering> {
        let (offerer, theirs) = match &self.offer {
            Offer::Given(offer) => (self.asker, offer),
            Offer::Late(offer) | Offer::Early(offer) => (self.asker.other(), offer),
            Offer::Awaited | Offer::Settled => return None,
        };
        Some(Offering {
            offerer,
            theirs: theirs.clone(),
            told: self.told.clone()?,
        })
    }
}

impl Offer {
    pub(crate) fn of(body: &Body) -> Self {
        body.description()
            .cloned()
            .map_or(Self::Awaited, Self::Given)
    }
}

/// An offer as the side that answers gets it.
pub(super) struct Carried {
    pub(super) bytes: Bytes,
    /// The description in it; `None` where the body has none.
    pub(super) told: Option<Description>,
}

/// An answer as the side that offered gets it, with what both legs have agreed on.
pub(super) struct Answered {
    pub(super) bytes: Bytes,
    offerer: Side,
    offer: Agreed,
    answer: Agreed,
}

/// The body of an answer to the asker.
pub(super) enum Answer {
    /// As it came, but for the description.
    Carried(Bytes),
    /// A description that did not come in this response.
    Said(Bytes),
    /// None: the asker has had it.
    None,
}

impl Answer {
    pub(super) fn put(self, reply: &mut Response) {
        match self {
            Self::Carried(bytes) => reply.body = bytes,
            Self::Said(bytes) => {
                reply.body = bytes;
                reply.headers.set("Content-Type", "application/sdp");
            }
            Self::None => drop_body(&mut reply.headers),
        }
    }
}

impl Call {
    /// Takes the description of a 2xx to the INVITE of this exchange, and acknowledges the 2xx
    /// unless the answer is still to come in the asker's ACK.
    pub(super) fn take_answer(
        &mut self,
        cx: &mut Context<'_>,
        unacked: Unacked,
        response: &Response,
    ) -> Result<Answer, SdpError> {
        let exchange = self.exchange.as_ref().ok_or(SdpError::NoUsableAudio)?;
        let far = exchange.asker.other();
        let body = Body::read(&response.headers, &response.body);
        let described = body.as_ref().is_ok_and(|body| body.description().is_some());
        if described && matches!(exchange.offer, Offer::Awaited) {
            return self.take_late_offer(cx, unacked, &body?);
        }
        let settled = matches!(exchange.offer, Offer::Settled);
        self.acknowledge(cx, far, unacked, None);
        if settled {
            return Ok(Answer::None);
        }
        let body = body?;
        if described {
            let answered = self.carry_answer(cx.settings, &body)?;
            let bytes = answered.bytes.clone();
            self.settle(cx, answered);
            return Ok(Answer::Carried(bytes));
        }
        // The answer came early, and only then.
        let asker = self.leg(far.other());
        let early = asker
            .agreed
            .as_ref()
            .filter(|_| self.phase == Phase::Inviting);
        let early = early.ok_or(SdpError::NoUsableAudio)?;
        Ok(Answer::Said(early.ours.write()))
    }

    /// The offer of an exchange is in the 2xx: it goes to the asker, whose ACK has the answer.
    fn take_late_offer(
        &mut self,
        cx: &mut Context<'_>,
        unacked: Unacked,
        body: &Body,
    ) -> Result<Answer, SdpError> {
        let exchange = self.exchange.as_ref().ok_or(SdpError::NoUsableAudio)?;
        let asker = exchange.asker;
        let carried = self.carry_offer(cx.settings, asker, body);
        if carried.is_err() {
            // Nobody will answer that offer, but the 2xx must have its ACK.
            self.acknowledge(cx, asker.other(), unacked, None);
        }
        let carried = carried?;
        if let (Some(exchange), Some(offer)) = (&mut self.exchange, body.description()) {
            exchange.offer = Offer::Late(offer.clone());
            exchange.told = carried.told;
            exchange.unacked = Some(unacked);
        }
        Ok(Answer::Carried(carried.bytes))
    }

    /// Acknowledges a 2xx of one side.
    pub(super) fn acknowledge(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        unacked: Unacked,
        answer: Option<(&str, Bytes)>,
    ) {
        let Some(dialog) = &self.leg(side).dialog else {
            return;
        };
        let mut ack = dialog.ack_for(unacked.cseq);
        if let Some((content_type, bytes)) = answer {
            ack.set_body(content_type, bytes);
        }
        cx.act(Action::Ack(unacked.client, ack));
    }

    /// The asker acknowledged our 2xx: a late answer goes on, and the exchange is over.
    pub(crate) fn acked(&mut self, cx: &mut Context<'_>, key: ServerKey, ack: &Request) {
        let Some(exchange) = self.exchange.take_if(|exchange| exchange.server == key) else {
            return;
        };
        let mut agreed = true;
        if let Some(unacked) = exchange.unacked {
            agreed = self.take_late_answer(cx, &exchange, unacked, ack).is_some();
        }
        self.limit = None;
        self.asker_confirmed(cx);
        if !agreed {
            self.end(cx, HungUpBy::BadSession);
        }
    }

    fn take_late_answer(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange,
        unacked: Unacked,
        ack: &Request,
    ) -> Option<()> {
        let far = exchange.asker.other();
        let body = Body::read(&ack.headers, &ack.body).ok();
        let answered = body.zip(exchange.offering()).and_then(|(body, offering)| {
            let answered = self.answer_across(cx.settings, offering, &body);
            answered.ok()
        });
        let content_type = ack
            .headers
            .value("Content-Type")
            .unwrap_or("application/sdp");
        let answer = answered
            .as_ref()
            .map(|answered| (content_type, answered.bytes.clone()));
        self.acknowledge(cx, far, unacked, answer);
        self.settle(cx, answered?);
        Some(())
    }

    /// A body with an offer, or without any description, as the side `to` gets it.
    pub(super) fn carry_offer(
        &mut self,
        settings: &Settings,
        to: Side,
        body: &Body,
    ) -> Result<Carried, SdpError> {
        let Some(offer) = body.description() else {
            let (bytes, told) = (body.bytes(), None);
            return Ok(Carried { bytes, told });
        };
        let (from, leg) = (self.leg(to.other()), self.leg(to));
        let add = leg.codecs_to_add(settings);
        let transcoding = transcoding(settings, &add);
        let told = offer.offer_to(&from.terms(settings)?, &leg.terms(settings)?, &transcoding)?;
        let now = self.indication();
        let told = self.leg_mut(to).say(told, now);
        Ok(Carried {
            bytes: body.with(&told),
            told: Some(told),
        })
    }

    /// A body with the answer to the offer of the running exchange, as the side that offered gets it.
    pub(super) fn carry_answer(
        &mut self,
        settings: &Settings,
        body: &Body,
    ) -> Result<Answered, SdpError> {
        let offering = self.exchange.as_ref().and_then(Exchange::offering);
        let offering = offering.ok_or(SdpError::NoUsableAudio)?;
        self.answer_across(settings, offering, body)
    }

    /// A body with the answer to this offer, as the side that offered gets it.
    pub(super) fn answer_across(
        &mut self,
        settings: &Settings,
        offering: Offering,
        body: &Body,
    ) -> Result<Answered, SdpError> {
        let Offering {
            offerer,
            theirs: offer,
            told,
        } = offering;
        let answer = body.description().ok_or(SdpError::NoUsableAudio)?;
        // The answer must fit what was offered to its author, before anybody hears of it.
        media(answer, &told, &self.leg(offerer.other()).flow)?;
        let offered = Offered {
            theirs: &offer,
            told: &told,
        };
        let transcoding = transcoding(settings, &settings.media.transcode);
        let leg = self.leg(offerer);
        let ours = answer.answer_to(&offered, &leg.terms(settings)?, &transcoding)?;
        media(&offer, &ours, &leg.flow)?;
        let now = self.indication();
        let ours = self.leg_mut(offerer).say(ours, now);
        Ok(Answered {
            bytes: body.with(&ours),
            offerer,
            offer: Agreed {
                theirs: offer,
                ours,
            },
            answer: Agreed {
                theirs: answer.clone(),
                ours: told,
            },
        })
    }

    /// Both sides have described themselves: connect them, and keep holds as facts.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>, answered: Answered) {
        let offerer = answered.offerer;
        self.leg_mut(offerer).agreed = Some(answered.offer);
        self.leg_mut(offerer.other()).agreed = Some(answered.answer);
        self.connect(cx);
        self.bridge(cx);
        self.follow_holds(cx, offerer);
        self.heed(cx, [offerer, offerer.other()]);
    }

    pub(super) fn connect(&mut self, cx: &mut Context<'_>) {
        for side in [Side::Caller, Side::Callee] {
            let own = self.leg(side);
            let Some(agreed) = &own.agreed else {
                continue;
            };
            let Ok(media) = media(&agreed.theirs, &agreed.ours, &own.flow) else {
                continue;
            };
            if own.connected.as_ref() != Some(&media) {
                let leg = own.id;
                self.leg_mut(side).connected = Some(media.clone());
                cx.media(MediaCommand::ConnectLeg { leg, media });
            }
        }
    }

    fn follow_holds(&mut self, cx: &mut Context<'_>, offerer: Side) {
        let direction = |side| {
            self.leg(side)
                .connected
                .as_ref()
                .map(|media| media.direction)
        };
        let answerer = offerer.other();
        let (Some(offered), Some(answered)) = (direction(offerer), direction(answerer)) else {
            return;
        };
        let (first, second) = (self.leg(offerer).holding, self.leg(answerer).holding);
        let first = offerer_holds(first, offered, second);
        let second = answerer_holds(second, answered, offered);
        self.holds_now(cx, [(offerer, first), (answerer, second)]);
    }

    /// Keeps what has changed about who holds whom.
    pub(super) fn holds_now(
        &mut self,
        cx: &mut Context<'_>,
        sides: impl IntoIterator<Item = (Side, Holding)>,
    ) {
        for (side, now) in sides {
            let leg = self.leg_mut(side);
            let before = std::mem::replace(&mut leg.holding, now);
            if before == now {
                continue;
            }
            // A held call may be silent; what was silent then says nothing about afterwards.
            self.caller.audio = Audible::Yes;
            self.callee.audio = Audible::Yes;
            self.note(
                cx,
                match now {
                    Holding::Yes => Fact::Held { by: side },
                    Holding::No => Fact::Retrieved { by: side },
                },
            );
        }
    }
}

/// What can be made out of what on this node.
pub(super) fn transcoding<'a>(settings: &Settings, add: &'a [Encoding]) -> Transcoding<'a> {
    Transcoding {
        add,
        g729: settings.media.g729,
    }
}

/// Takes out what speaks of a body that is not carried.
pub(super) fn drop_body(headers: &mut Headers) {
    for name in [
        "Content-Type",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-ID",
    ] {
        headers.remove(name);
    }
}
