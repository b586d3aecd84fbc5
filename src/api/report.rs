//! Conversions of transparency reports and records of processing.

use super::{convert, status};
use crate::app::{ReportFrame, ReportRequest};
use crate::audit::transparency::{Figure, FigureTable, Processing, Ratio, Report, Status as FigureStatus};
use crate::proto;
use tonic::Status;

/// The request for a transparency report.
///
/// # Errors
/// A time is missing or malformed.
pub fn request(request: proto::GetTransparencyReportRequest) -> Result<ReportRequest, Status> {
    let time = |time: Option<&prost_types::Timestamp>, field| {
        convert::times::maybe_millis(time, field)?.ok_or_else(|| status::invalid(field, "must be set"))
    };
    Ok(ReportRequest {
        from_ms: time(request.from.as_ref(), "from")?,
        to_ms: time(request.to.as_ref(), "to")?,
        k: request.k,
        epsilon: request.epsilon,
        figures: request.figures,
        html: request.html,
    })
}

/// A message of the stream.
pub fn frame(frame: ReportFrame) -> proto::GetTransparencyReportResponse {
    use proto::get_transparency_report_response::Frame;
    let frame = match frame {
        ReportFrame::Progress { done, total } => {
            Frame::Progress(proto::ReportProgress { people_done: done, people_total: total })
        }
        ReportFrame::Report(report, html) => Frame::Report(of(*report, html)),
    };
    proto::GetTransparencyReportResponse { frame: Some(frame) }
}

fn of(report: Report, html: String) -> proto::TransparencyReport {
    proto::TransparencyReport {
        origin: report.origin,
        from: Some(convert::times::time(report.from_ms)),
        to: Some(convert::times::time(report.to_ms)),
        generated_at: Some(convert::times::time(report.generated_at_ms)),
        k: u32::try_from(report.k).unwrap_or(u32::MAX),
        epsilon: report.epsilon,
        epsilon_spent: report.epsilon_spent,
        epsilon_max: report.epsilon_max,
        tree_size: report.tree_size,
        overlapping_reports: report.overlapping,
        figures: report.figures.into_iter().map(figure).collect(),
        html,
        position: report.position,
    }
}

fn figure(figure: Figure) -> proto::Figure {
    let spec = figure.spec;
    let status = match figure.status {
        FigureStatus::Available => proto::FigureStatus::Available,
        FigureStatus::NotAvailable => proto::FigureStatus::NotAvailable,
        FigureStatus::NotObservable => proto::FigureStatus::NotObservable,
    };
    let ratio = |ratio: Ratio| proto::FigureRatio {
        id: ratio.id.into(),
        title: ratio.title,
        unit: ratio.unit.into(),
        value: ratio.value,
    };
    proto::Figure {
        id: spec.id.into(),
        title: spec.title.into(),
        definition: spec.definition.into(),
        unit: spec.unit.into(),
        limits: spec.limits.into(),
        paper: spec.paper.into(),
        status: status.into(),
        missing: figure.missing,
        tables: figure.tables.into_iter().map(table).collect(),
        ratios: figure.ratios.into_iter().map(ratio).collect(),
    }
}

fn table(table: FigureTable) -> proto::FigureTable {
    let shown = table.shown;
    proto::FigureTable {
        id: table.id,
        title: table.title,
        unit: table.unit.into(),
        dimensions: table.dimensions.into_iter().map(str::to_owned).collect(),
        rows: shown.rows.into_iter().map(|(labels, value)| proto::FigureRow { labels, value }).collect(),
        others: shown.others,
        total: shown.total,
        suppressed: shown.suppressed,
        derived: table.derived,
        noise: table.noise,
    }
}

/// The record of processing.
pub fn record(record: Processing) -> proto::RecordOfProcessing {
    let declared = record.declared;
    let purposes = record.purposes.into_iter().map(|purpose| proto::ProcessingPurpose {
        id: purpose.definition.id,
        parent: purpose.definition.parent,
        title: purpose.definition.title,
        iri: purpose.definition.iri,
        used: purpose.is_used,
        description: purpose.description,
    });
    let categories = record.categories.into_iter().map(|category| proto::ProcessedCategory {
        id: category.definition.id,
        title: category.definition.title,
        iri: category.definition.iri,
        special: category.is_special,
        held: category.is_held,
    });
    let recipients = record.recipients.into_iter().map(|recipient| proto::ProcessingRecipient {
        name: recipient.name,
        purposes: recipient.purposes,
        last_grant_at: recipient.last_grant_at_ms.map(convert::times::time),
        description: recipient.description,
    });
    let retention = record
        .retention
        .into_iter()
        .map(|limit| proto::RetentionLimit { subject_matter: limit.what, limit: limit.limit });
    proto::RecordOfProcessing {
        controller: declared.controller,
        contact: declared.contact,
        representative: declared.representative,
        data_protection_officer: declared.data_protection_officer,
        purposes: purposes.collect(),
        data_subjects: declared.data_subjects,
        categories: categories.collect(),
        recipients: recipients.collect(),
        transfers: declared.transfers,
        retention: retention.collect(),
        security_measures: declared.security_measures,
        gaps: record.gaps,
        generated_at: Some(convert::times::time(record.generated_at_ms)),
        tree_size: record.tree_size,
    }
}
