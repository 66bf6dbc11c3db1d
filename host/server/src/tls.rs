//! The certificate for HTTPS and RTMPS: from the configured files, or self-signed for development.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

/// Reads the certificate chain and its key, or makes a self-signed pair under `data`, which later starts use again.
pub fn load(tls: &Tls, data: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    if !tls.certificate.as_os_str().is_empty() {
        return read(&tls.certificate, &tls.key);
    }
    let (certificate, key) = (data.join("self-signed.crt"), data.join("self-signed.key"));
    if !certificate.exists() || !key.exists() {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).context("cannot make a self-signed certificate")?;
        crate::files::write_private(&key, made.signing_key.serialize_pem().as_bytes())?;
        std::fs::write(&certificate, made.cert.pem()).with_context(|| format!("cannot write {}", certificate.display()))?;
        tracing::warn!(certificate = %certificate.display(), "made a self-signed certificate: clients must be told to trust it");
    }
    read(&certificate, &key)
}

fn read(certificate: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read a PEM certificate from {}", certificate.display()))?;
    anyhow::ensure!(!chain.is_empty(), "{} contains no certificate", certificate.display());
    let key =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read a PEM private key from {}", key.display()))?;
    Ok((chain, key))
}

/// A server configuration that offers `protocols` by ALPN.
pub fn server_config(
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS protocol version is usable")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key do not fit together")?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}
