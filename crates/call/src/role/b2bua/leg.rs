//! One leg: a dialog with one party, our ports for its media, and what it last described.

use std::net::SocketAddr;

use duolog_sip::sdp::{Description, Direction, Encoding, Format, RtcpMux, SdpError};
use duolog_sip::{Dialog, Flow, Headers, Method, NameAddr, Request, Transport, Uri};

use crate::fact::Side;
use crate::media::{LegId, LegMedia, Multiplexing, PayloadFormat};
use crate::role::b2bua::carry::ALLOW;
use crate::role::b2bua::context::{Action, Context};
use crate::settings::Settings;

/// One leg of a call.
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) side: Side,
    /// Where requests to this party go.
    pub(crate) flow: Flow,
    /// Where this party listens: the way to it when its connection is gone.
    home: Flow,
    /// Our tag in this leg's dialog.
    pub(crate) tag: String,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) stage: Stage,
    pub(crate) ports: Option<Ports>,
    /// The description this party sent last, of an exchange that came to its end.
    pub(crate) described: Option<Description>,
    pub(crate) connected: Option<LegMedia>,
    pub(crate) holding: Holding,
    pub(crate) audio: Audible,
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
    pub(crate) fn new(id: LegId, side: Side, flow: Flow, home: Flow, tag: String) -> Self {
        Self {
            id,
            side,
            flow,
            home,
            tag,
            dialog: None,
            stage: Stage::Early,
            ports: None,
            described: None,
            connected: None,
            holding: Holding::No,
            audio: Audible::Yes,
        }
    }

    /// A path is gone: if it was this leg's, requests go to where the party listens.
    pub(crate) fn lost(&mut self, flow: Flow) {
        if self.flow == flow {
            self.flow = self.home;
        }
    }

    /// Our Contact in this leg's dialog.
    pub(crate) fn contact(&self, settings: &Settings) -> String {
        contact(settings, &self.flow)
    }

    /// The other party's description as this leg's party gets it. `a=rtcp-mux` passes: offered and
    /// answered end to end, it holds on both legs or on neither.
    pub(crate) fn offer(&self, theirs: &Description) -> Result<Description, SdpError> {
        // Ports are there before the first description goes out; without them nothing is usable.
        let ports = self.ports.ok_or(SdpError::NoUsableAudio)?;
        theirs.relayed(ports.rtp, ports.rtcp, ports.rtp.ip(), RtcpMux::Keep)
    }

    /// A request within this leg's dialog, with the fields of `from` that may pass.
    pub(crate) fn request(&mut self, method: Method) -> Option<Request> {
        match self.stage {
            Stage::Established => self.dialog.as_mut().map(|dialog| dialog.request(method)),
            _ => None,
        }
    }

    /// The dialog stands from now; requests within it find this call.
    pub(crate) fn bind(&mut self, cx: &mut Context<'_>, dialog: Dialog) {
        cx.act(Action::Bind(dialog.id().clone(), self.side));
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
    if flow.transport == Transport::Tcp || via.rport().is_some() {
        return flow;
    }
    let port = via.port.filter(|port| *port != 0).unwrap_or(5060);
    Flow {
        peer: SocketAddr::new(flow.peer.ip(), port),
        ..flow
    }
}

/// Our Contact for a peer reached over `flow`.
pub(crate) fn contact(settings: &Settings, flow: &Flow) -> String {
    let addr = settings.local.on(flow.transport).unwrap_or(flow.local);
    NameAddr::new(uri_at(None, addr, flow.transport)).to_string()
}

/// A sip URI for an address, with the transport where it is not UDP.
pub(crate) fn uri_at(user: Option<&str>, addr: SocketAddr, transport: Transport) -> Uri {
    let mut uri = Uri::sip(user, &addr.ip().to_string(), Some(addr.port()));
    if transport == Transport::Tcp {
        uri.params.set("transport", Some("tcp"));
    }
    uri
}

/// What every message that makes or refreshes a dialog says about this node.
pub(crate) fn introduce(headers: &mut Headers, contact: &str) {
    headers.push("Contact", contact);
    headers.push("Allow", ALLOW);
}

/// What each side is connected to once both have described themselves: formats both have, first in
/// that party's own numbers, which it is sent; then in those of the other party where they differ,
/// under which it may send (RFC 3264 §6.1: an answer may number anew).
pub(crate) fn media(own: &Description, other: &Description, flow: &Flow) -> Option<LegMedia> {
    let (own, other) = (own.audio()?, other.audio()?);
    let shared = |encoding: Encoding| {
        encoding != Encoding::Other && other.formats.iter().any(|f| f.encoding == encoding)
    };
    let ours = |encoding: Encoding| own.formats.iter().any(|f| f.encoding == encoding);
    let told = other.formats.iter().filter(|format| {
        let free = |f: &Format| f.payload_type != format.payload_type;
        shared(format.encoding) && ours(format.encoding) && own.formats.iter().all(free)
    });
    let formats = own.formats.iter().filter(|format| shared(format.encoding));
    let formats = formats.chain(told);
    Some(LegMedia {
        rtp: own.rtp,
        rtcp: own.rtcp,
        rtcp_mux: match own.rtcp_mux && other.rtcp_mux {
            true => Multiplexing::Muxed,
            false => Multiplexing::Separate,
        },
        signalled_from: flow.peer.ip(),
        formats: formats
            .map(|f| PayloadFormat {
                payload_type: f.payload_type,
                encoding: f.encoding,
            })
            .collect(),
        ptime_ms: own.ptime_ms.unwrap_or(20),
        direction: own.direction,
    })
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
    use crate::testing::offer;

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

    #[test]
    fn only_shared_formats_are_connected() {
        let text = String::from_utf8(offer("192.0.2.1:4000").write().to_vec()).unwrap();
        let fewer = text
            .replace("RTP/AVP 0 8 101", "RTP/AVP 8 101")
            .replace("101", "96");
        let (own, other) = (
            offer("192.0.2.1:4000"),
            Description::parse(fewer.as_bytes()).unwrap(),
        );
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.99:5060".parse().unwrap(),
            peer: "192.0.2.50:5060".parse().unwrap(),
        };
        let media = media(&own, &other, &flow).unwrap();
        let types: Vec<u8> = media
            .formats
            .iter()
            .map(|format| format.payload_type)
            .collect();
        assert_eq!(types, [8, 101, 96]);
        assert_eq!(media.signalled_from, flow.peer.ip());
        assert_eq!(
            contact(&crate::testing::settings(), &flow),
            "<sip:192.0.2.99:5060>"
        );
    }

    #[test]
    fn rtcp_shares_the_port_only_where_both_say_so() {
        let text = String::from_utf8(offer("192.0.2.1:4000").write().to_vec()).unwrap();
        let muxed = Description::parse(format!("{text}a=rtcp-mux\r\n").as_bytes()).unwrap();
        let plain = offer("192.0.2.1:4000");
        let at: SocketAddr = "192.0.2.99:5060".parse().unwrap();
        let flow = Flow {
            transport: Transport::Udp,
            local: at,
            peer: at,
        };
        for (own, other, expected) in [
            (&muxed, &muxed, Multiplexing::Muxed),
            (&muxed, &plain, Multiplexing::Separate),
            (&plain, &muxed, Multiplexing::Separate),
        ] {
            assert_eq!(media(own, other, &flow).unwrap().rtcp_mux, expected);
        }
    }
}
