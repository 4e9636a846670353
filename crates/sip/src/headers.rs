//! Header fields in order, over the `rsip` package's header types.
//!
//! Only `rsip`'s model is used. Its parser refuses folded lines, compact names and one bad byte, and
//! its typed Via and From lose values, so reading is done by `lexer` and by the types of this crate.

use rsip::headers::UntypedHeader;

/// Header fields in wire order. Names compare without case; compact forms are expanded on the way in.
///
/// Via, Route, Record-Route and Contact hold one value per field. Content-Length is never here: the
/// writer makes it from the body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(rsip::Headers);

/// Compact names and their long forms (RFC 3261 §7.3.3 and the IANA registry).
const COMPACT: [(&str, &str); 20] = [
    ("a", "Accept-Contact"),
    ("b", "Referred-By"),
    ("c", "Content-Type"),
    ("d", "Request-Disposition"),
    ("e", "Content-Encoding"),
    ("f", "From"),
    ("i", "Call-ID"),
    ("j", "Reject-Contact"),
    ("k", "Supported"),
    ("l", "Content-Length"),
    ("m", "Contact"),
    ("n", "Identity-Info"),
    ("o", "Event"),
    ("r", "Refer-To"),
    ("s", "Subject"),
    ("t", "To"),
    ("u", "Allow-Events"),
    ("v", "Via"),
    ("x", "Session-Expires"),
    ("y", "Identity"),
];

/// The long form of a compact name, or the name itself.
pub(crate) fn expand(name: &str) -> &str {
    if name.len() != 1 {
        return name;
    }
    COMPACT
        .iter()
        .find(|(short, _)| short.eq_ignore_ascii_case(name))
        .map_or(name, |(_, l)| l)
}

macro_rules! known {
    ($($variant:ident => $name:literal,)*) => {
        fn header(name: &str, value: String) -> rsip::Header {
            $(if name.eq_ignore_ascii_case($name) {
                return rsip::Header::$variant(rsip::headers::$variant::new(value));
            })*
            rsip::Header::Other(name.to_owned(), value)
        }

        fn parts(header: &rsip::Header) -> (&str, &str) {
            match header {
                $(rsip::Header::$variant(inner) => ($name, inner.value()),)*
                rsip::Header::Other(name, value) => (name, value),
            }
        }
    };
}

known! {
    Accept => "Accept",
    AcceptEncoding => "Accept-Encoding",
    AcceptLanguage => "Accept-Language",
    AlertInfo => "Alert-Info",
    Allow => "Allow",
    AuthenticationInfo => "Authentication-Info",
    Authorization => "Authorization",
    CSeq => "CSeq",
    CallId => "Call-ID",
    CallInfo => "Call-Info",
    Contact => "Contact",
    ContentDisposition => "Content-Disposition",
    ContentEncoding => "Content-Encoding",
    ContentLanguage => "Content-Language",
    ContentLength => "Content-Length",
    ContentType => "Content-Type",
    Date => "Date",
    ErrorInfo => "Error-Info",
    Event => "Event",
    Expires => "Expires",
    From => "From",
    InReplyTo => "In-Reply-To",
    MaxForwards => "Max-Forwards",
    MimeVersion => "MIME-Version",
    MinExpires => "Min-Expires",
    Organization => "Organization",
    Priority => "Priority",
    ProxyAuthenticate => "Proxy-Authenticate",
    ProxyAuthorization => "Proxy-Authorization",
    ProxyRequire => "Proxy-Require",
    RecordRoute => "Record-Route",
    ReplyTo => "Reply-To",
    Require => "Require",
    RetryAfter => "Retry-After",
    Route => "Route",
    Server => "Server",
    Subject => "Subject",
    SubscriptionState => "Subscription-State",
    Supported => "Supported",
    Timestamp => "Timestamp",
    To => "To",
    Unsupported => "Unsupported",
    UserAgent => "User-Agent",
    Via => "Via",
    Warning => "Warning",
    WwwAuthenticate => "WWW-Authenticate",
}

impl Headers {
    /// No fields.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// The first value of a field.
    pub fn value(&self, name: &str) -> Option<&str> {
        let name = expand(name);
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Every value of a field, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let name = expand(name);
        self.iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Whether the field is there.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Appends a field. Line ends and NUL inside the value become blanks; blanks at its ends go.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(header(expand(name), one_line(value.into())));
    }

    /// Puts a field before all others.
    pub fn push_front(&mut self, name: &str, value: impl Into<String>) {
        let mut list = Vec::from(std::mem::take(&mut self.0));
        list.insert(0, header(expand(name), one_line(value.into())));
        self.0 = list.into();
    }

    /// Replaces every field of that name by one, at the place of the first; appends where none is.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let name = expand(name);
        let new = header(name, one_line(value.into()));
        let place = self.iter().position(|(n, _)| n.eq_ignore_ascii_case(name));
        self.remove(name);
        let mut list = Vec::from(std::mem::take(&mut self.0));
        list.insert(place.unwrap_or(list.len()), new);
        self.0 = list.into();
    }

    /// Removes every field of that name.
    pub fn remove(&mut self, name: &str) {
        let name = expand(name);
        self.0.retain(|h| !parts(h).0.eq_ignore_ascii_case(name));
    }

    /// Removes the first field of that name and returns its value.
    pub fn remove_first(&mut self, name: &str) -> Option<String> {
        let name = expand(name);
        let place = self
            .iter()
            .position(|(n, _)| n.eq_ignore_ascii_case(name))?;
        let mut list = Vec::from(std::mem::take(&mut self.0));
        let removed = list.remove(place);
        self.0 = list.into();
        Some(parts(&removed).1.to_owned())
    }

    /// Name and value of every field in order; known names in their usual spelling.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(parts)
    }
}

/// A value as it can be read back: on one line, without blanks at its ends.
fn one_line(value: String) -> String {
    let value = match value.contains(['\r', '\n', '\0']) {
        true => value.replace(['\r', '\n', '\0'], " "),
        false => value,
    };
    match value.trim_matches([' ', '\t']) {
        trimmed if trimmed.len() == value.len() => value,
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(headers: &Headers) -> String {
        headers.iter().map(|(n, v)| format!("{n}={v} ")).collect()
    }

    #[test]
    fn names_without_case_and_compact() {
        let mut headers = Headers::new();
        headers.push("v", "one");
        headers.push("X-Own", "kept");
        headers.push("VIA", "two");
        headers.push("i", "id");
        assert_eq!(text(&headers), "Via=one X-Own=kept Via=two Call-ID=id ");
        assert_eq!(headers.values("via").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(headers.value("CALL-id"), Some("id"));
        assert_eq!(headers.value("x-own"), Some("kept"));
        assert!(!headers.has("Contact"));
    }

    #[test]
    fn editing_keeps_order() {
        let mut headers = Headers::new();
        for (name, value) in [("Via", "1"), ("To", "t"), ("via", "2"), ("From", "f")] {
            headers.push(name, value);
        }
        headers.push_front("Via", "0");
        assert_eq!(headers.remove_first("v").as_deref(), Some("0"));
        headers.set("to", "T");
        headers.set("New", "n");
        headers.set("Via", "9");
        assert_eq!(text(&headers), "Via=9 To=T From=f New=n ");
        headers.remove("f");
        assert_eq!(text(&headers), "Via=9 To=T New=n ");
        assert_eq!(headers.remove_first("Absent"), None);
    }

    #[test]
    fn no_value_can_start_a_new_line() {
        let mut headers = Headers::new();
        headers.push("Subject", "a\r\nVia: evil");
        assert_eq!(headers.value("s"), Some("a  Via: evil"));
        headers.set("Subject", "\0 x\r\n");
        assert_eq!(headers.value("s"), Some("x"));
    }
}
