//! Sends HTTP requests to other services. The daemon fetches the keys (JWKS) of token issuers, exchanges
//! checkpoints with witnesses, requests timestamps and calls webhooks. `sayso monitor` reads public logs and
//! sends alerts.
//!
//! Requests use HTTPS, or plain HTTP to this machine. Redirects are not followed.

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

/// How long a request may take.
const DURATION_MAX: Duration = Duration::from_secs(10);
/// Largest response, unless the caller sets a smaller limit.
const BYTES_MAX: usize = 1 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(String);

impl FetchError {
    fn from_error(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Fetches a document. If `ca` (PEM) is given, the server's certificate is checked against it instead of the
/// system's authorities.
///
/// # Errors
/// The request fails, takes more than 10 seconds, or the document is larger than 1 MiB.
pub async fn fetch(url: &str, ca: Option<&Path>) -> Result<Vec<u8>, FetchError> {
    fetch_at_most(url, ca, BYTES_MAX).await
}

/// As [`fetch`], for a document of at most `bytes_max` bytes.
///
/// # Errors
/// The request fails, takes more than 10 seconds, or the document is larger.
pub async fn fetch_at_most(url: &str, ca: Option<&Path>, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    match get(url, ca, bytes_max).await? {
        (200, body) => Ok(body),
        (status, _) => Err(FetchError(format!("the server responded with HTTP status {status}"))),
    }
}

/// Fetches a document and returns the status and the body of the response, for every status. `ca` is as in
/// [`fetch`].
///
/// # Errors
/// There is no response within 10 seconds, or it is larger than `bytes_max`.
pub async fn get(url: &str, ca: Option<&Path>, bytes_max: usize) -> Result<(u16, Vec<u8>), FetchError> {
    in_time(exchange(url, ca, None, bytes_max)).await
}

/// Sends `body` and returns the status and the body of the response. `ca` is as in [`fetch`].
///
/// # Errors
/// There is no response within 10 seconds, or it is larger than `bytes_max`.
pub async fn post_bytes(
    url: &str,
    ca: Option<&Path>,
    content_type: &'static str,
    body: Vec<u8>,
    bytes_max: usize,
) -> Result<(u16, Vec<u8>), FetchError> {
    let body = Body { content_type: Some(content_type), headers: Vec::new(), bytes: body };
    in_time(exchange(url, ca, Some(body), bytes_max)).await
}

/// As [`post_bytes`], for a JSON body, with further headers.
///
/// # Errors
/// As [`post_bytes`].
pub async fn post_signed(
    url: &str,
    ca: Option<&Path>,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
    bytes_max: usize,
) -> Result<(u16, Vec<u8>), FetchError> {
    let body = Body { content_type: Some("application/json"), headers: headers.to_vec(), bytes: body };
    in_time(exchange(url, ca, Some(body), bytes_max)).await
}

async fn in_time(
    exchange: impl Future<Output = Result<Response, FetchError>>,
) -> Result<(u16, Vec<u8>), FetchError> {
    let response = tokio::time::timeout(DURATION_MAX, exchange).await;
    let (status, body) =
        response.map_err(|_| FetchError(format!("no response within {} s", DURATION_MAX.as_secs())))??;
    Ok((status.as_u16(), body))
}

/// Sends `body` and returns the status and the text of the response. `ca` is as in [`fetch`].
///
/// # Errors
/// There is no response within 10 seconds, or it is larger than 1 MiB or not UTF-8.
pub async fn post(url: &str, ca: Option<&Path>, body: String) -> Result<(u16, String), FetchError> {
    let body = Body { content_type: None, headers: Vec::new(), bytes: body.into_bytes() };
    let (status, body) = in_time(exchange(url, ca, Some(body), BYTES_MAX)).await?;
    Ok((status, String::from_utf8(body).map_err(FetchError::from_error)?))
}

/// The body of a request.
struct Body {
    content_type: Option<&'static str>,
    /// Further headers.
    headers: Vec<(&'static str, String)>,
    bytes: Vec<u8>,
}

/// Status and body.
type Response = (StatusCode, Vec<u8>);

async fn exchange(
    url: &str,
    ca: Option<&Path>,
    body: Option<Body>,
    bytes_max: usize,
) -> Result<Response, FetchError> {
    let uri: Uri = url.parse().map_err(FetchError::from_error)?;
    let host = uri
        .host()
        .ok_or_else(|| FetchError("the URL has no host".into()))?
        .trim_matches(['[', ']'])
        .to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(FetchError::from_error)?;
    if !is_tls {
        let is_local = tcp.peer_addr().map_err(FetchError::from_error)?.ip().is_loopback();
        return if is_local {
            send(tcp, &uri, body, bytes_max).await
        } else {
            Err(FetchError("the URL must begin with https:// unless it is on this machine".into()))
        };
    }
    let name = ServerName::try_from(host).map_err(FetchError::from_error)?;
    let connector = TlsConnector::from(Arc::new(client_config(ca)?));
    let tls = connector.connect(name, tcp).await.map_err(FetchError::from_error)?;
    send(tls, &uri, body, bytes_max).await
}

fn client_config(ca: Option<&Path>) -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).map_err(FetchError::from_error)? {
                roots.add(certificate.map_err(FetchError::from_error)?).map_err(FetchError::from_error)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

async fn send<S>(stream: S, uri: &Uri, body: Option<Body>, bytes_max: usize) -> Result<Response, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::from_error)?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = match &body {
        None => Request::get(path).header("accept", "application/json"),
        Some(Body { content_type: Some(kind), .. }) => Request::post(path).header("content-type", *kind),
        Some(Body { content_type: None, .. }) => Request::post(path),
    };
    for (name, value) in body.iter().flat_map(|body| &body.headers) {
        request = request.header(*name, value);
    }
    let body = Full::<Bytes>::from(body.map(|body| body.bytes).unwrap_or_default());
    let request = request.header("host", host).body(body).map_err(FetchError::from_error)?;
    let response = sender.send_request(request).await.map_err(FetchError::from_error)?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), bytes_max).collect().await.map_err(FetchError::from_error)?;
    connection.abort();
    Ok((status, body.to_bytes().to_vec()))
}
