//! TLS for senders (RFC 8446; RFC 5246 for older ones), with rustls.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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

/// Maximum size of a PEM file. Certificates and keys are far smaller.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// First byte of a TLS connection: the type of a handshake record (RFC 8446 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Paths of the certificates, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The recorder's certificate, followed by intermediate certificates.
    pub certificate: PathBuf,
    /// Private key of the certificate. May be the same file.
    pub key: PathBuf,
    /// Authorities that must have issued the senders' certificates. `None` requires none.
    pub client_ca: Option<PathBuf>,
}

/// The recorder's identity, and the rules for senders' certificates.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Loads the files. Logs a warning if all users can read the key.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file if a file cannot be read, lacks its
    /// certificate or key, or does not match the others.
    pub fn load(files: &TlsFiles) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let identity = load_identity(files, &provider)?;
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::new(Stage::Ingest, "cannot set up TLS").because(cause))?;
        let verified = match &files.client_ca {
            None => versions.with_no_client_auth(),
            Some(path) => {
                let unusable = "cannot be used to verify senders' certificates";
                let roots = Arc::new(load_roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .context(Stage::Ingest, path, unusable)?;
                versions.with_client_cert_verifier(verifier)
            }
        };
        let mut config = verified.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        // Write nothing to senders after the handshake: if a sender closes the connection with a
        // ticket unread, the connection is reset and its last bytes are lost.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Tls(Arc::new(config)))
    }

    /// Performs the handshake. Returns `None` if the connection closes without sending a
    /// byte.
    ///
    /// # Errors
    ///
    /// Returns the reason why the sender is refused.
    pub async fn accept(
        &self,
        socket: TcpStream,
    ) -> Result<Option<TlsStream<TcpStream>>, Cow<'static, str>> {
        let mut first = [0];
        match socket.peek(&mut first).await {
            Ok(1..) if first == [HANDSHAKE_RECORD] => {}
            Ok(1..) => return Err("it does not use TLS, which --tls-cert requires".into()),
            _ => return Ok(None),
        }
        let handshake = TlsAcceptor::from(Arc::clone(&self.0)).accept(socket).await;
        handshake.map(Some).map_err(|error| describe_failure(&error))
    }
}

fn load_identity(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = load_certificates(&files.certificate)?;
    let path = &files.key;
    let pem = read(path)?;
    let key = PrivateKeyDer::pem_slice_iter(&pem).next().transpose();
    let Some(key) = key.context(Stage::Ingest, path, "cannot be read as PEM")? else {
        let what = "contains no private key (PEM, not encrypted)";
        return Err(Error::new(Stage::Ingest, what).path(path));
    };
    let key = provider.key_provider.load_private_key(key);
    let key = key.context(Stage::Ingest, path, "the private key cannot be used")?;
    warn_if_world_readable(path);
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        // `Unknown`: for some kinds of key, the public half cannot be derived.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(identity),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let certificate = files.certificate.display();
            let what = format!("the private key does not belong to the certificate {certificate}");
            Err(Error::new(Stage::Ingest, what).path(path))
        }
        Err(cause) => Err(unusable(&files.certificate, cause)),
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
        let what = "contains no certificate (PEM)";
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

fn warn_if_world_readable(path: &Path) {
    // Read access for the group is allowed: Debian keeps service keys readable for `ssl-cert`.
    const WORLD_READABLE: u32 = 0o004;
    if std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & WORLD_READABLE != 0) {
        let path = path.display();
        tracing::warn!("{path}: this private key can be read by all users; use chmod 600");
    }
}

/// Explains to the sender's operator why a handshake failed.
fn describe_failure(error: &io::Error) -> Cow<'static, str> {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented,
    };
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref()) else {
        return format!("TLS handshake failed: {error}").into();
    };
    match error {
        NoCertificatesPresented => "it has no certificate, which --tls-client-ca requires".into(),
        InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer => {
                "its certificate is not issued by an authority of --tls-client-ca".into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet".into()
            }
            reason => format!("its certificate is not valid: {reason}").into(),
        },
        AlertReceived(alert) => {
            format!("it rejects the recorder's certificate or TLS version: {alert:?}").into()
        }
        InvalidMessage(_) => "it sends invalid TLS".into(),
        other => format!("TLS handshake failed: {other}").into(),
    }
}
