//! The options of `record` that have it speak TLS.

use std::path::PathBuf;

use crate::config::{Layers, TlsConfig, key};
use crate::error::{Error, Result, Stage};

/// What was typed.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Network")]
pub struct Args {
    /// Speak TLS, with the certificate in this file: senders connect to tls://
    ///
    /// PEM, our own certificate first, then those between it and the one that senders
    /// know. Read at the start only: a new certificate counts from the next start.
    /// Whoever does not speak TLS is turned away.
    #[arg(long, value_name = "FILE", value_parser = key::TLS_CERT.parser())]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, where it is not in the same file
    ///
    /// PEM, not encrypted. Only scenetap's user and group should be able to read it.
    #[arg(long, value_name = "FILE", value_parser = key::TLS_KEY.parser())]
    tls_key: Option<PathBuf>,

    /// Let only those send who have a certificate of an authority in this file
    ///
    /// PEM, one or several certificates. Wants --tls-cert. Read at the start only.
    #[arg(long, value_name = "FILE", value_parser = key::TLS_CLIENT_CA.parser())]
    tls_client_ca: Option<PathBuf>,
}

impl Args {
    /// Puts the layers under what was typed.
    ///
    /// # Errors
    ///
    /// If there is a key or an authority, and no certificate.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<Option<TlsConfig>> {
        let cert = layers.optional(self.tls_cert, &key::TLS_CERT)?;
        let key = layers.optional(self.tls_key, &key::TLS_KEY)?;
        let client_ca = layers.optional(self.tls_client_ca, &key::TLS_CLIENT_CA)?;
        if let Some(cert) = cert {
            let key = key.unwrap_or_else(|| cert.clone());
            return Ok(Some(TlsConfig { cert, key, client_ca }));
        }
        let alone = [(key, "tls-key"), (client_ca, "tls-client-ca")];
        match alone.iter().find(|(path, _)| path.is_some()) {
            Some((_, name)) => Err(Error::new(
                Stage::Config,
                format!("--{name} wants --tls-cert: without a certificate there is no TLS"),
            )),
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

    fn resolve(file: &str) -> Result<Option<TlsConfig>> {
        let environment = |_: &str| None;
        let file = File::parse(Path::new("f"), file).unwrap();
        Args::default().resolve(&Layers::new(&environment, Some(file)))
    }

    #[test]
    fn without_a_certificate_there_is_no_tls_and_nothing_else_of_it() {
        assert_eq!(resolve("").unwrap(), None);
        for alone in ["tls-key", "tls-client-ca"] {
            let refused = resolve(&format!("{alone} = 'a.pem'")).unwrap_err();
            assert_eq!(refused.stage(), Stage::Config);
            assert!(refused.to_string().contains(&format!("--{alone} wants --tls-cert")));
        }
    }

    #[test]
    fn the_key_may_be_in_the_file_of_the_certificate() {
        let tls = resolve("tls-cert = 'a.pem'").unwrap().unwrap();
        assert_eq!(
            (tls.cert.as_path(), tls.key.as_path()),
            (Path::new("a.pem"), Path::new("a.pem"))
        );
        let tls = resolve("tls-cert = 'a.pem'\ntls_key = 'b.pem'").unwrap().unwrap();
        assert_eq!(tls.key, Path::new("b.pem"));
    }
}
