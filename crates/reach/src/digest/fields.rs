//! The members of `Digest name=value, name="value"` (RFC 3261 §25.1, RFC 9110 §11).

use std::borrow::Cow;

/// Most members of one value that are read.
const MAX_MEMBERS: usize = 32;
/// Most challenges or answers in one field that are read.
const MAX_GROUPS: usize = 16;

/// The members of one challenge or answer, unquoted. No name stands twice.
pub(crate) struct Fields<'a>(Vec<Member<'a>>);

/// A name and its value.
struct Member<'a> {
    name: &'a str,
    value: Cow<'a, str>,
}

impl Fields<'_> {
    /// The value of a member, without quotes and escapes.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|member| member.name.eq_ignore_ascii_case(name))
            .map(|member| member.value.as_ref())
    }

    /// The value, owned; empty where it is absent.
    pub(crate) fn owned(&self, name: &str) -> String {
        self.value(name).unwrap_or_default().to_owned()
    }
}

/// Every `Digest` of one field's value; other schemes are passed over. What cannot be read, or names
/// a member twice, is left out: two readers could take it for two different things.
pub(crate) fn digests(text: &str) -> Vec<Fields<'_>> {
    let mut cursor = Cursor(text);
    let mut groups: Vec<(&str, Vec<Member<'_>>)> = Vec::new();
    while cursor.skip(&[' ', '\t', ',']) {
        let name = cursor.until(|c| matches!(c, '=' | ',' | '"' | ' ' | '\t'));
        cursor.skip(&[' ', '\t']);
        let Some(after) = cursor.0.strip_prefix('=') else {
            if name.is_empty() || groups.len() == MAX_GROUPS {
                break;
            }
            groups.push((name, Vec::new()));
            continue;
        };
        cursor.0 = after;
        cursor.skip(&[' ', '\t']);
        let value = cursor.value();
        let (Some(value), Some((_, members))) = (value, groups.last_mut()) else {
            groups.pop();
            break;
        };
        members.push(Member { name, value });
    }
    groups
        .into_iter()
        .filter(|(scheme, members)| scheme.eq_ignore_ascii_case("Digest") && is_sound(members))
        .map(|(_, members)| Fields(members))
        .collect()
}

fn is_sound(members: &[Member<'_>]) -> bool {
    let twice = |at: usize| {
        let name = members[at].name;
        let earlier = &members[..at];
        earlier
            .iter()
            .any(|one| one.name.eq_ignore_ascii_case(name))
    };
    members.len() <= MAX_MEMBERS && !(0..members.len()).any(twice)
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Goes over these; whether anything is left.
    fn skip(&mut self, over: &[char]) -> bool {
        self.0 = self.0.trim_start_matches(over);
        !self.0.is_empty()
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let (head, rest) = self.0.split_at(self.0.find(end).unwrap_or(self.0.len()));
        self.0 = rest;
        head
    }

    fn value(&mut self) -> Option<Cow<'a, str>> {
        let Some(quoted) = self.0.strip_prefix('"') else {
            let bare = self.until(|c| matches!(c, ',' | ' ' | '\t' | '"'));
            return (!self.0.starts_with('"')).then_some(Cow::Borrowed(bare));
        };
        let mut escaped = false;
        let close = quoted.find(|c| match (escaped, c) {
            (true, _) => {
                escaped = false;
                false
            }
            (false, '\\') => {
                escaped = true;
                false
            }
            (false, c) => c == '"',
        })?;
        self.0 = &quoted[close + 1..];
        Some(unescape(&quoted[..close]))
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// A text as a quoted-string (RFC 3261 §25.1).
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let show = |f: &Fields<'_>| {
            f.0.iter()
                .map(|m| format!("{}={};", m.name, m.value))
                .collect()
        };
        digests(text).iter().map(show).collect()
    }

    #[test]
    fn reads() {
        for (text, want) in [
            (r#"Digest realm="a", nonce="b""#, &["realm=a;nonce=b;"][..]),
            (
                r#"DIGEST  realm = "a" ,,nonce=b=="#,
                &["realm=a;nonce=b==;"],
            ),
            (
                r#"Digest realm="a\"b\\, c",qop=auth"#,
                &[r#"realm=a"b\, c;qop=auth;"#],
            ),
            (
                r#"Digest realm="a", nonce="b", Digest realm="c", nonce="d""#,
                &["realm=a;nonce=b;", "realm=c;nonce=d;"],
            ),
            (
                r#"Basic realm="x", Negotiate abc==, NTLM, Digest nonce="d""#,
                &["nonce=d;"],
            ),
            (r#"Digest realm="a", nonce="b"#, &[]),
            (r#"Digest realm="a", REALM="b""#, &[]),
            (r#"Digest realm=a"b""#, &[]),
            (r#"realm="a""#, &[]),
            (r#"Digest ="a""#, &[]),
            ("Digest", &[""]),
            ("", &[]),
            (r#"Digest a="\"#, &[]),
            (r#"Digest a="b", "c""#, &["a=b;"]),
            ("Digest é=ü", &["é=ü;"]),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn bounds() {
        let members: String = (0..=MAX_MEMBERS).map(|n| format!("a{n}=b,")).collect();
        assert!(read(&format!("Digest {members}")).is_empty());
        let many = "Digest a=b, ".repeat(1000);
        assert_eq!(read(&many).len(), MAX_GROUPS);
    }

    #[test]
    fn quotes_come_back() {
        for text in ["", "plain", "a\"b", "\\", "\\\"", "ü, x"] {
            let whole = format!("Digest a={}", quoted(text));
            assert_eq!(digests(&whole)[0].value("A"), Some(text));
        }
    }
}
