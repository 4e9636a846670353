//! Offer and answer across the call (RFC 3264): each side's description goes to the other with our
//! address and ports; when both have described themselves, both legs are connected accordingly.

use bytes::Bytes;
use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::sdp::{Description, SdpError};
use duolog_sip::{Headers, Request, Response};

use crate::fact::{Fact, HungUpBy, Side};
use crate::media::MediaCommand;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Audible, Holding, answerer_holds, media, offerer_holds};
use crate::role::b2bua::{Body, Call, Phase};

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
}

impl Offer {
    pub(crate) fn of(body: &Body) -> Self {
        body.description()
            .cloned()
            .map_or(Self::Awaited, Self::Given)
    }
}

/// The body of an answer to the asker.
pub(super) struct Answer {
    bytes: Bytes,
    /// Where the description did not come in this response.
    content_type: Option<&'static str>,
}

impl Answer {
    pub(super) fn put(self, reply: &mut Response) {
        reply.body = self.bytes;
        if let Some(content_type) = self.content_type {
            reply.headers.set("Content-Type", content_type);
        }
    }
}

impl Call {
    /// Takes the description of a 2xx to the INVITE of this exchange, and acknowledges the 2xx
    /// unless the answer is still to come in the asker's ACK. `None`: it has no usable description.
    pub(super) fn take_answer(
        &mut self,
        cx: &mut Context<'_>,
        unacked: Unacked,
        response: &Response,
    ) -> Option<Answer> {
        let exchange = self.exchange.as_mut()?;
        let asker = exchange.asker;
        let body = Body::read(&response.headers, &response.body).ok();
        let described = body.as_ref().and_then(Body::description).cloned();
        if let (Offer::Awaited, Some(offer)) = (&exchange.offer, &described) {
            exchange.offer = Offer::Late(offer.clone());
            exchange.unacked = Some(unacked);
        } else {
            self.acknowledge(cx, asker.other(), unacked, None);
        }
        let exchange = self.exchange.as_ref()?;
        match (&exchange.offer, described, body) {
            (Offer::Given(offer), Some(answer), Some(body)) => {
                let offer = offer.clone();
                let bytes = self.carry_body(asker, &body).ok()?;
                self.settle(cx, asker, &offer, &answer);
                Some(Answer {
                    bytes,
                    content_type: None,
                })
            }
            (Offer::Late(_), _, Some(body)) => match self.carry_body(asker, &body) {
                Ok(bytes) => Some(Answer {
                    bytes,
                    content_type: None,
                }),
                Err(_) => {
                    // Nobody will answer that offer, but the 2xx must have its ACK.
                    let unacked = self.exchange.as_mut()?.unacked.take()?;
                    self.acknowledge(cx, asker.other(), unacked, None);
                    None
                }
            },
            // The answer came early, and only then.
            (Offer::Given(_), None, _) if self.phase == Phase::Inviting => {
                let early = self.leg(asker.other()).described.as_ref()?;
                let bytes = self.leg(asker).offer(early).ok()?.write();
                Some(Answer {
                    bytes,
                    content_type: Some("application/sdp"),
                })
            }
            _ => None,
        }
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
        let carried = body.as_ref().filter(|body| body.description().is_some());
        let carried = carried.and_then(|body| self.carry_body(far, body).ok());
        let content_type = ack
            .headers
            .value("Content-Type")
            .unwrap_or("application/sdp");
        let answered = carried.is_some();
        self.acknowledge(cx, far, unacked, carried.map(|bytes| (content_type, bytes)));
        let (Offer::Late(offer), Some(answer)) =
            (&exchange.offer, body.as_ref().and_then(Body::description))
        else {
            return None;
        };
        self.settle(cx, far, offer, answer);
        answered.then_some(())
    }

    /// A body from one side as the side `to` gets it.
    pub(super) fn carry_body(&self, to: Side, body: &Body) -> Result<Bytes, SdpError> {
        match body.description() {
            Some(description) => Ok(body.with(&self.leg(to).offer(description)?)),
            None => Ok(body.bytes()),
        }
    }

    /// Both sides have described themselves: connect them, and keep holds as facts.
    pub(super) fn settle(
        &mut self,
        cx: &mut Context<'_>,
        offerer: Side,
        offer: &Description,
        answer: &Description,
    ) {
        self.leg_mut(offerer).described = Some(offer.clone());
        self.leg_mut(offerer.other()).described = Some(answer.clone());
        self.connect(cx);
        self.bridge(cx);
        self.follow_holds(cx, offerer);
    }

    fn connect(&mut self, cx: &mut Context<'_>) {
        for side in [Side::Caller, Side::Callee] {
            let (own, other) = (self.leg(side), self.leg(side.other()));
            let (Some(described), Some(other)) = (&own.described, &other.described) else {
                return;
            };
            let Some(media) = media(described, other, &own.flow) else {
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
        for (side, now) in [(offerer, first), (answerer, second)] {
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
