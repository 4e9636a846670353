//! What a certificate calls its owner (RFC 5922 §7.1).

use std::net::IpAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The names of one certificate, lower case. Whether it can be trusted is decided elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// DNS names and hosts of SIP URIs.
    hosts: Vec<String>,
    /// `user@host` of SIP URIs with a user.
    users: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Identity {
    /// Reads a certificate; one that cannot be read has no names.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok(certificate) = Certificate::from_der(certificate) else {
            return Self::default();
        };
        let mut identity = Self::default();
        let subject = certificate.tbs_certificate();
        match subject.get_extension::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().for_each(|name| identity.add(name)),
            // RFC 5922 §7.1 item 3: only a certificate without other names goes by its common name.
            Ok(None) => {
                if let Ok(Some(name)) = subject.subject().common_name() {
                    identity.hosts.push(name.value().to_ascii_lowercase());
                }
            }
            Err(_) => {}
        }
        identity
    }

    fn add(&mut self, name: &GeneralName) {
        match name {
            GeneralName::DnsName(name) => self.hosts.push(name.as_str().to_ascii_lowercase()),
            GeneralName::UniformResourceIdentifier(uri) => {
                let uri = uri.as_str().to_ascii_lowercase();
                let Some(rest) = uri.strip_prefix("sip:").or(uri.strip_prefix("sips:")) else {
                    return;
                };
                match rest.contains('@') {
                    true => self.users.push(rest.to_owned()),
                    false => self.hosts.push(rest.to_owned()),
                }
            }
            GeneralName::IpAddress(octets) => {
                let octets = octets.as_bytes();
                let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
                let ip = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
                self.addresses.extend(ip);
            }
            _ => {}
        }
    }

    /// The names its owner may be known by: hosts and `user@host`.
    pub fn names(&self) -> Vec<String> {
        self.hosts.iter().chain(&self.users).cloned().collect()
    }

    /// Whether it is that of the host `name`. A `*` stands for one whole label at the left: RFC 5922
    /// §7.2 forbids it, but carriers have no others.
    pub fn proves(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let fits = |host: &String| match host.strip_prefix("*.") {
            Some(rest) => parent == Some(rest) && rest.contains('.'),
            None => *host == name,
        };
        !name.is_empty() && self.hosts.iter().any(fits)
    }

    /// Whether it is that of whoever is at `address`.
    pub fn proves_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn identity(common_name: &str, names: &[(&str, &str)]) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let text = |text: &str| text.try_into().expect("it is ASCII");
        let name = |(kind, value): &(&str, &str)| match *kind {
            "dns" => SanType::DnsName(text(value)),
            "uri" => SanType::URI(text(value)),
            _ => SanType::IpAddress(value.parse().expect("an address")),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        let made = params.self_signed(&key).expect("it can be signed");
        Identity::of(made.der())
    }

    #[test]
    fn names_are_those_of_rfc_5922() {
        for (common, names, want) in [
            ("Sbc.Example.net", &[][..], &["sbc.example.net"][..]),
            (
                "old.example.net",
                &[("dns", "SBC.example.net")],
                &["sbc.example.net"],
            ),
            ("old.example.net", &[("ip", "192.0.2.1")], &[]),
            (
                "",
                &[
                    ("uri", "sip:Anna@example.net"),
                    ("uri", "sip:example.net"),
                    ("uri", "https://example.org"),
                    ("dns", "a.example.net"),
                ],
                &["example.net", "a.example.net", "anna@example.net"],
            ),
        ] {
            assert_eq!(identity(common, names).names(), want, "{common} {names:?}");
        }
    }

    #[test]
    fn a_name_is_proved_whole() {
        let many = identity(
            "cn.example.net",
            &[
                ("dns", "*.pstn.example.com"),
                ("dns", "*.nl"),
                ("dns", "sbc.example.net"),
                ("uri", "sip:example.org"),
                ("uri", "sip:anna@example.com"),
                ("ip", "192.0.2.7"),
                ("ip", "2001:db8::7"),
            ],
        );
        for (name, proved) in [
            ("sbc.example.net", true),
            ("SBC.Example.NET.", true),
            ("example.org", true),
            ("eu.pstn.example.com", true),
            ("a.eu.pstn.example.com", false),
            ("pstn.example.com", false),
            ("example.nl", false),
            ("cn.example.net", false),
            ("example.com", false),
            ("anna@example.com", false),
            ("192.0.2.7", false),
            ("", false),
        ] {
            assert_eq!(many.proves(name), proved, "{name}");
        }
        for (address, proved) in [
            ("192.0.2.7", true),
            ("::ffff:192.0.2.7", true),
            ("2001:db8::7", true),
            ("192.0.2.8", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(many.proves_address(address), proved, "{address}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        let nobody = Identity::of(&CertificateDer::from(vec![0x30, 3, 1, 2, 3]));
        assert_eq!(nobody, Identity::default());
        assert!(nobody.names().is_empty());
    }
}
