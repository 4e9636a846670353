//! Who we are: a self-signed certificate, known to the peer by its fingerprint.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dimpl::certificate::generate_self_signed_certificate;
use dimpl::{Config, DtlsCertificate};

use super::{DtlsError, Fingerprint};

/// Octets of UDP payload: passes the tunnels and VPNs that phones live behind.
const MTU: usize = 1200;
/// First retransmission. RFC 6347 §4.2.4.1 proposes a second and lets applications that know better
/// take less: speech waits for these keys, and some datagrams too many on a slow path cost nothing.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Retransmissions of one flight, each after twice the time: more than fit into the time below, so
/// that time decides.
const RETRIES: usize = 12;
/// From the first ClientHello to the keys.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(30);

/// Our certificate and its private key. One serves all calls of a process; cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    certificate: DtlsCertificate,
    config: Arc<Config>,
}

impl Identity {
    /// A new key (ECDSA P-256) and its self-signed certificate, valid for a year by the wall clock,
    /// which peers do not check (RFC 5763 §5). Randomness comes from the operating system.
    ///
    /// # Errors
    /// [`DtlsError::Failed`] when the cryptographic library refuses.
    pub fn generate() -> Result<Identity, DtlsError> {
        let certificate =
            generate_self_signed_certificate().map_err(|e| DtlsError::Failed(e.to_string()))?;
        let config = Config::builder()
            .mtu(MTU)
            .flight_start_rto(FIRST_RETRY)
            .flight_retries(RETRIES)
            .handshake_timeout(LONGEST_HANDSHAKE)
            // The peer's address was told by signalling; a cookie would only cost a round trip.
            .use_server_cookie(false)
            .require_client_certificate(true)
            .build()
            .map_err(|e| DtlsError::Failed(e.to_string()))?;
        Ok(Identity {
            inner: Arc::new(Inner {
                certificate,
                config: Arc::new(config),
            }),
        })
    }

    /// The SHA-256 of the certificate, upper-case hex with colons: what follows `a=fingerprint:sha-256 `.
    pub fn fingerprint(&self) -> String {
        Fingerprint::sha256(&self.inner.certificate.certificate).hex()
    }

    pub(super) fn certificate(&self) -> DtlsCertificate {
        self.inner.certificate.clone()
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.inner.config)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity")
            .field(&self.fingerprint())
            .finish()
    }
}
