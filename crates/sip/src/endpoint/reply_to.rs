//! Where a response goes (RFC 3261 §18.2, RFC 3581 §4).

use std::net::SocketAddr;

use crate::flow::{Flow, Transport};
use crate::message::Request;
use crate::reads::HeaderError;
use crate::via::Via;

/// Fills in `received` and `rport` of the topmost Via and says where the response goes.
pub(crate) fn stamp(request: &mut Request, flow: Flow) -> Result<(Via, Flow), HeaderError> {
    let mut via = request.via()?;
    // A socket of both families shows an IPv4 peer as ::ffff:a.b.c.d.
    let source = flow.peer.ip().to_canonical();
    let wants_rport = via.params.has("rport");
    // What the sender wrote there says nothing: we know where the packet came from.
    via.params.remove("received");
    if wants_rport {
        via.params.set("rport", Some(&flow.peer.port().to_string()));
    }
    if wants_rport || via.host_ip() != Some(source) {
        via.params.set("received", Some(&source.to_string()));
    }
    request.headers.remove_first("Via");
    request.headers.push_front("Via", via.to_string());
    let back = match flow.transport {
        Transport::Tcp | Transport::Tls => flow,
        Transport::Udp if wants_rport => flow,
        Transport::Udp => {
            let port = via.port.filter(|port| *port != 0).unwrap_or(5060);
            Flow {
                peer: SocketAddr::new(flow.peer.ip(), port),
                ..flow
            }
        }
    };
    Ok((via, back))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn check(via: &str, transport: Transport, peer: &str, stamped: &str, back: &str) {
        let text = format!("OPTIONS sip:a@b SIP/2.0\r\nTo: x\r\nVia: {via}, SIP/2.0/UDP z\r\n\r\n");
        let Ok(Message::Request(mut request)) = Message::parse(text.into()) else {
            panic!("{via}")
        };
        let local = "192.0.2.1:5060".parse().unwrap();
        let flow = Flow {
            transport,
            local,
            peer: peer.parse().unwrap(),
        };
        let (_, to) = stamp(&mut request, flow).unwrap();
        let vias: Vec<&str> = request.headers.values("Via").collect();
        assert_eq!(vias, [stamped, "SIP/2.0/UDP z"], "{via}");
        assert_eq!(
            to,
            Flow {
                peer: back.parse().unwrap(),
                ..flow
            },
            "{via}"
        );
    }

    #[test]
    fn rport_received_and_the_way_back() {
        use Transport::{Tcp, Udp};
        check(
            "SIP/2.0/UDP 10.0.0.1:5070;branch=b;rport",
            Udp,
            "192.0.2.9:1024",
            "SIP/2.0/UDP 10.0.0.1:5070;branch=b;rport=1024;received=192.0.2.9",
            "192.0.2.9:1024",
        );
        check(
            "SIP/2.0/UDP 10.0.0.1:5070;branch=b",
            Udp,
            "192.0.2.9:1024",
            "SIP/2.0/UDP 10.0.0.1:5070;branch=b;received=192.0.2.9",
            "192.0.2.9:5070",
        );
        check(
            "SIP/2.0/UDP phone.example.com;branch=b;received=6.6.6.6",
            Udp,
            "192.0.2.9:1024",
            "SIP/2.0/UDP phone.example.com;branch=b;received=192.0.2.9",
            "192.0.2.9:5060",
        );
        check(
            "SIP/2.0/UDP 192.0.2.9:0;received=6.6.6.6",
            Udp,
            "192.0.2.9:1024",
            "SIP/2.0/UDP 192.0.2.9:0",
            "192.0.2.9:5060",
        );
        check(
            "SIP/2.0/UDP 192.0.2.9:5062;branch=b",
            Udp,
            "[::ffff:192.0.2.9]:5062",
            "SIP/2.0/UDP 192.0.2.9:5062;branch=b",
            "[::ffff:192.0.2.9]:5062",
        );
        check(
            "SIP/2.0/TCP 10.0.0.1:5070;branch=b",
            Tcp,
            "192.0.2.9:1024",
            "SIP/2.0/TCP 10.0.0.1:5070;branch=b;received=192.0.2.9",
            "192.0.2.9:1024",
        );
        check(
            "SIP/2.0/UDP [2001:db8::1];rport;branch=b",
            Udp,
            "[2001:db8::2]:5061",
            "SIP/2.0/UDP [2001:db8::1];rport=5061;branch=b;received=2001:db8::2",
            "[2001:db8::2]:5061",
        );
    }
}
