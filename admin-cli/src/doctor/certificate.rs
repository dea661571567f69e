use std::{path::Path, time::Duration};

use hearth_config::{Config, sections::Listener};
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
    sign::CertifiedKey,
};

use super::Check;
use crate::tls;

/// Renewal programs renew a month before the end: less than this means that they have failed.
const RENEWAL: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Of a listener with TLS: certificate and key can be read and belong together, the name is the
/// server's, the dates hold, and somebody whom others trust has signed it.
pub(super) fn check(config: &Config, listener: &Listener) -> Option<Check> {
    let (Some(cert), Some(key)) = (&listener.tls_cert, &listener.tls_key) else {
        return None;
    };
    let name = format!("certificate of {}", listener.bind);
    let chain = match read(cert, key) {
        Ok(chain) => chain,
        Err(error) => {
            let remedy = "name a PEM file with the certificate chain, and its unencrypted key";
            return Some(Check::problem(name, error, remedy));
        }
    };
    let roots = match tls::roots(&config.federation.trusted_ca) {
        Ok(roots) => roots,
        Err(error) => {
            return Some(Check::problem(
                name,
                error,
                "correct `federation.trusted_ca`",
            ));
        }
    };
    Some(judge(
        name,
        &cert.display().to_string(),
        &chain,
        config.server.name.host(),
        &roots,
    ))
}

/// The chain, after making sure that the key is the certificate's.
pub(super) fn read(cert: &Path, key: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{} cannot be read: {error}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!("{} holds no certificate", cert.display()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("{} cannot be read: {error}", key.display()))?;
    CertifiedKey::from_der(chain.clone(), private, &tls::provider()).map_err(|error| {
        format!(
            "{} and {} do not belong together: {error}",
            cert.display(),
            key.display()
        )
    })?;
    Ok(chain)
}

fn judge(
    name: String,
    file: &str,
    chain: &[CertificateDer<'static>],
    host: &str,
    roots: &RootCertStore,
) -> Check {
    let Some((first, rest)) = chain.split_first() else {
        return Check::problem(
            name,
            format!("{file} holds no certificate"),
            "name another file",
        );
    };
    let parsed = match ParsedCertificate::try_from(first) {
        Ok(parsed) => parsed,
        Err(error) => {
            let remedy = "make a new certificate";
            return Check::problem(name, format!("{file} is damaged: {error}"), remedy);
        }
    };
    let dns = host.trim_start_matches('[').trim_end_matches(']');
    let covers =
        ServerName::try_from(dns).is_ok_and(|dns| verify_server_name(&parsed, &dns).is_ok());
    let algorithms = tls::provider().signature_verification_algorithms.all;
    let at =
        |time| verify_server_cert_signed_by_trust_anchor(&parsed, roots, rest, time, algorithms);
    let soon = UnixTime::since_unix_epoch(
        Duration::from_secs(tls::now().as_secs()).saturating_add(RENEWAL),
    );
    match (at(tls::now()), at(soon)) {
        (Err(error), _) if is_expired(&error) => Check::problem(
            name,
            format!("{file} has expired"),
            "renew it and restart the server",
        ),
        (Err(error), _) if is_not_yet_valid(&error) => Check::problem(
            name,
            format!("{file} is not valid yet"),
            "check this machine's clock, or make a new certificate",
        ),
        (_, Err(error)) if is_expired(&error) => Check::warning(
            name,
            format!("{file} expires within two weeks"),
            "renew it and restart the server",
        ),
        _ if !covers => Check::warning(
            name,
            format!("{file} is not for {host}"),
            format!("other servers need one for {host}, unless .well-known names another"),
        ),
        (Err(error), _) => Check::warning(
            name,
            format!("{file} is not signed by an authority that this machine trusts: {error}"),
            "other servers and clients need one that they trust",
        ),
        (Ok(()), _) => Check::ok(name, format!("{file} is for {host} and trusted")),
    }
}

fn is_expired(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext};
    matches!(
        error,
        Error::InvalidCertificate(Expired | ExpiredContext { .. })
    )
}

fn is_not_yet_valid(error: &Error) -> bool {
    use CertificateError::{NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. })
    )
}
