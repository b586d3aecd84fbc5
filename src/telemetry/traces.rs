//! Traces to a collector, as OTLP over gRPC. What leaves is listed here, span by span and attribute by attribute;
//! anything else that a span may carry one day stays. Log lines don't leave at all.

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanEvents, SpanLinks};
use std::time::Duration;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

/// How long the collector may take for one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// A span of a call that was answered by this process.
const CALL: &str = "call";
/// Ends a call's span: its gRPC code.
const CODE: &str = "rpc.grpc.status_code";
/// Fields of our spans that may leave, and what they are called outside (OpenTelemetry semantic conventions where
/// there is one).
const FIELDS: [(&str, &str); 3] = [("request", "sayso.request"), ("method", "rpc.method"), (CODE, CODE)];

/// Where traces go.
#[derive(Clone, Debug)]
pub struct Export {
    /// The collector: `https://`, or `http://` on this machine.
    pub endpoint: String,
    /// Whom to trust there (PEM) instead of whom the system trusts.
    pub ca: Option<Vec<u8>>,
    /// How many of the traces that begin here are kept: 0 to 1.
    pub ratio: f64,
    /// Origin of the log that this process keeps.
    pub instance: String,
}

/// Why traces can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The address, or whom to trust there.
    #[error("telemetry.traces: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    /// The exporter.
    #[error("telemetry.traces: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Traces under way to the collector.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Connects, lazily: a collector that is not there holds nothing up; what does not fit in the queue is dropped.
    ///
    /// # Errors
    /// The address can't be read.
    pub fn open(export: &Export) -> Result<Self, ExportError> {
        let mut endpoint = Endpoint::from_shared(export.endpoint.clone())?.timeout(EXPORT_TIMEOUT);
        if export.endpoint.starts_with("https://") {
            let tls = ClientTlsConfig::new();
            let tls = match &export.ca {
                Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
                None => tls.with_native_roots(),
            };
            endpoint = endpoint.tls_config(tls)?;
        }
        let exporter = SpanExporter::builder().with_tonic().with_channel(endpoint.connect_lazy()).build()?;
        let resource = Resource::builder_empty().with_service_name("sayso").with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", export.instance.clone()),
        ]);
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(export.ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Sieve(exporter))
            .with_sampler(sampler)
            .with_resource(resource.build());
        Ok(Self(provider.build()))
    }

    /// Turns our spans into OpenTelemetry's.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("sayso"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(|of: &Metadata<'_>| of.is_span() && super::is_ours(of)))
    }

    /// Sends what waits, for ten seconds at most. What the collector does not take then is lost, and said so.
    pub async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(EXPORT_TIMEOUT));
        if !matches!(stopping.await, Ok(Ok(()))) {
            tracing::warn!("the last traces did not reach the collector");
        }
    }
}

/// Lets through what [`FIELDS`] names.
#[derive(Debug)]
struct Sieve(SpanExporter);

impl opentelemetry_sdk::trace::SpanExporter for Sieve {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.export(batch.into_iter().map(sieve).collect())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn sieve(mut span: SpanData) -> SpanData {
    let attributes = std::mem::take(&mut span.attributes);
    let kept = attributes.into_iter().filter_map(|each| {
        let (_, outside) = FIELDS.iter().find(|(inside, _)| *inside == each.key.as_str())?;
        Some(KeyValue::new(*outside, each.value))
    });
    span.attributes = kept.collect();
    if span.name == CALL {
        let method = span.attributes.iter().find(|each| each.key.as_str() == "rpc.method");
        if let Some(method) = method.map(|each| each.value.as_str().into_owned()) {
            span.name = method.into();
        }
        span.span_kind = SpanKind::Server;
        span.attributes.push(KeyValue::new("rpc.system", "grpc"));
    }
    if let Status::Error { .. } = span.status {
        span.status = Status::error("");
    }
    (span.events, span.links) = (SpanEvents::default(), SpanLinks::default());
    span
}

/// A call's span becomes part of its caller's trace (W3C Trace Context, `traceparent`). `tracestate` and baggage are
/// text of the caller's, and are left where they are. Before the span is entered.
pub fn join_trace(call: &Span, traceparent: Option<&str>) {
    if let Some(parent) = traceparent {
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(parent));
        // Without a collector there is no layer to tell.
        let _untraced = call.set_parent(context);
    }
}

/// A call was answered with this gRPC code; `failed`: by our own fault.
pub fn end_call(call: &Span, code: i32, failed: bool) {
    call.set_attribute(CODE, i64::from(code));
    if failed {
        call.set_status(Status::error(""));
    }
}

struct Parent<'a>(&'a str);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}
