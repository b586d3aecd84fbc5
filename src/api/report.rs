//! Conversions of transparency reports and of records of processing to and from the messages of the API.

use super::{convert, status};
use crate::app::{ReportFrame, ReportRequest};
use crate::audit::transparency::{
    Amount, Figure, FigureTable, Processing, Ratio, Report, Status as FigureStatus, SummaryLine,
};
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
        budget_only: request.budget_only,
    })
}

/// A message of the stream.
pub fn frame(frame: ReportFrame) -> proto::GetTransparencyReportResponse {
    use proto::get_transparency_report_response::Frame;
    let frame = match frame {
        ReportFrame::Progress { done, total } => {
            Frame::Progress(proto::ReportProgress { people_done: done, people_total: total })
        }
        ReportFrame::Budget(budget) => Frame::Budget(proto::ReportBudget {
            epsilon: budget.epsilon,
            epsilon_spent: budget.spent,
            epsilon_max: budget.max,
        }),
        ReportFrame::Report(report, html) => Frame::Report(of(*report, html)),
    };
    proto::GetTransparencyReportResponse { frame: Some(frame) }
}

fn of(report: Report, html: String) -> proto::TransparencyReport {
    let line = |line: SummaryLine| proto::SummaryLine {
        figure: line.figure.into(),
        title: line.title,
        text: line.text,
    };
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
        summary: report.summary.into_iter().map(line).collect(),
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
        low: ratio.interval.map(|interval| interval.low),
        high: ratio.interval.map(|interval| interval.high).filter(|high| high.is_finite()),
        below_noise: ratio.below_noise && ratio.value.is_none(),
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
    let (shown, unprinted) = (table.shown, table.unprinted);
    let margin = |amount: Option<Amount>, unprinted: Option<f64>| {
        amount.map(|amount| amount.margin).or(unprinted).unwrap_or_default()
    };
    let row = |(labels, amount): (Vec<String>, Amount)| proto::FigureRow {
        labels,
        value: amount.value,
        margin: amount.margin,
    };
    proto::FigureTable {
        id: table.id,
        title: table.title,
        unit: table.unit.into(),
        dimensions: table.dimensions.into_iter().map(str::to_owned).collect(),
        rows: shown.rows.into_iter().map(row).collect(),
        others: shown.others.map(|others| others.value),
        total: shown.total.map(|total| total.value),
        suppressed: shown.suppressed,
        derived: table.derived,
        noise: table.noise,
        rows_below_noise: unprinted.rows,
        others_margin: margin(shown.others, unprinted.others),
        total_margin: margin(shown.total, unprinted.total),
        others_below_noise: unprinted.others.is_some(),
        total_below_noise: unprinted.total.is_some(),
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
        legal_basis: purpose.definition.legal_basis.into(),
        basis_reference: purpose.definition.basis_reference,
    });
    let categories = record.categories.into_iter().map(|category| proto::ProcessedCategory {
        id: category.definition.id,
        title: category.definition.title,
        iri: category.definition.iri,
        special: category.is_special,
        stored: category.is_stored,
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
