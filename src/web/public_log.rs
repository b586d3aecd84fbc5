//! Serves the log's checkpoint, public keys, signed counts of rules and erasures, and hash tiles (C2SP
//! tlog-tiles). The entries themselves are not public. Their hashes reveal nothing, because entries have
//! high entropy.

use super::logs::NamedApp;
use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;

const TEXT: (HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
const BYTES: (HeaderName, &str) = (header::CONTENT_TYPE, "application/octet-stream");
/// The cache header for documents that change.
const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");
/// The cache header for tiles, which never change.
const IMMUTABLE: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
/// Hashes of a full tile.
const FULL_WIDTH: u16 = 256;

/// `/checkpoint`, `/<controller>/checkpoint`; with cosignatures if enough witnesses have answered.
pub(super) async fn checkpoint(NamedApp(app): NamedApp) -> Response {
    ([TEXT, NO_STORE], app.ledger().published()).into_response()
}

/// `/keys`, `/<controller>/keys`.
pub(super) async fn keys(NamedApp(app): NamedApp) -> Response {
    ([TEXT, NO_STORE], app.ledger().key_chain().to_jsonl()).into_response()
}

/// `/counts`, `/<controller>/counts`.
pub(super) async fn counts(NamedApp(app): NamedApp) -> Response {
    ([TEXT, NO_STORE], app.counts()).into_response()
}

/// `/tile/<L>/<N>[.p/<W>]`, `/<controller>/tile/<L>/<N>[.p/<W>]`.
pub(super) async fn tile(NamedApp(app): NamedApp, Path(params): Path<HashMap<String, String>>) -> Response {
    let parsed = params.get("path").and_then(|path| parse_tile_path(path));
    let Some((level, index, width)) = parsed else { return StatusCode::NOT_FOUND.into_response() };
    match app.ledger().tile(level, index, width) {
        Ok(Some(bytes)) => ([BYTES, IMMUTABLE], bytes).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot read a tile");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Parses the path of a tile, for the fuzzers.
#[doc(hidden)]
pub fn decode_tile_path(path: &str) {
    let _parsed = parse_tile_path(path);
}

/// Level, index and width of a tile. `None` if the path is not canonical. Each tile has exactly one canonical
/// path.
fn parse_tile_path(path: &str) -> Option<(u8, u64, u16)> {
    let (level, rest) = path.split_once('/')?;
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, canonical(width).filter(|width| (1..256).contains(width))?),
        None => (rest, u64::from(FULL_WIDTH)),
    };
    let mut groups: Vec<&str> = number.split('/').collect();
    let last = groups.pop()?;
    let mut index = group(last)?;
    let mut scale = 1000_u64;
    for higher in groups.iter().rev() {
        index = index.checked_add(group(higher.strip_prefix('x')?)?.checked_mul(scale)?)?;
        scale = scale.checked_mul(1000)?;
    }
    // A path with a leading group of zeros would be a second path of the same tile.
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
    fn each_tile_has_one_path() {
        assert_eq!(parse_tile_path("0/000"), Some((0, 0, 256)));
        assert_eq!(parse_tile_path("0/x001/x234/067"), Some((0, 1_234_067, 256)));
        assert_eq!(parse_tile_path("2/005.p/17"), Some((2, 5, 17)));
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
            assert_eq!(parse_tile_path(bad), None, "{bad}");
        }
    }
}
