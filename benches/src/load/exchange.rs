//! The callers on the trunk and the phones that answer: real SIP over UDP, as much of it as a load bench
//! needs.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use duolog_sip::endpoint::{Input, Output};
use duolog_sip::sdp::{Description, Direction, Encoding, Format, Offer};
use duolog_sip::{
    ClientKey, Dialog, Endpoint, EndpointSettings, Flow, Method, NameAddr, Request, Response,
    ServerKey, StatusCode, Timers, Transport, Uri,
};

use super::LOOPBACK;
use super::traffic::Sockets;

/// Between two INVITEs, or two BYEs.
const SPACING: Duration = Duration::from_millis(5);

/// How long the last call may take to be answered or ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keys from here on are those of BYEs.
const BYES: u64 = 1 << 32;

/// The number that is dialled.
pub const NUMBER: &str = "100";

/// Both ends of every call.
pub struct Exchange {
    trunk: Agent,
    phone: Agent,
    calls: Vec<Call>,
    refused: Vec<StatusCode>,
}

/// One call as both its ends see it.
#[derive(Debug, Default)]
pub struct Call {
    invite: Option<Request>,
    dialog: Option<Dialog>,
    /// Where the caller, and the phone, send RTP to.
    legs: [Option<SocketAddr>; 2],
    /// When the caller saw the answer.
    pub answered: Option<Instant>,
    /// When the caller hung up.
    pub hung_up: Option<Instant>,
    /// When the BYE reached the phone.
    phone_ended: bool,
    bye_answered: bool,
}

struct Agent {
    socket: UdpSocket,
    local: SocketAddr,
    endpoint: Endpoint,
}

impl Exchange {
    /// An exchange without calls.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub fn new() -> Result<Exchange> {
        let (trunk, phone) = (Agent::new(1)?, Agent::new(2)?);
        Ok(Exchange {
            trunk,
            phone,
            calls: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// Where the trunk and the phone are.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.trunk.local, self.phone.local)
    }

    /// The calls, in their order.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Sets `count` calls up through `proxy`; gives for each party where it sends RTP to.
    ///
    /// # Errors
    /// When one is refused or not answered.
    pub fn set_up(
        &mut self,
        count: usize,
        proxy: SocketAddr,
        media: &Sockets,
    ) -> Result<Vec<SocketAddr>> {
        for call in 0..count {
            let request = self.invite(call, proxy, media.address(2 * call));
            self.calls.push(Call {
                invite: Some(request.clone()),
                ..Call::default()
            });
            let key = ClientKey(call as u64);
            let flow = self.trunk.flow(proxy);
            let input = Input::Request {
                key,
                flow,
                request,
                larger: None,
            };
            self.on_trunk(input)?;
            self.go_on(Instant::now() + SPACING, media, |_| false)?;
        }
        let whole = |call: &Call| call.legs.iter().all(Option::is_some) && call.answered.is_some();
        self.go_on(Instant::now() + PATIENCE, media, |e| {
            e.calls.iter().all(whole)
        })?;
        ensure!(
            self.refused.is_empty(),
            "calls were refused: {:?}",
            self.refused
        );
        let missing = self.calls.iter().filter(|call| !whole(call)).count();
        ensure!(missing == 0, "{missing} of {count} calls were not answered");
        Ok(self
            .calls
            .iter()
            .flat_map(|call| call.legs)
            .flatten()
            .collect())
    }

    /// The callers hang up, one after the other.
    ///
    /// # Errors
    /// When a BYE is not answered, or does not reach the phone.
    pub fn hang_up(&mut self, media: &Sockets) -> Result<()> {
        for call in 0..self.calls.len() {
            let Some(dialog) = &mut self.calls[call].dialog else {
                continue;
            };
            let request = dialog.request(Method::Bye);
            let flow = dialog.flow();
            let key = ClientKey(BYES + call as u64);
            self.on_trunk(Input::Request {
                key,
                flow,
                request,
                larger: None,
            })?;
            self.calls[call].hung_up = Some(Instant::now());
            self.go_on(Instant::now() + SPACING, media, |_| false)?;
        }
        let over = |call: &Call| call.phone_ended && call.bye_answered;
        self.go_on(Instant::now() + PATIENCE, media, |e| {
            e.calls.iter().all(over)
        })?;
        let left = self.calls.iter().filter(|call| !over(call)).count();
        ensure!(left == 0, "{left} calls did not end at both ends");
        Ok(())
    }

    fn invite(&self, call: usize, proxy: SocketAddr, rtp: SocketAddr) -> Request {
        let proxy_host = proxy.ip().to_string();
        let target = Uri::sip(Some(NUMBER), &proxy_host, Some(proxy.port()));
        let caller = format!("+316{call:08}");
        let host = self.trunk.local.ip().to_string();
        let from = Uri::sip(Some(&caller), &host, None);
        let contact = Uri::sip(Some(&caller), &host, Some(self.trunk.local.port()));
        let mut request = Request::new(Method::Invite, target.clone());
        let headers = &mut request.headers;
        headers.push("Max-Forwards", "70");
        headers.push(
            "From",
            NameAddr::new(from)
                .with_tag(&format!("load{call}"))
                .to_string(),
        );
        headers.push("To", NameAddr::new(target).to_string());
        headers.push("Call-ID", format!("load-{call}@{host}"));
        headers.push("CSeq", "1 INVITE");
        headers.push("Contact", NameAddr::new(contact).to_string());
        request.set_body("application/sdp", description(rtp));
        request
    }

    /// Takes what comes until `done` or `until`.
    fn go_on(
        &mut self,
        until: Instant,
        media: &Sockets,
        done: impl Fn(&Exchange) -> bool,
    ) -> Result<()> {
        loop {
            let mut idle = true;
            while let Some(input) = self.trunk.next()? {
                self.on_trunk(input)?;
                idle = false;
            }
            while let Some(input) = self.phone.next()? {
                self.on_phone(input, media)?;
                idle = false;
            }
            if done(self) || Instant::now() >= until {
                return Ok(());
            }
            if idle {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
    }

    fn on_trunk(&mut self, input: Input) -> Result<()> {
        for output in self.trunk.handle(input)? {
            match output {
                Output::Response { key, response } => self.on_response(key, &response)?,
                Output::Request { request, .. } => bail!("the trunk got {}", request.method),
                Output::ClientFailed { key, failure } => bail!("{key:?} failed: {failure:?}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn on_response(&mut self, key: ClientKey, response: &Response) -> Result<()> {
        if !response.status.is_final() {
            return Ok(());
        }
        if key.0 >= BYES {
            self.calls[(key.0 - BYES) as usize].bye_answered = response.status.is_success();
            return Ok(());
        }
        if !response.status.is_success() {
            self.refused.push(response.status);
            return Ok(());
        }
        let flow = self.trunk.flow_of(response)?;
        let call = &mut self.calls[key.0 as usize];
        let invite = call.invite.as_ref().context("an answer has its INVITE")?;
        let dialog = Dialog::uac(invite, response, flow)?;
        call.legs[0] = Some(media_address(&response.body)?);
        call.answered = Some(Instant::now());
        let request = dialog.ack_for(response.cseq()?.number);
        call.dialog = Some(dialog);
        self.on_trunk(Input::Ack { key, request })
    }

    fn on_phone(&mut self, input: Input, media: &Sockets) -> Result<()> {
        for output in self.phone.handle(input)? {
            match output {
                Output::Request { key, request, .. } => self.answer(key, &request, media)?,
                Output::ServerFailed { key, failure } => bail!("{key:?} failed: {failure:?}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, key: ServerKey, request: &Request, media: &Sockets) -> Result<()> {
        let mut response = Response::to(request, StatusCode::OK);
        let from = request.from()?.uri.user.unwrap_or_default();
        let number = from
            .strip_prefix("+316")
            .and_then(|n| n.parse::<usize>().ok());
        let number = number.with_context(|| format!("a call from {from:?}"))?;
        let call = self
            .calls
            .get_mut(number)
            .with_context(|| format!("no call {number}"))?;
        match request.method {
            Method::Invite => {
                call.legs[1] = Some(media_address(&request.body)?);
                let local = self.phone.local;
                let contact = Uri::sip(Some("phone"), &local.ip().to_string(), Some(local.port()));
                response
                    .headers
                    .push("Contact", NameAddr::new(contact).to_string());
                response.set_body(
                    "application/sdp",
                    description(media.address(2 * number + 1)),
                );
            }
            Method::Bye => call.phone_ended = true,
            _ => {}
        }
        self.on_phone(Input::Respond { key, response }, media)
    }
}

impl Agent {
    fn new(seed: u8) -> Result<Agent> {
        let socket = UdpSocket::bind((LOOPBACK, 0))?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let settings = EndpointSettings {
            own: vec![(Transport::Udp, local)],
            server_name: "load".into(),
            timers: Timers::default(),
        };
        Ok(Agent {
            socket,
            local,
            endpoint: Endpoint::new(settings, [seed; 32]),
        })
    }

    fn flow(&self, peer: SocketAddr) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: self.local,
            peer,
        }
    }

    /// The path to whoever answered: its Contact.
    fn flow_of(&self, response: &Response) -> Result<Flow> {
        let contact = response.contact()?.uri;
        let ip = contact.host_ip().context("a Contact with an address")?;
        Ok(self.flow(SocketAddr::new(ip, contact.port.unwrap_or(5060))))
    }

    /// The next datagram, or the deadline.
    fn next(&mut self) -> Result<Option<Input>> {
        if self
            .endpoint
            .deadline()
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Ok(Some(Input::Deadline));
        }
        let mut bytes = [0; 4096];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, peer)) => {
                let bytes = Bytes::copy_from_slice(&bytes[..length]);
                Ok(Some(Input::Received {
                    flow: self.flow(peer),
                    bytes,
                }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("a SIP socket of the load bench"),
        }
    }

    /// Sends what is to be sent, gives the rest.
    fn handle(&mut self, input: Input) -> Result<Vec<Output>> {
        let mut rest = Vec::new();
        for output in self.endpoint.handle(Instant::now(), input) {
            match output {
                Output::Transmit { flow, bytes } => {
                    self.socket.send_to(&bytes, flow.peer)?;
                }
                other => rest.push(other),
            }
        }
        Ok(rest)
    }
}

fn description(rtp: SocketAddr) -> Bytes {
    let offer = Offer {
        session_id: 1,
        version: 1,
        rtp,
        rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
        formats: vec![
            Format {
                payload_type: 0,
                encoding: Encoding::Pcmu,
            },
            Format {
                payload_type: 101,
                encoding: Encoding::TelephoneEvent { rate_hz: 8_000 },
            },
        ],
        ptime_ms: Some(20),
        direction: Direction::SendRecv,
        profile: duolog_sip::sdp::Profile::Avp,
        crypto: Vec::new(),
    };
    offer.describe().write()
}

fn media_address(body: &[u8]) -> Result<SocketAddr> {
    let audio = Description::parse(body)?.audio();
    Ok(audio.context("a description without audio")?.rtp)
}
