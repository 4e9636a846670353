//! What a REGISTER asks for: its Contacts, Path and instance (RFC 3261 §10.3, RFC 3327 §5.3,
//! RFC 5626 §6).

use std::net::SocketAddr;

use duolog_sip::{Flow, NameAddr, Request, Scheme, Transport, Uri};

use super::address::{has_tag, members};
use super::{RegistrarSettings, Why};

/// Longest contact URI, instance and Call-ID that are kept, in bytes.
const MAX_TEXT: usize = 512;
/// Longest Path that is kept, in bytes.
const MAX_PATH: usize = 2048;
/// What an expiry that cannot be read means, in seconds (RFC 3261 §10.2.1.1).
const UNREAD_EXPIRES_S: u32 = 3600;

/// What becomes of the bindings.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// Nothing: they are asked for.
    Show,
    /// `*`: all go.
    Clear,
    /// These come, stay or go.
    Change(Vec<Change>),
}

/// One Contact.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) uri: Uri,
    /// 0: it goes.
    pub(super) expires_s: u32,
    pub(super) q_milli: u16,
    pub(super) instance: Option<String>,
    /// Only where outbound is in use.
    pub(super) reg_id: Option<u32>,
}

/// What every binding of one REGISTER has in common.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) call_id: String,
    pub(super) cseq: u32,
    /// Where it came from.
    pub(super) source: Flow,
    /// Whether the sender is the phone itself.
    pub(super) hop: FirstHop,
    pub(super) path: Vec<NameAddr>,
    /// Whether the phone has an rport-less Via: it may listen elsewhere than it sends from.
    replies: Replies,
}

/// Whether anyone stands between the phone and this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstHop {
    Phone,
    Proxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    /// To where the request came from (RFC 3581).
    ToSource,
    /// To the port that the sender names.
    ToNamedPort,
}

/// Whether reg-id counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outbound {
    /// It does.
    Used,
    /// It does, and the answer says so.
    Required,
    /// It does not.
    Ignored,
}

impl Origin {
    pub(super) fn read(request: &Request, source: Flow) -> Result<Origin, Why> {
        let call_id = request.call_id().map_err(|_| Why::Malformed)?;
        let cseq = request.cseq().map_err(|_| Why::Malformed)?.number;
        let vias = request.vias().map_err(|_| Why::Malformed)?;
        let path = members(&request.headers, "Path");
        let too_long = path.iter().map(|one| one.len()).sum::<usize>() > MAX_PATH;
        if call_id.len() > MAX_TEXT || too_long {
            return Err(Why::Malformed);
        }
        let path = path.into_iter().map(str::parse).collect::<Result<_, _>>();
        let rport = vias.first().is_some_and(|via| via.params.has("rport"));
        Ok(Origin {
            call_id: call_id.to_owned(),
            cseq,
            source,
            hop: match vias.len() {
                0 | 1 => FirstHop::Phone,
                _ => FirstHop::Proxy,
            },
            path: path.map_err(|_| Why::Malformed)?,
            replies: match rport {
                true => Replies::ToSource,
                false => Replies::ToNamedPort,
            },
        })
    }

    /// The way to a contact: the one it came by, which leads through a NAT and to a phone that
    /// listens to no new connections. Only a phone that sends from a port it does not listen on, and
    /// says so by leaving `rport` out, is reached at the port it names, at its own address.
    pub(super) fn way_to(&self, contact: &Uri) -> Flow {
        let mut way = self.source;
        let peer = self.source.peer.ip().to_canonical();
        let own = contact.host_ip().map(|ip| ip.to_canonical()) == Some(peer);
        if self.source.transport == Transport::Udp
            && self.hop == FirstHop::Phone
            && self.path.is_empty()
            && self.replies == Replies::ToNamedPort
            && own
        {
            way.peer = SocketAddr::new(self.source.peer.ip(), contact.port.unwrap_or(5060));
        }
        way
    }

    /// RFC 5626 §6: outbound needs a phone, or a first hop, that can do it.
    pub(super) fn outbound(&self, request: &Request) -> Result<Outbound, Why> {
        let contacts = request.headers.values("Contact");
        let mut contacts = contacts.filter_map(|value| value.parse::<NameAddr>().ok());
        let wanted =
            contacts.any(|one| one.params.has("reg-id") && one.params.has("+sip.instance"));
        let supported = has_tag(&request.headers, "Supported", "outbound")
            || has_tag(&request.headers, "Require", "outbound");
        let able = self.hop == FirstHop::Phone
            || self
                .path
                .first()
                .is_some_and(|hop| hop.uri.params.has("ob"));
        match (wanted, able, supported) {
            (false, _, _) => Ok(Outbound::Ignored),
            (true, false, true) => Err(Why::FirstHopLacksOutbound),
            (true, false, false) => Ok(Outbound::Ignored),
            (true, true, true) => Ok(Outbound::Required),
            (true, true, false) => Ok(Outbound::Used),
        }
    }
}

impl Wish {
    pub(super) fn read(
        request: &Request,
        outbound: Outbound,
        settings: &RegistrarSettings,
    ) -> Result<Wish, Why> {
        let contacts: Vec<&str> = request.headers.values("Contact").collect();
        let expires = request.headers.value("Expires");
        if contacts.is_empty() {
            return Ok(Wish::Show);
        }
        if contacts.contains(&"*") {
            let alone = contacts.len() == 1 && expires.and_then(seconds) == Some(0);
            return if alone {
                Ok(Wish::Clear)
            } else {
                Err(Why::Malformed)
            };
        }
        if contacts.len() > 2 * settings.contacts {
            return Err(Why::TooManyContacts);
        }
        let mut changes = Vec::with_capacity(contacts.len());
        for text in contacts {
            changes.push(Change::read(text, expires, outbound, settings)?);
        }
        let staying = changes.iter().filter(|change| change.expires_s > 0);
        let flows = staying.clone().any(|change| change.reg_id.is_some());
        if flows && staying.count() > 1 {
            return Err(Why::Malformed);
        }
        Ok(Wish::Change(changes))
    }
}

impl Change {
    fn read(
        text: &str,
        expires: Option<&str>,
        outbound: Outbound,
        settings: &RegistrarSettings,
    ) -> Result<Change, Why> {
        let contact: NameAddr = text.parse().map_err(|_| Why::Malformed)?;
        let asked = contact.params.value("expires").or(expires);
        let instance = contact.params.value("+sip.instance");
        let instance = instance.map(|text| text.trim_matches('"').to_owned());
        let reg_id = contact.params.value("reg-id").and_then(seconds);
        let uri = reachable(contact.uri)?;
        let length = instance.as_ref().map_or(0, String::len);
        if length > MAX_TEXT || uri.to_string().len() > MAX_TEXT {
            return Err(Why::Malformed);
        }
        Ok(Change {
            uri,
            expires_s: granted(asked, settings)?,
            q_milli: contact.params.value("q").map_or(1000, milli),
            reg_id: reg_id.filter(|_| instance.is_some() && outbound != Outbound::Ignored),
            instance,
        })
    }
}

/// A contact becomes a Request-URI: there is no place for headers and a method in one
/// (RFC 3261 §19.1.1), and what is no SIP cannot be called.
fn reachable(mut uri: Uri) -> Result<Uri, Why> {
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
        return Err(Why::Malformed);
    }
    uri.headers = None;
    uri.params.remove("method");
    Ok(uri)
}

/// How long a binding is kept, in seconds; 423 where that is too short (RFC 3261 §10.3 item 7).
fn granted(asked: Option<&str>, settings: &RegistrarSettings) -> Result<u32, Why> {
    let (min, default, max) = settings.expires_s;
    let asked = asked.map_or(default, |text| seconds(text).unwrap_or(UNREAD_EXPIRES_S));
    match asked {
        0 => Ok(0),
        asked if asked < min && asked < 3600 => Err(Why::TooBrief),
        asked => Ok(asked.min(max)),
    }
}

/// A number of seconds; one too large for 32 bits is the largest.
pub(crate) fn seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

/// A q value in thousandths (RFC 3261 §25.1); what cannot be read is 1.
fn milli(text: &str) -> u16 {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    match (whole, digits) {
        ("0" | "", true) if !text.trim().is_empty() => {
            format!("{part:0<3}").parse().unwrap_or(1000)
        }
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_values() {
        for (text, want) in [
            ("0", 0),
            ("0.5", 500),
            (".5", 500),
            ("0.25", 250),
            ("0.125", 125),
            ("0.0625", 1000),
            ("1", 1000),
            ("1.000", 1000),
            ("2", 1000),
            ("", 1000),
            ("-1", 1000),
            ("0.x", 1000),
            ("0.", 0),
        ] {
            assert_eq!(milli(text), want, "{text}");
        }
    }

    #[test]
    fn expiries() {
        let settings = RegistrarSettings {
            expires_s: (60, 300, 7200),
            ..RegistrarSettings::default()
        };
        for (asked, want) in [
            (None, Ok(300)),
            (Some("0"), Ok(0)),
            (Some("59"), Err(Why::TooBrief)),
            (Some("60"), Ok(60)),
            (Some(" 100 "), Ok(100)),
            (Some("99999999999999"), Ok(7200)),
            (Some("soon"), Ok(3600)),
            (Some("-1"), Ok(3600)),
            (Some(""), Ok(3600)),
        ] {
            assert_eq!(granted(asked, &settings), want, "{asked:?}");
        }
    }
}
