//! The class of a call (SPEC B4): a pure reading of who talks to whom and of the number.

use crate::route::Party;
use crate::settings::{Settings, TrunkIndex, TrunkKind};

/// What kind of call this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    /// Whether the public network takes part.
    pub network: Network,
    /// What the call is for.
    pub nature: Nature,
}

/// Whether the public network takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// Between users and PBXs of one organisation.
    Internal,
    /// To or from the public network.
    Pstn,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nature {
    /// People talk.
    Conversation,
    /// A message is left or listened to.
    Voicemail,
    /// An emergency number was called.
    Emergency,
}

/// The class of a call from `caller` to `callee`, who was called as `number`.
pub fn classify(settings: &Settings, caller: Party, callee: Party, number: &str) -> Class {
    let kind = |party| match party {
        Party::User(_) => None,
        Party::Trunk(TrunkIndex(at)) => settings.trunks.get(at).map(|trunk| trunk.kind),
    };
    let kinds = [kind(caller), kind(callee)];
    let has = |wanted| kinds.contains(&Some(wanted));
    let is_in = |list: &[String]| list.iter().any(|one| one == number);
    let nature = if is_in(&settings.numbering.emergency) {
        Nature::Emergency
    } else if has(TrunkKind::Voicemail) || is_in(&settings.numbering.voicemail) {
        Nature::Voicemail
    } else {
        Nature::Conversation
    };
    let network = match has(TrunkKind::Pstn) {
        true => Network::Pstn,
        false => Network::Internal,
    };
    Class { network, nature }
}

/// Where somebody is who takes part in a call.
pub(crate) fn network_of(settings: &Settings, party: Party) -> Network {
    let trunk = match party {
        Party::User(_) => None,
        Party::Trunk(TrunkIndex(at)) => settings.trunks.get(at),
    };
    match trunk.map(|trunk| trunk.kind) {
        Some(TrunkKind::Pstn) => Network::Pstn,
        Some(TrunkKind::Internal | TrunkKind::Voicemail) | None => Network::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, settings};

    #[test]
    fn classes_follow_from_parties_and_number() {
        use Nature::{Conversation, Emergency, Voicemail};
        let mut settings = settings();
        settings.numbering.emergency = vec!["112".into()];
        settings.numbering.voicemail = vec!["1233".into()];
        settings.trunks[1].kind = TrunkKind::Internal;
        let mut mailbox = settings.trunks[1].clone();
        mailbox.kind = TrunkKind::Voicemail;
        settings.trunks.push(mailbox);
        let [pstn, pbx, mailbox] = [0, 1, 2].map(|at| Party::Trunk(TrunkIndex(at)));
        let (alice, bob) = (Party::User(ALICE), Party::User(BOB));
        for (caller, callee, number, network, nature) in [
            (alice, bob, "1002", Network::Internal, Conversation),
            (alice, pstn, "+31201112233", Network::Pstn, Conversation),
            (pstn, alice, "1001", Network::Pstn, Conversation),
            (pbx, alice, "1001", Network::Internal, Conversation),
            (pbx, pstn, "0201", Network::Pstn, Conversation),
            (alice, pstn, "112", Network::Pstn, Emergency),
            (alice, pstn, "1121", Network::Pstn, Conversation),
            (alice, pbx, "1233", Network::Internal, Voicemail),
            (pstn, mailbox, "1001", Network::Pstn, Voicemail),
            (mailbox, alice, "1001", Network::Internal, Voicemail),
        ] {
            let class = classify(&settings, caller, callee, number);
            let want = Class { network, nature };
            assert_eq!(class, want, "{caller:?} {callee:?} {number}");
        }
    }
}
