//! Exports traces to a collector, as OTLP over gRPC.
//!
//! Only the fields of a span that [`FIELDS`] lists are exported. Any other field is dropped, including one
//! that is added to a span later. Log lines are never exported.

use super::filter::is_ours;
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

/// How long the collector may take to accept one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The name of a span of a call that this process answered.
const CALL: &str = "call";
/// The attribute with a call's gRPC code, set when its span ends.
const CODE: &str = "rpc.grpc.status_code";
/// Fields of our spans that are exported, each with its exported name. The name is from the OpenTelemetry
/// semantic conventions if they have one.
const FIELDS: [(&str, &str); 3] = [("request", "sayso.request"), ("method", "rpc.method"), (CODE, CODE)];

/// How traces are exported.
#[derive(Clone, Debug)]
pub struct Export {
    /// The collector's address: `https://`, or `http://` on this machine.
    pub endpoint: String,
    /// The certificate authorities to check the collector's certificate against, as PEM. If there are none,
    /// the system's authorities are used.
    pub ca: Option<Vec<u8>>,
    /// Of the traces that this process begins, the share that is exported: 0 to 1.
    pub ratio: f64,
    /// The origin of this process's log.
    pub instance: String,
}

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The address or the authorities are not valid.
    #[error("telemetry.traces: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    /// The exporter could not be built.
    #[error("telemetry.traces: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// The running export of traces.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the export. It connects lazily: an unreachable collector delays nothing, and spans that do not
    /// fit in the queue are dropped.
    ///
    /// # Errors
    /// The address or the authorities are not valid.
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
            .with_batch_exporter(FilteringExporter(exporter))
            .with_sampler(sampler)
            .with_resource(resource.build());
        Ok(Self(provider.build()))
    }

    /// The layer that turns our spans into OpenTelemetry spans.
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
            .with_filter(FilterFn::new(|of: &Metadata<'_>| of.is_span() && is_ours(of)))
    }

    /// Exports the remaining spans, for at most ten seconds. Logs a warning if some spans were not exported
    /// by then.
    pub async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(EXPORT_TIMEOUT));
        if !matches!(stopping.await, Ok(Ok(()))) {
            tracing::warn!("the last traces did not reach the collector");
        }
    }
}

/// Exports only the attributes that [`FIELDS`] names.
#[derive(Debug)]
struct FilteringExporter(SpanExporter);

impl opentelemetry_sdk::trace::SpanExporter for FilteringExporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.export(batch.into_iter().map(exported).collect())
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

/// The part of a span that is exported.
fn exported(mut span: SpanData) -> SpanData {
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

/// Makes a call's span part of its caller's trace (W3C Trace Context, `traceparent`). `tracestate` and
/// baggage are free text of the caller and are ignored. Call this before the span is entered.
pub fn join_trace(call: &Span, traceparent: Option<&str>) {
    if let Some(parent) = traceparent {
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(parent));
        // Without a collector there is no OpenTelemetry layer, so this call fails.
        let _untraced = call.set_parent(context);
    }
}

/// Sets the gRPC code with which a call was answered; `failed` says whether the failure is our own.
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
