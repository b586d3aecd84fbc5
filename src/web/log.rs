//! Checkpoint and hash tiles (C2SP tlog-tiles). Hashes of high-entropy entries reveal nothing; entries are not public.

use super::Logs;
use crate::app::App;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::Arc;

const TEXT: (HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
const BYTES: (HeaderName, &str) = (header::CONTENT_TYPE, "application/octet-stream");
const FRESH: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");
/// A tile never changes.
const FOR_EVER: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
const FULL: u16 = 256;

/// `/checkpoint`, `/<controller>/checkpoint`: cosigned, where enough witnesses answer
pub(super) async fn checkpoint(Of(app): Of) -> Response {
    ([TEXT, FRESH], app.ledger().published()).into_response()
}

/// `/keys`, `/<controller>/keys`
pub(super) async fn keys(Of(app): Of) -> Response {
    ([TEXT, FRESH], app.ledger().key_chain().to_jsonl()).into_response()
}

/// `/tile/<L>/<N>[.p/<W>]`, `/<controller>/tile/<L>/<N>[.p/<W>]`
pub(super) async fn tile(Of(app): Of, Path(named): Path<HashMap<String, String>>) -> Response {
    let parsed = named.get("path").and_then(|path| parse(path));
    let Some((level, index, width)) = parsed else { return StatusCode::NOT_FOUND.into_response() };
    match app.ledger().tile(level, index, width) {
        Ok(Some(bytes)) => ([BYTES, FOR_EVER], bytes).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(%error, "a tile can't be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The application of the controller that a path names; of the first where it names none.
pub(super) struct Of(Arc<App>);

impl FromRequestParts<Logs> for Of {
    type Rejection = StatusCode;
    async fn from_request_parts(parts: &mut Parts, logs: &Logs) -> Result<Self, StatusCode> {
        let named = Path::<HashMap<String, String>>::from_request_parts(parts, logs).await;
        let named = named.map_err(|_| StatusCode::NOT_FOUND)?;
        let named = named.get("controller");
        let app = logs.iter().find(|(name, _)| named.is_none_or(|named| named == name));
        app.map(|(_, app)| Self(Arc::clone(app))).ok_or(StatusCode::NOT_FOUND)
    }
}

/// Level, index and width of a tile's path; nothing where it is not in its one canonical form.
pub(super) fn parse(path: &str) -> Option<(u8, u64, u16)> {
    let (level, rest) = path.split_once('/')?;
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, canonical(width).filter(|width| (1..256).contains(width))?),
        None => (rest, u64::from(FULL)),
    };
    let mut groups: Vec<&str> = number.split('/').collect();
    let last = groups.pop()?;
    let mut index = group(last)?;
    let mut scale = 1000_u64;
    for higher in groups.iter().rev() {
        index = index.checked_add(group(higher.strip_prefix('x')?)?.checked_mul(scale)?)?;
        scale = scale.checked_mul(1000)?;
    }
    // A leading group of zeros would be a second name of the same tile.
    if groups.first() == Some(&"x000") {
        return None;
    }
    Some((u8::try_from(canonical(level)?).ok()?, index, u16::try_from(width).ok()?))
}

/// Three digits.
fn group(text: &str) -> Option<u64> {
    (text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A number without leading zeros or signs.
fn canonical(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_one_name() {
        assert_eq!(parse("0/000"), Some((0, 0, 256)));
        assert_eq!(parse("0/x001/x234/067"), Some((0, 1_234_067, 256)));
        assert_eq!(parse("2/005.p/17"), Some((2, 5, 17)));
        for bad in [
            "",
            "0",
            "0/0",
            "00/000",
            "0/x000/001",
            "0/001/002",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "x/000",
            "0/-01",
            "entries/000",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
