//! TLS under a connection.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{Error, ErrorKind, Result};

use super::config;
use super::error::configuration;
use super::stream::Io;

pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Reads certificates; the provider of cryptography is named, so that it does not depend on
    /// what else the process links.
    pub(super) fn new(config: &config::Tls) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_root_certificates(authorities(config)?);
        let client = match &config.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "the certificate of the client")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| invalid("the key of the client is no private key in PEM"))?;
                builder.with_client_auth_cert(chain, key).map_err(invalid)?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(client))))
    }

    pub(super) async fn wrap(&self, socket: TcpStream, host: &str) -> io::Result<Box<dyn Io>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(self.0.connect(name, socket).await?))
    }
}

fn authorities(config: &config::Tls) -> Result<RootCertStore> {
    let certificates = match &config.authorities {
        Some(pem) => certificates(pem, "the certificate authorities")?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(invalid("no certificate authority: the system has none, or none was read"));
    }
    Ok(store)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| invalid(format!("{what}: no certificates in PEM")))
}

fn invalid(why: impl ToString) -> Error {
    configuration(ErrorKind::Invalid, format!("TLS: {}", why.to_string()))
}
