//! Request methods (RFC 3261 §7.1 and the RFCs that add to it).

use std::fmt;

/// A request method. Method names are case-sensitive (RFC 3261 §7.1): `invite` is an extension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §13.2.2.4 and §17.1.1.3.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §11.
    Options,
    /// RFC 6086.
    Info,
    /// RFC 3311.
    Update,
    /// RFC 3262.
    Prack,
    /// RFC 3261 §10.
    Register,
    /// RFC 3515.
    Refer,
    /// RFC 3428.
    Message,
    /// RFC 6665.
    Notify,
    /// RFC 6665.
    Subscribe,
    /// RFC 3903.
    Publish,
    /// Any other token, exactly as it stood on the wire.
    Extension(String),
}

impl Method {
    /// The method as written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Info => "INFO",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Register => "REGISTER",
            Method::Refer => "REFER",
            Method::Message => "MESSAGE",
            Method::Notify => "NOTIFY",
            Method::Subscribe => "SUBSCRIBE",
            Method::Publish => "PUBLISH",
            Method::Extension(name) => name,
        }
    }

    /// Reads a method; `None` where the text is not a token (RFC 3261 §25.1).
    pub fn parse(text: &str) -> Option<Method> {
        Some(match text {
            "INVITE" => Method::Invite,
            "ACK" => Method::Ack,
            "BYE" => Method::Bye,
            "CANCEL" => Method::Cancel,
            "OPTIONS" => Method::Options,
            "INFO" => Method::Info,
            "UPDATE" => Method::Update,
            "PRACK" => Method::Prack,
            "REGISTER" => Method::Register,
            "REFER" => Method::Refer,
            "MESSAGE" => Method::Message,
            "NOTIFY" => Method::Notify,
            "SUBSCRIBE" => Method::Subscribe,
            "PUBLISH" => Method::Publish,
            other if is_token(other) => Method::Extension(other.to_owned()),
            _ => return None,
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the text is a non-empty `token` of RFC 3261 §25.1.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_sensitive_and_extensions_survive() {
        for (text, want) in [
            ("INVITE", Some(Method::Invite)),
            ("invite", Some(Method::Extension("invite".into()))),
            ("NEWMETHOD", Some(Method::Extension("NEWMETHOD".into()))),
            ("!interesting-Method0123456789_*+`.%indeed'~", None),
            ("PRACK", Some(Method::Prack)),
            ("", None),
            ("IN VITE", None),
            ("IN/VITE", None),
        ] {
            let got = Method::parse(text);
            match want {
                Some(want) => assert_eq!(got, Some(want), "{text}"),
                // The interesting method of RFC 4475 §3.1.1.2 is a token of odd characters.
                None if text.starts_with('!') => assert_eq!(got.unwrap().as_str(), text),
                None => assert_eq!(got, None, "{text}"),
            }
        }
    }
}
