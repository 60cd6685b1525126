//! TLS by certificate files.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::error::Error;

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads PEM files: the certificate, with those that lead from it to a root, and its private key.
    ///
    /// # Errors
    /// Names the file that cannot be read or used.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, Error> {
        let refuse = |file: &Path, problem: String| Error::Tls { file: file.to_owned(), problem };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
        let chain = chain.map_err(|error| refuse(certificates, format!("cannot be read: {error}")))?;
        if chain.is_empty() {
            return Err(refuse(certificates, "has no certificate in PEM form".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_file(key);
        let private = private.map_err(|error| refuse(key, format!("cannot be read as a private key: {error}")))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, private))
            .map_err(|error| refuse(key, format!("does not fit the certificate: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}
