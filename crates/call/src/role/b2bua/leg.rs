//! One leg: a dialog with one party, our ports for its media, and what it last described.

use std::net::SocketAddr;

use duolog_sip::sdp::{Description, Direction, Encoding, MediaSecurity, SdpError, Terms};
use duolog_sip::{Dialog, Flow, Headers, Method, NameAddr, Request, Transport, Uri};

use crate::fact::{Indication, Side};
use crate::media::{LegId, LegMedia, MediaCommand, MediaGroup};
use crate::role::b2bua::carry::{ALLOW, SUPPORTED};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::dialogue::Dialogue;
use crate::role::b2bua::keys::LegKeys;
use crate::route::Party;
use crate::settings::Settings;

/// One leg of a call.
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) who: Who,
    /// Where requests to this party go.
    pub(crate) flow: Flow,
    /// Where this party listens: the way to it when its connection is gone.
    home: Flow,
    /// Our tag in this leg's dialog.
    pub(crate) tag: String,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) stage: Stage,
    pub(crate) ports: Option<Ports>,
    /// The descriptions of the last exchange that came to its end.
    pub(crate) agreed: Option<Agreed>,
    /// What this party was told last, agreed or not.
    pub(crate) said: Option<Description>,
    pub(crate) connected: Option<LegMedia>,
    pub(crate) holding: Holding,
    pub(crate) audio: Audible,
    protection: Protection,
    /// What is negotiated beside the media.
    pub(crate) dialogue: Dialogue,
}

/// Whose leg it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) party: Party,
    /// The number or name it is known by, in this node's form.
    pub(crate) number: String,
}

/// What both ends of a leg have said to each other.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) theirs: Description,
    pub(crate) ours: Description,
}

/// What may protect a leg's media.
struct Protection {
    policy: MediaSecurity,
    keys: LegKeys,
}

/// How far a leg's dialog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No 2xx yet.
    Early,
    /// Our 2xx is on its way; the ACK has not come. No BYE may be sent (RFC 3261 §15).
    Answered,
    /// As before, and a BYE is due as soon as it may be sent.
    AnsweredAndOver,
    /// The dialog stands.
    Established,
    /// The dialog is over.
    Over,
}

/// Our ports for a leg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) rtp: SocketAddr,
    pub(crate) rtcp: SocketAddr,
}

/// Whether a party holds the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    Yes,
    No,
}

/// Whether a party's audio arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audible {
    Yes,
    /// Nothing came for the media time-out.
    TimedOut,
}

impl Leg {
    /// A leg to `who`, reached over `flow`; nothing has been said on it.
    pub(crate) fn new(cx: &mut Context<'_>, who: Who, flow: Flow) -> Self {
        let policy = who.party.media_security(cx.settings);
        let keys = cx.keys.leg();
        Self {
            id: cx.ids.leg(),
            dialogue: Dialogue::with(cx.settings, who.party),
            who,
            flow,
            home: flow,
            tag: cx.tokens.tag(),
            dialog: None,
            stage: Stage::Early,
            ports: None,
            agreed: None,
            said: None,
            connected: None,
            holding: Holding::No,
            audio: Audible::Yes,
            protection: Protection { policy, keys },
        }
    }

    /// Another party is asked on this leg, before anybody has answered.
    pub(crate) fn turn_to(&mut self, settings: &Settings, who: Who) {
        self.protection.policy = who.party.media_security(settings);
        self.dialogue = Dialogue::with(settings, who.party);
        self.who = who;
        self.agreed = None;
        self.connected = None;
        self.dialog = None;
    }

    /// Asks the media plane for ports.
    pub(crate) fn open(&self, cx: &mut Context<'_>, group: MediaGroup) {
        let (leg, peer) = (self.id, self.flow.peer.ip());
        cx.media(MediaCommand::OpenLeg { leg, group, peer });
    }

    /// Where this party listens, apart from where its requests come from.
    pub(crate) fn at_home(mut self, home: Flow) -> Self {
        self.home = home;
        self
    }

    /// A path is gone: if it was this leg's, requests go to where the party listens.
    pub(crate) fn lost(&mut self, flow: Flow) {
        if self.flow == flow {
            self.flow = self.home;
        }
    }

    /// Requests to this party go this way from now.
    pub(crate) fn set_way(&mut self, flow: Flow) {
        (self.flow, self.home) = (flow, flow);
    }

    /// Where requests to this party go, and where they go when that way is gone.
    pub(crate) fn ways(&self) -> (Flow, Flow) {
        (self.flow, self.home)
    }

    /// Nobody sits here any more; what is left is the name.
    pub(crate) fn vacant(cx: &mut Context<'_>, who: Who, flow: Flow) -> Self {
        let mut leg = Self::new(cx, who, flow);
        leg.stage = Stage::Over;
        leg
    }

    /// Our Contact in this leg's dialog.
    pub(crate) fn contact(&self, settings: &Settings) -> String {
        contact(settings, &self.flow)
    }

    /// Our end of this leg's media.
    pub(crate) fn terms<'a>(&'a self, settings: &'a Settings) -> Result<Terms<'a>, SdpError> {
        // Ports are there before the first description goes out; without them nothing is usable.
        let ports = self.ports.ok_or(SdpError::NoUsableAudio)?;
        Ok(Terms {
            rtp: ports.rtp,
            rtcp: ports.rtcp,
            security: self.protection.policy,
            dtls_fingerprint: settings.media.dtls_fingerprint.as_deref(),
            keys: self.protection.keys.all(),
            standing: self.agreed.as_ref().map(|agreed| &agreed.ours),
        })
    }

    /// Codecs this leg's party is offered beside what the other one offers: those of the node, and
    /// those the party has itself, which it must find again in every offer.
    pub(crate) fn codecs_to_add(&self, settings: &Settings) -> Vec<Encoding> {
        let mut add = settings.media.transcode.clone();
        let agreed = self.agreed.as_ref().filter(|_| !add.is_empty());
        let own = agreed.and_then(|agreed| agreed.theirs.audio_across(&agreed.ours));
        let own = own.into_iter().flat_map(|audio| audio.formats);
        add.extend(own.map(|format| format.encoding));
        add
    }

    /// This description is what the party is told from now, with how it stands with the recording.
    pub(crate) fn say(&mut self, description: Description, now: Indication) -> Description {
        let description = self.indicating(description, now);
        let described = match &self.said {
            Some(before) => description.after(before),
            None => description,
        };
        self.said = Some(described.clone());
        described
    }

    /// A request within this leg's dialog; `None` unless the dialog stands.
    pub(crate) fn request(&mut self, method: Method) -> Option<Request> {
        match self.stage {
            Stage::Established => self.dialog.as_mut().map(|dialog| dialog.request(method)),
            _ => None,
        }
    }

    /// The dialog stands from now; requests within it find this call.
    pub(crate) fn bind(&mut self, cx: &mut Context<'_>, side: Side, dialog: Dialog) {
        cx.act(Action::Bind(dialog.id().clone(), side));
        self.dialog = Some(dialog);
    }

    /// The dialog is over for this call: later requests within it are 481.
    pub(crate) fn unbind(&mut self, cx: &mut Context<'_>) {
        if let Some(dialog) = &self.dialog {
            cx.act(Action::Unbind(dialog.id().clone()));
        }
    }
}

/// Where requests to the sender of `request` go: back along a connection; over UDP to the port it sent
/// from where it asks for that (RFC 3581 §4), else to the one in its Via (RFC 3261 §18.2.2).
pub(crate) fn way_back(request: &Request, flow: Flow) -> Flow {
    let Ok(via) = request.via() else { return flow };
    if flow.transport.is_reliable() || via.rport().is_some() {
        return flow;
    }
    let port = via.port.filter(|port| *port != 0).unwrap_or(5060);
    Flow {
        peer: SocketAddr::new(flow.peer.ip(), port),
        ..flow
    }
}

/// Where the sender of `request` listens, as configured: what its connection came from is no place to
/// connect to.
pub(crate) fn home(settings: &Settings, party: Party, request: &Request, flow: Flow) -> Flow {
    let back = way_back(request, flow);
    let Some(contact) = party.contact(settings) else {
        return back;
    };
    let local = settings.local.on(contact.transport, contact.addr.ip());
    match back.transport == contact.transport && back.transport.is_reliable() {
        true => Flow {
            local: local.unwrap_or(back.local),
            peer: contact.addr,
            ..back
        },
        false => back,
    }
}

/// Our Contact for a peer reached over `flow`.
pub(crate) fn contact(settings: &Settings, flow: &Flow) -> String {
    let addr = settings
        .local
        .on(flow.transport, flow.peer.ip())
        .unwrap_or(flow.local);
    NameAddr::new(uri_at(None, addr, flow.transport)).to_string()
}

/// A sip URI for an address, with the transport where it is not UDP.
pub(crate) fn uri_at(user: Option<&str>, addr: SocketAddr, transport: Transport) -> Uri {
    let mut uri = Uri::sip(user, &addr.ip().to_string(), Some(addr.port()));
    match transport {
        Transport::Udp => {}
        Transport::Tcp => uri.params.set("transport", Some("tcp")),
        Transport::Tls => uri.params.set("transport", Some("tls")),
    }
    uri
}

/// What every message that makes or refreshes a dialog says about this node.
pub(crate) fn introduce(headers: &mut Headers, contact: &str) {
    headers.push("Contact", contact);
    headers.push("Allow", ALLOW);
    headers.push("Supported", SUPPORTED);
}

/// Whether the party that offered holds the other (RFC 3264 §8.4): it does not receive. One that is
/// held itself and offers `inactive` may only be following; it keeps the state it had.
pub(crate) fn offerer_holds(before: Holding, own: Direction, other: Holding) -> Holding {
    match own {
        Direction::SendRecv | Direction::RecvOnly => Holding::No,
        Direction::Inactive if other == Holding::Yes => before,
        Direction::SendOnly | Direction::Inactive => Holding::Yes,
    }
}

/// Whether the party that answered holds the other: it does not receive what was offered to be sent.
pub(crate) fn answerer_holds(before: Holding, own: Direction, offered: Direction) -> Holding {
    match (offered.sends(), own.receives()) {
        (false, _) => before,
        (true, true) => Holding::No,
        (true, false) => Holding::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holding_follows_the_one_who_asked() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        use Holding::{No, Yes};
        for (before, own, other, after) in [
            (No, SendRecv, No, No),
            (No, SendOnly, No, Yes),
            (No, Inactive, No, Yes),
            (No, Inactive, Yes, No),
            (Yes, Inactive, Yes, Yes),
            (Yes, SendRecv, Yes, No),
            (No, RecvOnly, Yes, No),
        ] {
            assert_eq!(
                offerer_holds(before, own, other),
                after,
                "{before:?} {own:?} {other:?}"
            );
        }
        for (before, own, offered, after) in [
            (No, RecvOnly, SendOnly, No),
            (No, Inactive, SendOnly, Yes),
            (No, SendOnly, SendRecv, Yes),
            (Yes, SendRecv, SendRecv, No),
            (Yes, SendOnly, RecvOnly, Yes),
            (No, Inactive, Inactive, No),
        ] {
            assert_eq!(
                answerer_holds(before, own, offered),
                after,
                "{before:?} {own:?} {offered:?}"
            );
        }
    }
}
