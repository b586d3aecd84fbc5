//! Requests to others over HTTP: a JWKS from its issuer, checkpoints to witnesses. HTTPS, or plain HTTP on this machine.

use http_body_util::{BodyExt, Full, Limited};
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
/// How large it may be, unless less is said.
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
    fetch_at_most(url, ca, BYTES_MAX).await
}

/// As [`fetch`], of so many bytes at most.
///
/// # Errors
/// It can't be had, takes more than 10 seconds, or is larger.
pub async fn fetch_at_most(url: &str, ca: Option<&Path>, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let fetching = exchange(url, ca, None, bytes_max);
    let answer = tokio::time::timeout(TIME_MAX, fetching).await;
    let (status, body) = answer.map_err(|_| FetchError("took too long".into()))??;
    if status == StatusCode::OK { Ok(body) } else { Err(FetchError(format!("status {}", status.as_u16()))) }
}

/// Sends `body` and gives what comes back: status and text. `ca` as of [`fetch`]. Redirects are not followed.
///
/// # Errors
/// There is no answer within 10 seconds, or it is larger than 1 MiB, or no text.
pub async fn post(url: &str, ca: Option<&Path>, body: String) -> Result<(u16, String), FetchError> {
    let posting = exchange(url, ca, Some(body), BYTES_MAX);
    let answer = tokio::time::timeout(TIME_MAX, posting).await;
    let (status, body) = answer.map_err(|_| FetchError("took too long".into()))??;
    Ok((status.as_u16(), String::from_utf8(body).map_err(FetchError::because)?))
}

type Answer = (StatusCode, Vec<u8>);

async fn exchange(
    url: &str,
    ca: Option<&Path>,
    body: Option<String>,
    bytes_max: usize,
) -> Result<Answer, FetchError> {
    let uri: Uri = url.parse().map_err(FetchError::because)?;
    let host = uri.host().ok_or_else(|| FetchError("no host".into()))?.trim_matches(['[', ']']).to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(FetchError::because)?;
    if !is_tls {
        let local = tcp.peer_addr().map_err(FetchError::because)?.ip().is_loopback();
        return if local {
            send(tcp, &uri, body, bytes_max).await
        } else {
            Err(FetchError("only https beyond this machine".into()))
        };
    }
    let name = ServerName::try_from(host).map_err(FetchError::because)?;
    let connector = TlsConnector::from(Arc::new(trusting(ca)?));
    let tls = connector.connect(name, tcp).await.map_err(FetchError::because)?;
    send(tls, &uri, body, bytes_max).await
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

async fn send<S>(stream: S, uri: &Uri, body: Option<String>, bytes_max: usize) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::because)?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let request = match &body {
        None => Request::get(path).header("accept", "application/json"),
        Some(_) => Request::post(path),
    };
    let body = Full::<Bytes>::from(body.unwrap_or_default());
    let request = request.header("host", host).body(body).map_err(FetchError::because)?;
    let answer = sender.send_request(request).await.map_err(FetchError::because)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), bytes_max).collect().await.map_err(FetchError::because)?;
    connection.abort();
    Ok((status, body.to_bytes().to_vec()))
}
