//! TLS for SIP (RFC 3261 §26.3, RFC 5922): the certificates of this node, and who its peers prove to
//! be. TLS 1.2 and 1.3.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream as ClientStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::server::TlsStream as ServerStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::identity::Identity;
use crate::config::{self, Clients};

/// Where Debian and its kin keep the roots that everybody trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why no TLS can be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or holds something else.
    #[error("{} has no {what} in PEM: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What the reader said.
        reason: String,
    },
    /// Certificate and key do not fit each other.
    #[error("{} does not fit its key: {source}", path.display())]
    Mismatch {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// The roots for clients cannot be used.
    #[error("{} holds no roots that can be used: {reason}", path.display())]
    Roots {
        /// Their file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Both ends of TLS as this node speaks it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads certificates and keys; `None` where none is configured.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used.
    pub fn load(config: &config::Tls) -> Result<Option<Self>, TlsError> {
        let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else {
            return Ok(None);
        };
        let chain = certificates(certificate)?;
        let own = || Ok::<_, TlsError>((chain.clone(), private_key(key)?));
        let mismatch = |source| TlsError::Mismatch {
            path: certificate.clone(),
            source,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (shown, its_key) = own()?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(mismatch)?
            .with_client_cert_verifier(clients(config, &provider)?)
            .with_single_cert(shown, its_key)
            .map_err(mismatch)?;
        let (shown, its_key) = own()?;
        let verifier = Arc::new(Peers {
            roots: server_roots(config)?,
            provider: Arc::clone(&provider),
        });
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(mismatch)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(shown, its_key)
            .map_err(mismatch)?;
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        }))
    }

    /// The handshake with a peer that connected, and who it proved to be, if anybody.
    ///
    /// # Errors
    ///
    /// What the peer did wrong, or what it holds against us.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(ServerStream<TcpStream>, Identity)> {
        let stream = self.acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let identity = shown.and_then(|chain| chain.first()).map(Identity::of);
        Ok((stream, identity.unwrap_or_default()))
    }

    /// The handshake with a peer that we connected to, which must prove to be `name`, or at
    /// `address` where there is none.
    ///
    /// # Errors
    ///
    /// That it is not, or anything else that went wrong.
    pub async fn connect(
        &self,
        stream: TcpStream,
        address: IpAddr,
        name: Option<&str>,
    ) -> io::Result<(ClientStream<TcpStream>, Identity)> {
        let wanted = match name {
            Some(name) => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
            None => ServerName::from(address.to_canonical()),
        };
        let stream = self.connector.connect(wanted, stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let identity = shown.and_then(|chain| chain.first()).map(Identity::of);
        Ok((stream, identity.unwrap_or_default()))
    }
}

fn clients(
    config: &config::Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = config.client_roots.as_ref() else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let roots = Arc::new(roots(path)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = match config.clients {
        Clients::Off => return Ok(WebPkiClientVerifier::no_client_auth()),
        Clients::Optional => builder.allow_unauthenticated(),
        Clients::Required => builder,
    };
    builder.build().map_err(|error| TlsError::Roots {
        path: path.clone(),
        reason: error.to_string(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason| TlsError::File {
        path: path.into(),
        what: "certificate",
        reason,
    };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let read: Result<Vec<_>, _> = read.collect();
    let read = read.map_err(|error| wrong(error.to_string()))?;
    match read.is_empty() {
        true => Err(wrong("there is none".into())),
        false => Ok(read),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File {
        path: path.into(),
        what: "private key",
        reason: error.to_string(),
    })
}

/// Without any, no server can prove anything, which each connection then says.
fn server_roots(config: &config::Tls) -> Result<RootCertStore, TlsError> {
    match &config.roots {
        Some(path) => roots(path),
        None if Path::new(SYSTEM_ROOTS).exists() => roots(Path::new(SYSTEM_ROOTS)),
        None => Ok(RootCertStore::empty()),
    }
}

/// Those of a system's file that cannot be read are passed over; one at least is needed.
fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (used, _) = roots.add_parsable_certificates(certificates(path)?);
    match used {
        0 => Err(TlsError::Roots {
            path: path.into(),
            reason: "none of its certificates can be read".into(),
        }),
        _ => Ok(roots),
    }
}

/// Decides who a server that we connected to is: the chain as everywhere in TLS, the name as SIP wants
/// it (RFC 5922 §7.3).
#[derive(Debug)]
struct Peers {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        let identity = Identity::of(end_entity);
        let proved = match server_name {
            ServerName::DnsName(name) => identity.proves(name.as_ref()),
            ServerName::IpAddress(address) => identity.proves_address((*address).into()),
            _ => false,
        };
        match proved {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForNameContext {
                expected: server_name.to_owned(),
                presented: identity.names(),
            }
            .into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
