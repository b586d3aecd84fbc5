//! The keys of a token issuer: read from where it publishes them, and kept in the data folder, so that the daemon starts
//! while the issuer can't be reached.

use crate::api::JWKS_BYTES_MAX;
use crate::config::{Config, Tokens};
use crate::daemon::data_dir::Layout;
use crate::fetch::fetch_at_most;
use crate::secret;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Largest file of kept keys, bytes: a JWKS as JSON text, each byte escaped, and what stands beside it.
const KEPT_BYTES_MAX: usize = JWKS_BYTES_MAX * 6 + (64 << 10);

/// Keys as they were fetched last.
#[derive(Deserialize, Serialize)]
pub(crate) struct KeptKeys {
    /// Whose: the `iss` of tokens.
    issuer: String,
    /// From where: a URL, or a path.
    source: String,
    /// When, milliseconds since the Unix epoch.
    pub fetched_ms: u64,
    /// The JWKS.
    pub jwks: String,
}

/// Where one issuer's keys come from, and where they are kept.
pub(crate) struct KeySource {
    from: Tokens,
    path: PathBuf,
}

impl KeySource {
    /// Of a controller's settings; none where they name no issuer.
    pub fn of(config: &Config) -> Option<Self> {
        let from = config.tokens.clone()?;
        Some(Self { from, path: Layout::new(&config.data).issuer_keys() })
    }

    /// The settings that it is of.
    pub fn settings(&self) -> &Tokens {
        &self.from
    }

    /// Where the keys come from, as people are told.
    pub fn name(&self) -> String {
        match (&self.from.jwks_file, &self.from.jwks_url) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(url)) => url.clone(),
            (None, None) => String::new(),
        }
    }

    /// The JWKS as the issuer publishes it now.
    ///
    /// # Errors
    /// It can't be had, or is larger than 256 KiB.
    pub async fn read(&self) -> Result<Vec<u8>, String> {
        let failed = |error: String| format!("`{}`: {error}", self.name());
        match (&self.from.jwks_file, &self.from.jwks_url) {
            (Some(path), _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_at_most(&path, JWKS_BYTES_MAX)).await;
                let read = read.map_err(|error| failed(error.to_string()))?;
                read.map_err(|error| failed(error.to_string()))
            }
            (None, Some(url)) => fetch_at_most(url, self.from.jwks_ca.as_deref(), JWKS_BYTES_MAX)
                .await
                .map_err(|error| failed(error.to_string())),
            (None, None) => Err("neither `jwks_file` nor `jwks_url` is given".into()),
        }
    }

    /// The keys that were kept, of this issuer and from this source; none where there are none.
    ///
    /// # Errors
    /// The file can't be read, is damaged, or others may read or change it.
    pub fn kept(&self) -> Result<Option<KeptKeys>, Error> {
        let bytes = match File::open(&self.path) {
            Ok(file) => {
                secret::check_private(&file.metadata()?)?;
                read_file(file, KEPT_BYTES_MAX)?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let kept: KeptKeys = serde_json::from_slice(&bytes)?;
        Ok(Some(kept).filter(|kept| kept.issuer == self.from.issuer && kept.source == self.name()))
    }

    /// Keeps keys for the next start, durably. Where that fails the ones before are removed: they may have been taken back.
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep(&self, jwks: &[u8], fetched_ms: u64) -> Result<(), Error> {
        let jwks = std::str::from_utf8(jwks).map_err(|_| Error::from(ErrorKind::InvalidData))?.to_owned();
        let (issuer, source) = (self.from.issuer.clone(), self.name());
        let text = serde_json::to_vec(&KeptKeys { issuer, source, fetched_ms, jwks })?;
        write_whole(&self.path, &text).inspect_err(|_| {
            let _not_there_either = std::fs::remove_file(&self.path);
        })
    }
}

fn read_at_most(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Error> {
    read_file(File::open(path)?, bytes_max)
}

fn read_file(file: File, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let message = format!("it is larger than {} KiB", bytes_max >> 10);
        return Err(Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Whole under its name or as it was before, whenever a crash comes.
fn write_whole(path: &Path, text: &[u8]) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}
