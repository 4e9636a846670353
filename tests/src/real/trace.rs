//! What SIPp wrote down of its messages.

use std::fs;

use super::Site;

/// A message that a role has sent or got.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Whether it came from the program.
    pub came: bool,
    /// `UDP` or `TCP`.
    pub transport: String,
    /// The message, lines ended by one character.
    pub text: String,
}

impl Heard {
    /// The first line.
    #[must_use]
    pub fn first(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The value of a field, the first of its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let of_name = |line: &'_ str| {
            let (found, _) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(found.len() + 1)
        };
        let mut lines = self.text.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| of_name(line).map(|from| line[from..].trim()))
    }

    /// The tag of a field.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        let (_, tag) = self.field(name)?.split_once(";tag=")?;
        tag.split([';', '>']).next()
    }
}

/// The requests with this method that came.
pub fn asked<'a>(heard: &'a [Heard], method: &'a str) -> impl Iterator<Item = &'a Heard> {
    let is_one = move |heard: &&Heard| {
        let word = heard.first().split(' ').next();
        heard.came && word == Some(method)
    };
    heard.iter().filter(is_one)
}

/// A dialog as Replaces names it to the program (RFC 3891): told by the party that has it.
#[must_use]
pub fn replaces(heard: &[Heard]) -> Option<String> {
    let with_tags = |heard: &Heard| {
        let (call, from, to) = (
            heard.field("Call-ID")?,
            heard.tag("From")?,
            heard.tag("To")?,
        );
        // Whose tag is whose is said by the way of a request, and against it by a response.
        let is_request = !heard.first().starts_with("SIP/2.0");
        let (own, program) = match is_request == heard.came {
            true => (to, from),
            false => (from, to),
        };
        Some(format!("{call};to-tag={program};from-tag={own}"))
    };
    heard.iter().find_map(with_tags)
}

/// The same inside a Refer-To.
#[must_use]
pub fn escaped(replaces: &str) -> String {
    let with = [("%", "%25"), (";", "%3B"), ("=", "%3D"), ("@", "%40")];
    with.iter().fold(replaces.to_owned(), |text, (from, to)| {
        text.replace(from, to)
    })
}

/// All of a role's messages so far.
#[must_use]
pub fn read(site: &Site, name: &str) -> Vec<Heard> {
    let file = site.directory().join(format!("{name}.messages"));
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    let parts = text.split("----------------------------------------------- ");
    let message = |part: &str| {
        let mut lines = part.splitn(3, '\n');
        let (_when, what, text) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Heard {
            came: what.contains(" received "),
            transport: what.split(' ').next()?.to_owned(),
            text: text.trim_start_matches('\n').to_owned(),
        })
    };
    parts.filter_map(message).collect()
}
