//! `;name=value` parameters of URIs, addresses and Via (RFC 3261 §25.1).

use std::fmt;

/// Parameters in order. Names compare without case; values stay as written, quotes included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Params(Vec<(String, Option<String>)>);

impl Params {
    /// Reads `a=b;c;d="x;y"` (no leading `;`). Empty members are skipped.
    pub fn parse(text: &str) -> Params {
        let mut list = Vec::new();
        for part in split_outside(text, b';') {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            match part.split_once('=') {
                Some((name, value)) => {
                    list.push((
                        name.trim_end().to_owned(),
                        Some(value.trim_start().to_owned()),
                    ));
                }
                None => list.push((part.to_owned(), None)),
            }
        }
        Params(list)
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// The parameter's value as written; `None` where it is absent or has none.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .and_then(|(_, v)| v.as_deref())
    }

    /// Sets a parameter in place, or appends it.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(str::to_owned);
        match self
            .0
            .iter_mut()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
        {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes every parameter of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_deref()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

/// Splits at a separator that stands outside `"…"` and `<…>`.
pub(crate) fn split_outside(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match find_outside(text, separator) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
}

/// The first place of an ASCII byte outside `"…"` (with `\` escapes) and `<…>`.
pub(crate) fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            _ if byte == wanted && !angle => return Some(at),
            b'<' => angle = true,
            b'>' => angle = false,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_brackets_protect_separators() {
        let params = Params::parse(r#"a=b; C ;d="x;\"y";e=<sip:z;lr>;;f = g"#);
        assert_eq!(params.value("A"), Some("b"));
        assert!(params.has("c"));
        assert_eq!(params.value("c"), None);
        assert_eq!(params.value("d"), Some(r#""x;\"y""#));
        assert_eq!(params.value("e"), Some("<sip:z;lr>"));
        assert_eq!(params.value("f"), Some("g"));
        assert_eq!(params.to_string(), r#";a=b;C;d="x;\"y";e=<sip:z;lr>;f=g"#);
    }

    #[test]
    fn set_keeps_the_place() {
        let mut params = Params::parse("a;rport;b");
        params.set("rport", Some("5060"));
        params.set("received", Some("192.0.2.1"));
        params.remove("B");
        assert_eq!(params.to_string(), ";a;rport=5060;received=192.0.2.1");
    }
}
