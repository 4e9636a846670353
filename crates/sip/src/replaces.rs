//! Replaces (RFC 3891) and Target-Dialog (RFC 4538): headers that name a dialog of the receiver.

use std::fmt;
use std::str::FromStr;

use crate::dialog::DialogId;
use crate::params::Params;

/// The dialog that an INVITE takes the place of, seen from who gets the INVITE.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replaces {
    /// Call-ID.
    pub call_id: String,
    /// The receiver's own tag; `0` where it had none.
    pub to_tag: String,
    /// The tag of the receiver's peer; `0` where it had none.
    pub from_tag: String,
    /// `early-only`: a dialog that is confirmed is to be left alone (486).
    pub early_only: bool,
}

/// The text does not name a dialog: a Call-ID and both tags (RFC 3891 §3, RFC 4538 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Call-ID with two tags")]
pub struct ReplacesError;

impl Replaces {
    /// The name of that dialog in the receiver's table. The tag `0` stands for none (RFC 3891 §3).
    pub fn dialog(&self) -> DialogId {
        let tag = |tag: &String| {
            if tag == "0" {
                String::new()
            } else {
                tag.clone()
            }
        };
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: tag(&self.to_tag),
            remote_tag: tag(&self.from_tag),
        }
    }
}

impl FromStr for Replaces {
    type Err = ReplacesError;

    fn from_str(text: &str) -> Result<Replaces, ReplacesError> {
        let (call_id, params) = named(text)?;
        let tag = |name| params.value(name).filter(|tag| !tag.is_empty());
        Ok(Replaces {
            call_id: call_id.to_owned(),
            to_tag: tag("to-tag").ok_or(ReplacesError)?.to_owned(),
            from_tag: tag("from-tag").ok_or(ReplacesError)?.to_owned(),
            early_only: params.has("early-only"),
        })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, to, from) = (&self.call_id, &self.to_tag, &self.from_tag);
        write!(f, "{id};to-tag={to};from-tag={from}")?;
        match self.early_only {
            true => f.write_str(";early-only"),
            false => Ok(()),
        }
    }
}

/// Target-Dialog: both tags are seen from the receiver (RFC 4538 §7).
pub(crate) fn target_dialog(text: &str) -> Result<DialogId, ReplacesError> {
    let (call_id, params) = named(text)?;
    let tag = |name| params.value(name).map(str::to_owned).ok_or(ReplacesError);
    Ok(DialogId {
        call_id: call_id.to_owned(),
        local_tag: tag("local-tag")?,
        remote_tag: tag("remote-tag")?,
    })
}

fn named(text: &str) -> Result<(&str, Params), ReplacesError> {
    let (call_id, params) = text.split_once(';').ok_or(ReplacesError)?;
    let call_id = call_id.trim();
    match call_id.is_empty() || call_id.contains([' ', '\t', ',']) {
        true => Err(ReplacesError),
        false => Ok((call_id, Params::parse(params))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        let text = "98732@sip.example.com ;from-tag=r33th4x0r ; to-tag=ff87ff;early-only;x=y";
        let read: Replaces = text.parse().unwrap();
        assert_eq!(
            read.to_string(),
            "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r;early-only"
        );
        assert_eq!(read.to_string().parse(), Ok(read.clone()));
        let dialog = read.dialog();
        assert_eq!(
            [dialog.call_id, dialog.local_tag, dialog.remote_tag],
            ["98732@sip.example.com", "ff87ff", "r33th4x0r"]
        );
        let old: Replaces = "a;to-tag=1;from-tag=0".parse().unwrap();
        assert!(!old.early_only);
        assert_eq!(old.dialog().remote_tag, "");
        for text in [
            "",
            "a",
            ";to-tag=1;from-tag=2",
            "a;to-tag=1",
            "a;from-tag=1",
            "a;to-tag=;from-tag=2",
            "a b;to-tag=1;from-tag=2",
        ] {
            assert_eq!(text.parse::<Replaces>(), Err(ReplacesError), "{text}");
        }
    }

    #[test]
    fn target_dialogs() {
        let dialog = target_dialog("fa77as7dad8-sd98ajzz@host;local-tag=kkaz-;remote-tag=6544");
        let dialog = dialog.unwrap();
        assert_eq!(
            (dialog.local_tag.as_str(), dialog.remote_tag.as_str()),
            ("kkaz-", "6544")
        );
        assert_eq!(target_dialog("a;local-tag=1"), Err(ReplacesError));
    }
}
