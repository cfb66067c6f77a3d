//! TLS options of `record`.

use std::path::PathBuf;

use crate::config::{Layers, key};
use crate::error::{Error, Result, Stage};
use crate::ingest::TlsFiles;

/// TLS options, as typed.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Network")]
pub struct TlsArgs {
    /// Require TLS, with the certificate chain in this PEM file; senders use tls://
    ///
    /// The recorder's own certificate comes first, followed by intermediate certificates.
    /// Read at startup only: restart to use a new certificate. Connections without TLS
    /// are refused.
    #[arg(long, value_name = "FILE", value_parser = key::TLS_CERT.parser())]
    tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert, if it is not in the same file
    ///
    /// PEM, not encrypted. Let only scenetap's user and group read it.
    #[arg(long, value_name = "FILE", value_parser = key::TLS_KEY.parser())]
    tls_key: Option<PathBuf>,

    /// Accept only senders with a certificate issued by an authority in this file
    ///
    /// PEM, one or more certificates. Requires --tls-cert. Read at startup only.
    #[arg(long, value_name = "FILE", value_parser = key::TLS_CLIENT_CA.parser())]
    tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// Resolves the TLS files. `None` means plain TCP.
    ///
    /// # Errors
    ///
    /// Returns an error if a key or an authority is given without a certificate.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<Option<TlsFiles>> {
        let certificate = layers.optional(self.tls_cert, &key::TLS_CERT)?;
        let key = layers.optional(self.tls_key, &key::TLS_KEY)?;
        let client_ca = layers.optional(self.tls_client_ca, &key::TLS_CLIENT_CA)?;
        if let Some(certificate) = certificate {
            let key = key.unwrap_or_else(|| certificate.clone());
            return Ok(Some(TlsFiles { certificate, key, client_ca }));
        }
        let alone = [(key, "tls-key"), (client_ca, "tls-client-ca")];
        match alone.iter().find(|(path, _)| path.is_some()) {
            Some((_, name)) => {
                Err(Error::new(Stage::Config, format!("--{name} requires --tls-cert")))
            }
            None => Ok(None),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::File;

    fn resolve(file: &str) -> Result<Option<TlsFiles>> {
        let environment = |_: &str| None;
        let file = File::parse(Path::new("f"), file).unwrap();
        TlsArgs::default().resolve(&Layers::new(&environment, Some(file)))
    }

    #[test]
    fn without_a_certificate_there_is_no_tls_and_nothing_else_of_it() {
        assert_eq!(resolve("").unwrap(), None);
        for alone in ["tls-key", "tls-client-ca"] {
            let error = resolve(&format!("{alone} = 'a.pem'")).unwrap_err();
            assert_eq!(error.stage(), Stage::Config);
            assert!(error.to_string().contains(&format!("--{alone} requires --tls-cert")));
        }
    }

    #[test]
    fn the_key_may_be_in_the_file_of_the_certificate() {
        let tls = resolve("tls-cert = 'a.pem'").unwrap().unwrap();
        assert_eq!(
            (tls.certificate.as_path(), tls.key.as_path()),
            (Path::new("a.pem"), Path::new("a.pem"))
        );
        let tls = resolve("tls-cert = 'a.pem'\ntls_key = 'b.pem'").unwrap().unwrap();
        assert_eq!(tls.key, Path::new("b.pem"));
    }
}
