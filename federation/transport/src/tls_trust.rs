//! Whose certificates we believe when we connect to others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// The authorities to believe.
#[derive(Debug, Clone, Default)]
pub struct TlsTrust {
    /// PEM files with authorities to believe besides the system's own.
    pub extra_ca: Vec<PathBuf>,
    /// Believe any certificate. For tests only (`outbound.insecure_skip_tls_check`); never offered
    /// for federation.
    pub skip_check: bool,
}

/// Why no TLS client could be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsTrustError {
    /// A file could not be read or is not PEM.
    #[error("the certificate authority file {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system or the PEM parser said.
        reason: String,
    },
    /// A file holds no certificate, or one that is not an authority's.
    #[error("the certificate authority file {path} holds no usable certificate: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        reason: String,
    },
    /// The cryptographic library refused its own defaults.
    #[error("TLS could not be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsTrust {
    /// The TLS settings of the outbound client: HTTP/1.1 only, system roots and the extra ones.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, TlsTrustError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let mut config = if self.skip_check {
            tracing::warn!("TLS certificates of outbound connections are NOT checked");
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                .with_no_client_auth()
        } else {
            builder
                .with_root_certificates(self.roots()?)
                .with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The authorities themselves: the system's, and those of the files.
    ///
    /// # Errors
    /// When a file cannot be read or holds no authority.
    pub fn roots(&self) -> Result<RootCertStore, TlsTrustError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "a system certificate authority could not be loaded");
        }
        roots.add_parsable_certificates(native.certs);
        for path in &self.extra_ca {
            add_file(&mut roots, path)?;
        }
        Ok(roots)
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsTrustError> {
    let unreadable = |reason: String| TlsTrustError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let unusable = |reason: String| TlsTrustError::Unusable {
        path: path.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    Ok(())
}

/// Believes every certificate; signatures of the handshake are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_authority_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        let broken = dir.path().join("broken.pem");
        std::fs::write(&empty, "no certificate here\n").unwrap();
        std::fs::write(
            &broken,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        for path in [dir.path().join("missing.pem"), empty, broken] {
            let trust = TlsTrust {
                extra_ca: vec![path.clone()],
                skip_check: false,
            };
            let error = trust.client_config().unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
