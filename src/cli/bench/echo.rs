//! Measures the ceiling for all other measurements: how many calls per second the transport alone achieves on
//! this machine, with a server that only echoes.

use super::load::{self, Call, Caller, Measured};
use super::options::{Bench, Mode};
use crate::cli::error::CliError;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use tonic::codegen::http;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const PATH: &str = "/sayso.bench.Echo/Echo";

/// Requests and responses are `google.protobuf.BytesValue`.
type Codec = ProstCodec<Vec<u8>, Vec<u8>>;

/// A service that returns each request.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "sayso.bench.Echo";
}

impl UnaryService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type Future = Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

impl tower::Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(tonic::server::Grpc::new(Codec::default()).unary(echo, request).await) })
    }
}

/// Runs the echo server on a free port, and prints its address. Standard input is a pipe from the
/// benchmark: when it ends, the benchmark has exited, and so does the server.
pub(super) async fn serve() -> Result<(), CliError> {
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(CliError::failed)?;
    let address = incoming.local_addr().map_err(CliError::failed)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}").and_then(|()| out.flush()).map_err(CliError::failed)?;
    drop(out);
    let parent_gone =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let served = Server::builder().add_service(Echo);
    let served = served.serve_with_incoming_shutdown(incoming.with_nodelay(Some(true)), async {
        // An error also means that the parent process is gone.
        let _ended = parent_gone.await;
    });
    served.await.map_err(CliError::failed)
}

/// The process that runs the echo server.
struct EchoProcess {
    child: Child,
    address: String,
}

impl EchoProcess {
    fn start() -> Result<Self, CliError> {
        let own = std::env::current_exe().map_err(CliError::failed)?;
        let mut command = Command::new(own);
        command.args(["bench", &Mode::EchoServer.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(CliError::failed)?;
        let mut address = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut address).map_err(CliError::failed)?;
        }
        Ok(Self { child, address: format!("http://{}", address.trim()) })
    }
}

impl Drop for EchoProcess {
    fn drop(&mut self) {
        // If this fails, the echo process has exited already, or it exits when this process does.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Calls the echo server over one connection.
#[derive(Clone)]
struct EchoCaller {
    client: tonic::client::Grpc<Channel>,
    message: Vec<u8>,
}

impl Caller for EchoCaller {
    async fn call(&mut self, _call: Call) -> Result<(), Status> {
        self.client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = Request::new(self.message.clone());
        let answer = self.client.unary(request, PathAndQuery::from_static(PATH), Codec::default()).await?;
        if answer.get_ref().len() == self.message.len() {
            return Ok(());
        }
        Err(Status::data_loss("the echo differs from the request"))
    }
}

/// Starts the echo server and calls it, with the number of workers and connections that the flags
/// state.
pub(super) async fn measure(bench: &Bench) -> Result<Measured, CliError> {
    let server = EchoProcess::start()?;
    let mut callers = Vec::new();
    for _ in 0..bench.connections {
        let endpoint = Endpoint::from_shared(server.address.clone()).map_err(CliError::failed)?;
        let channel = endpoint.tcp_nodelay(true).connect().await.map_err(CliError::failed)?;
        let message = vec![b'e'; usize::try_from(bench.value_bytes).unwrap_or(usize::MAX)];
        callers.push(EchoCaller { client: tonic::client::Grpc::new(channel), message });
    }
    load::run(bench.plan(bench.concurrency), callers).await
}
