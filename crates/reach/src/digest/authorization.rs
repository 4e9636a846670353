//! Authorization and Proxy-Authorization (RFC 3261 §20.7, §20.28): reading, writing, computing.

use duolog_sip::{Method, Request};
use zeroize::Zeroizing;

use super::algorithm::{Algorithm, Session};
use super::challenge::Scheme;
use super::fields::{Fields, digests, quoted};
use super::secret::Secret;

/// What the answer protects, with the count as written: it is hashed as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Quality {
    /// RFC 2069: no count. `-sess` has a cnonce even so.
    Absent { cnonce: Option<String> },
    /// `qop=auth`.
    Auth { nc: String, cnonce: String },
    /// `qop=auth-int`.
    Integrity { nc: String, cnonce: String },
}

/// The answer to a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) user: String,
    pub(crate) realm: String,
    pub(crate) nonce: String,
    pub(crate) uri: String,
    /// As far as it is known; empty while it is being made.
    pub(crate) response: String,
    /// `None` where none is named, which means MD5.
    pub(crate) algorithm: Option<(Algorithm, Session)>,
    pub(crate) opaque: Option<String>,
    pub(crate) quality: Quality,
}

impl Authorization {
    /// Every answer of a request that can be read and checked here.
    pub(crate) fn of(request: &Request, scheme: Scheme) -> Vec<Authorization> {
        let mut found = Vec::new();
        for value in request.headers.values(scheme.authorization()) {
            found.extend(digests(value).iter().filter_map(Authorization::read));
        }
        found
    }

    fn read(fields: &Fields<'_>) -> Option<Authorization> {
        let algorithm = match fields.value("algorithm") {
            Some(text) => Some(Algorithm::read(text)?),
            None => None,
        };
        let cnonce = fields.value("cnonce").map(str::to_owned);
        let quality = match fields.value("qop").unwrap_or_default().trim() {
            "" => Quality::Absent { cnonce },
            qop => {
                let (nc, cnonce) = (fields.value("nc")?.to_owned(), cnonce?);
                match qop.to_ascii_lowercase().as_str() {
                    "auth" => Quality::Auth { nc, cnonce },
                    "auth-int" => Quality::Integrity { nc, cnonce },
                    _ => return None,
                }
            }
        };
        Some(Authorization {
            user: fields.value("username")?.to_owned(),
            realm: fields.value("realm")?.to_owned(),
            nonce: fields.value("nonce")?.to_owned(),
            uri: fields.value("uri")?.to_owned(),
            response: fields.owned("response").to_ascii_lowercase(),
            algorithm,
            opaque: fields.value("opaque").map(str::to_owned),
            quality,
        })
    }

    /// The algorithm, with what the absence of a name means.
    pub(crate) fn algorithm(&self) -> (Algorithm, Session) {
        self.algorithm.unwrap_or((Algorithm::Md5, Session::Plain))
    }

    /// The count of this nonce's use; `None` where there is none or it is not a number above 0.
    pub(crate) fn count(&self) -> Option<u32> {
        match &self.quality {
            Quality::Absent { .. } => None,
            Quality::Auth { nc, .. } | Quality::Integrity { nc, .. } => {
                let digits = !nc.is_empty() && nc.bytes().all(|b| b.is_ascii_hexdigit());
                let number = digits.then(|| u32::from_str_radix(nc, 16).ok()).flatten();
                number.filter(|count| *count > 0)
            }
        }
    }

    /// The right `response` (RFC 7616 §3.4.1), lower case.
    pub(crate) fn expected(&self, method: &Method, body: &[u8], secret: &Secret) -> String {
        let (algorithm, session) = self.algorithm();
        let hash = |text: &str| algorithm.hash(text.as_bytes());
        let (user, realm, nonce, uri) = (&self.user, &self.realm, &self.nonce, &self.uri);
        let first = Zeroizing::new(format!("{user}:{realm}:{}", secret.expose()));
        let mut first = Zeroizing::new(hash(&first));
        if session == Session::Sess {
            let cnonce = match &self.quality {
                Quality::Absent { cnonce } => cnonce.as_deref().unwrap_or_default(),
                Quality::Auth { cnonce, .. } | Quality::Integrity { cnonce, .. } => cnonce,
            };
            let mixed = Zeroizing::new(format!("{}:{nonce}:{cnonce}", *first));
            first = Zeroizing::new(hash(&mixed));
        }
        let first = first.as_str();
        let whole = Zeroizing::new(match &self.quality {
            Quality::Absent { .. } => {
                format!("{first}:{nonce}:{}", hash(&format!("{method}:{uri}")))
            }
            Quality::Auth { nc, cnonce } => {
                let second = hash(&format!("{method}:{uri}"));
                format!("{first}:{nonce}:{nc}:{cnonce}:auth:{second}")
            }
            Quality::Integrity { nc, cnonce } => {
                let second = hash(&format!("{method}:{uri}:{}", algorithm.hash(body)));
                format!("{first}:{nonce}:{nc}:{cnonce}:auth-int:{second}")
            }
        });
        hash(&whole)
    }

    /// The field's value. `algorithm`, `qop` and `nc` are not quoted (RFC 3261 §25.1).
    pub(crate) fn write(&self) -> String {
        let mut text = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response={}",
            quoted(&self.user),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(&self.uri),
            quoted(&self.response),
        );
        if let Some((algorithm, session)) = self.algorithm {
            let ending = session.ending();
            text.push_str(&format!(", algorithm={}{ending}", algorithm.as_str()));
        }
        if let Some(opaque) = &self.opaque {
            text.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        match &self.quality {
            Quality::Absent { cnonce: None } => {}
            Quality::Absent { cnonce: Some(c) } => {
                text.push_str(&format!(", cnonce={}", quoted(c)));
            }
            Quality::Auth { nc, cnonce } => {
                text.push_str(&format!(", cnonce={}, qop=auth, nc={nc}", quoted(cnonce)));
            }
            Quality::Integrity { nc, cnonce } => {
                let cnonce = quoted(cnonce);
                text.push_str(&format!(", cnonce={cnonce}, qop=auth-int, nc={nc}"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: [(&str, &str); 6] = [
        ("", "670fd8c2df070c60b045671b8b24ff02"),
        (
            ", algorithm=MD5-sess, qop=auth, nc=00000002, cnonce=0a4f113b",
            "d16df0df0d92cef8935129145e21b5e1",
        ),
        (
            ", algorithm=SHA-256-sess, qop=auth, nc=00000002, cnonce=0a4f113b",
            "da9692cb42087d7011243410f92f21c13acecaa6bbafa73f6da70d95ef263f0b",
        ),
        (
            ", algorithm=MD5-sess, cnonce=0a4f113b",
            "4726bc10c33fa6cb357eb27807b1cce8",
        ),
        (
            ", algorithm=SHA-256, qop=auth-int, nc=00000001, cnonce=0a4f113b",
            "73ef36480ea6a777c5d2f7cdcdb7882040806d8cd3340b7d5125792a82921f90",
        ),
        (
            ", algorithm=SHA-512-256, qop=auth, nc=00000001, cnonce=0a4f113b",
            "f23c08ec7334a881f8286e68450ddbd9f0cd91c41481f0e1433604da8113c6dc",
        ),
    ];

    /// The field of an example, without its response, and that response.
    fn check(field: &str, password: &str, response: &str) {
        let secret = Secret::new(password.to_owned());
        let get = Method::parse("GET").unwrap();
        let whole = format!("{field}, response=\"{response}\"");
        let read = Authorization::read(&digests(&whole)[0]).unwrap();
        assert_eq!(read.response, response);
        assert_eq!(read.expected(&get, b"", &secret), response, "{field}");
        let again = read.write();
        assert_eq!(Authorization::read(&digests(&again)[0]).unwrap(), read);
    }

    #[test]
    fn examples_of_the_rfcs() {
        // RFC 7616 §3.9.1.
        let common = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
             cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let field = format!("{common}, algorithm={algorithm}");
            check(&field, "Circle of Life", response);
        }
        // RFC 2617 §3.5.
        check(
            "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, \
             nc=00000001, cnonce=\"0a4f113b\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
            "Circle Of Life",
            "6629fae49393a05397450978507c4ef1",
        );
        // RFC 7616 §3.9.2 with the response of erratum 4897: the RFC cut SHA-512 short.
        check(
            "Digest username=\"J\u{e4}s\u{f8}n Doe\", realm=\"api@example.org\", uri=\"/doe.json\", \
             algorithm=SHA-512-256, nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", \
             nc=00000001, cnonce=\"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v\", qop=auth, \
             opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\"",
            "Secret, or not?",
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
        );
    }

    #[test]
    fn other_ways_to_compute() {
        // Worked out with Python's hashlib from the definitions of RFC 7616 §3.4.
        let common = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\"";
        for (more, response) in OTHER {
            check(&format!("{common}{more}"), "Circle Of Life", response);
        }
    }

    #[test]
    fn counts() {
        for (nc, want) in [
            ("00000001", Some(1)),
            ("1", Some(1)),
            ("ffffffff", Some(u32::MAX)),
            ("0000000A", Some(10)),
            ("00000000", None),
            ("100000000", None),
            ("+1", None),
            ("x", None),
            ("", None),
        ] {
            let text = format!(
                "Digest username=u, realm=r, nonce=n, uri=u, qop=auth, cnonce=c, nc=\"{nc}\""
            );
            let read = Authorization::read(&digests(&text)[0]).unwrap();
            assert_eq!(read.count(), want, "{nc}");
        }
    }
}
