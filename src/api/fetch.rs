//! Reads a JWKS from where its issuer keeps it: HTTPS, or plain HTTP on this machine.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::codegen::http::{Request, StatusCode, Uri};

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How large it may be.
const BYTES_MAX: usize = 1 << 20;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(String);

impl FetchError {
    fn because(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Fetches a document. `ca` (PEM) is trusted instead of whom the system trusts. Redirects are not followed.
///
/// # Errors
/// It can't be had, takes more than 10 seconds, or is larger than 1 MiB.
pub async fn fetch(url: &str, ca: Option<&Path>) -> Result<Vec<u8>, FetchError> {
    let fetching = fetch_slowly(url, ca);
    tokio::time::timeout(TIME_MAX, fetching).await.map_err(|_| FetchError("took too long".into()))?
}

async fn fetch_slowly(url: &str, ca: Option<&Path>) -> Result<Vec<u8>, FetchError> {
    let uri: Uri = url.parse().map_err(FetchError::because)?;
    let host = uri.host().ok_or_else(|| FetchError("no host".into()))?.trim_matches(['[', ']']).to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(FetchError::because)?;
    if !is_tls {
        let local = tcp.peer_addr().map_err(FetchError::because)?.ip().is_loopback();
        return if local {
            get(tcp, &uri).await
        } else {
            Err(FetchError("only https beyond this machine".into()))
        };
    }
    let name = ServerName::try_from(host).map_err(FetchError::because)?;
    let connector = TlsConnector::from(Arc::new(trusting(ca)?));
    get(connector.connect(name, tcp).await.map_err(FetchError::because)?, &uri).await
}

fn trusting(ca: Option<&Path>) -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).map_err(FetchError::because)? {
                roots.add(certificate.map_err(FetchError::because)?).map_err(FetchError::because)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

async fn get<S>(stream: S, uri: &Uri) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::because)?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path).header("host", host).header("accept", "application/json");
    let request = request.body(Empty::<Bytes>::new()).map_err(FetchError::because)?;
    let answer = sender.send_request(request).await.map_err(FetchError::because)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError(format!("status {}", answer.status().as_u16())));
    }
    let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await.map_err(FetchError::because)?;
    connection.abort();
    Ok(body.to_bytes().to_vec())
}
