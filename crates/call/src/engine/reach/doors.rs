//! The doors: who is let in, who is asked for a password, who has asked too much.

use std::time::Instant;

use duolog_reach::digest::Scheme;
use duolog_reach::limits::{Kind, Standing, Verdict};
use duolog_reach::registrar::{Authentication, Registered};
use duolog_sip::{Flow, Request};

use super::{At, Reach, Users};
use crate::number::number;
use crate::route::{NoRoute, Party, is_neighbour, source, user_with};
use crate::settings::{Settings, UserIndex};

/// What becomes of a message before anybody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Door {
    /// It is read.
    Open,
    /// If it is a request, its sender is told to come later.
    Later,
    /// It is gone.
    Shut,
}

/// Who sent a request.
pub(in crate::engine) enum Sender {
    /// Somebody known.
    Known(Party),
    /// This is to be answered first.
    Answer(Box<duolog_sip::Response>),
    /// Nobody known.
    Unknown(NoRoute),
}

impl Reach {
    /// A message has come: whether its source may be heard now. Retransmissions count like others.
    pub(in crate::engine) fn door(&mut self, now: Instant, flow: &Flow, bytes: &[u8]) -> Door {
        let source = flow.peer.ip();
        if self.limits.arrives(now, source) == Verdict::Drop {
            return Door::Shut;
        }
        let standing = self.standing(now, flow);
        match self.limits.counts(now, source, standing, kind(bytes)) {
            Verdict::Pass => Door::Open,
            Verdict::Limited => Door::Later,
            Verdict::Drop => Door::Shut,
        }
    }

    /// A message could not be read.
    pub(in crate::engine) fn was_bad(&mut self, now: Instant, flow: &Flow) {
        let standing = self.standing(now, flow);
        let _ = self.limits.counts(now, flow.peer.ip(), standing, Kind::Bad);
    }

    /// Asked for every message: it costs no more with more users and trunks.
    fn standing(&self, now: Instant, flow: &Flow) -> Standing {
        let known = self.neighbours.contains(flow.peer.ip()) || self.is_registered(now, flow);
        match known {
            true => Standing::Neighbour,
            false => Standing::Stranger,
        }
    }

    /// A phone registers, or asks what is registered.
    pub(in crate::engine) fn register(
        &mut self,
        now: Instant,
        settings: &Settings,
        flow: &Flow,
        request: &Request,
    ) -> Registered {
        let certified = self.certified.get(flow).map_or(&[][..], Vec::as_slice);
        let users = Users(settings);
        self.registrar
            .register(now, flow, certified, request, &users)
    }

    /// Who sent an INVITE that begins a call. Addresses and connections that are known are enough;
    /// a user with a password who is not known so is asked for it.
    pub(in crate::engine) fn sender(
        &mut self,
        now: Instant,
        settings: &Settings,
        flow: &Flow,
        request: &Request,
    ) -> Sender {
        let Ok(from) = request.from() else {
            return Sender::Unknown(NoRoute::UnknownSource);
        };
        let found = source(settings, &At(self, now), flow, &from.uri);
        // Anybody can write a registered phone's address into a datagram; a connection is its own.
        let sure = match found {
            Ok(Party::User(user)) => flow.transport.is_reliable() || !registers(settings, user),
            Ok(Party::Trunk(_)) | Err(NoRoute::Loop) => true,
            Err(_) => false,
        };
        if sure {
            return found.map_or_else(Sender::Unknown, Sender::Known);
        }
        let claimed = user_with(settings, &number(&from.uri));
        let has_password = |user: &UserIndex| {
            let user = &settings.users[user.0];
            user.secret.is_some() || user.certificate.is_some()
        };
        // Whose address it is has to prove it too, under whatever name: also an anonymous one.
        if found.is_err() && claimed.filter(has_password).is_none() {
            return found.map_or_else(Sender::Unknown, Sender::Known);
        }
        let certified = self.certified.get(flow).cloned().unwrap_or_default();
        let (users, scheme) = (Users(settings), Scheme::Proxy);
        let registrar = &mut self.registrar;
        match registrar.authenticate(now, flow, &certified, request, &users, scheme) {
            Authentication::Known(name) => match user_with(settings, &name) {
                Some(user) => Sender::Known(Party::User(user)),
                None => Sender::Unknown(NoRoute::UnknownSource),
            },
            Authentication::Challenge(response) => Sender::Answer(Box::new(response)),
            Authentication::Refused(response, _) => Sender::Answer(Box::new(response)),
        }
    }

    /// Whether anything that was configured or has registered is where a request came from.
    pub(in crate::engine) fn is_neighbour(
        &self,
        now: Instant,
        settings: &Settings,
        flow: &Flow,
    ) -> bool {
        self.is_registered(now, flow) || is_neighbour(settings, &At(self, now), flow)
    }

    /// Whether a phone, perhaps one with several lines, has registered over this very flow.
    fn is_registered(&self, now: Instant, flow: &Flow) -> bool {
        self.registrar.users_on(now, flow).next().is_some()
    }
}

fn registers(settings: &Settings, UserIndex(at): UserIndex) -> bool {
    settings.users[at].secret.is_some()
        && settings.users[at].location == crate::settings::Location::Registered
}

fn kind(bytes: &[u8]) -> Kind {
    // Line ends before a message are passed over when it is read (RFC 3261 §7.5).
    let bytes = bytes.trim_ascii_start();
    let starts = |word: &[u8]| bytes.starts_with(word);
    if starts(b"INVITE ") {
        Kind::Invite
    } else if starts(b"REGISTER ") {
        Kind::Register
    } else {
        Kind::Other
    }
}
