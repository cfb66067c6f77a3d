//! TLS in front of the stream (RFC 8446; RFC 5246 for older senders), by rustls.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, CertificateError, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::error::{Context, Error, Result, Stage};

/// No certificates and no key are longer, together with whatever stands beside them.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The first byte of whoever speaks TLS: a record that is part of a handshake
/// (RFC 8446 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Where the certificates are, all PEM.
#[derive(Debug, Clone, Copy)]
pub struct TlsFiles<'a> {
    /// Ours, and those between it and the one that senders know.
    pub certificate: &'a Path,
    /// The key of ours. May be the same file.
    pub key: &'a Path,
    /// Whose certificates senders have to have; without it they need none.
    pub client_ca: Option<&'a Path>,
}

/// Who we are to senders, and which of them we believe.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. A key that everybody can read is warned of.
    ///
    /// # Errors
    ///
    /// If one cannot be read, lacks what it is for, or does not fit to the others; the
    /// file is named.
    pub fn load(files: TlsFiles<'_>) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let identity = load_identity(files, &provider)?;
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::new(Stage::Ingest, "no TLS").because(cause))?;
        let verified = match files.client_ca {
            None => versions.with_no_client_auth(),
            Some(path) => {
                let unusable = "cannot be used to judge senders' certificates";
                let roots = Arc::new(load_roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .context(Stage::Ingest, path, unusable)?;
                versions.with_client_cert_verifier(verifier)
            }
        };
        let mut config = verified.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        // Nothing is written to senders: one that closes with a ticket unread would reset
        // the connection, and what it sent last would be lost.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Tls(Arc::new(config)))
    }

    /// The handshake. `None` if there is nobody: the connection ends without a byte.
    ///
    /// # Errors
    ///
    /// Why this is no sender for us.
    pub async fn accept(
        &self,
        socket: TcpStream,
    ) -> Result<Option<TlsStream<TcpStream>>, Cow<'static, str>> {
        let mut first = [0];
        match socket.peek(&mut first).await {
            Ok(1..) if first == [HANDSHAKE_RECORD] => {}
            Ok(1..) => return Err("it does not speak TLS, and --tls-cert wants it to".into()),
            _ => return Ok(None),
        }
        let handshake = TlsAcceptor::from(Arc::clone(&self.0)).accept(socket).await;
        handshake.map(Some).map_err(|error| why_not(&error))
    }
}

fn load_identity(files: TlsFiles<'_>, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = load_certificates(files.certificate)?;
    let path = files.key;
    let pem = read(path)?;
    let key = PrivateKeyDer::pem_slice_iter(&pem).next().transpose();
    let Some(key) = key.context(Stage::Ingest, path, "cannot be read as PEM")? else {
        let what = "there is no private key in it (PEM, not encrypted)";
        return Err(Error::new(Stage::Ingest, what).path(path));
    };
    let key = provider.key_provider.load_private_key(key);
    let key = key.context(Stage::Ingest, path, "the private key cannot be used")?;
    warn_if_all_can_read(path);
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        // Unknown: a kind of key that does not say what its public half is.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(identity),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let certificate = files.certificate.display();
            let what = format!("the private key does not belong to the certificate {certificate}");
            Err(Error::new(Stage::Ingest, what).path(path))
        }
        Err(cause) => Err(unusable(files.certificate, cause)),
    }
}

fn load_roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in load_certificates(path)? {
        roots.add(certificate).map_err(|cause| unusable(path, cause))?;
    }
    Ok(roots)
}

fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.context(Stage::Ingest, path, "cannot be read as PEM")?;
    if certificates.is_empty() {
        let what = "there is no certificate in it (PEM)";
        return Err(Error::new(Stage::Ingest, what).path(path));
    }
    Ok(certificates)
}

fn unusable(path: &Path, cause: rustls::Error) -> Error {
    Error::new(Stage::Ingest, "the certificate cannot be used").path(path).because(cause)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)).context(
        Stage::Ingest,
        path,
        "cannot read it",
    )?;
    Ok(bytes)
}

fn warn_if_all_can_read(path: &Path) {
    // A group may: Debian keeps the keys of services readable for `ssl-cert`.
    const BY_ALL: u32 = 0o004;
    if std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & BY_ALL != 0) {
        let path = path.display();
        tracing::warn!("{path}: everybody on this machine can read this private key: chmod 600");
    }
}

/// Why a handshake failed, for who looks after the sender.
fn why_not(error: &io::Error) -> Cow<'static, str> {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented,
    };
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref()) else {
        return format!("its TLS handshake broke off: {error}").into();
    };
    match error {
        NoCertificatesPresented => "it has no certificate, and --tls-client-ca wants one".into(),
        InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                "its certificate is by nobody whom --tls-client-ca names".into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet".into()
            }
            why => format!("its certificate is not valid: {why}").into(),
        },
        AlertReceived(alert) => {
            format!("it does not want our certificate or TLS: {alert:?}").into()
        }
        InvalidMessage(_) => "what it sends is no TLS".into(),
        other => format!("no TLS with it: {other}").into(),
    }
}
