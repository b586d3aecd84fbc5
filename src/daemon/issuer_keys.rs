//! Fetches the keys that a token issuer publishes, and keeps them in the data folder. So the daemon can start
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

/// Largest file of kept keys, bytes. It is enough for the largest JWKS as a JSON string with every byte
/// escaped, plus the other fields.
const KEPT_BYTES_MAX: usize = JWKS_BYTES_MAX * 6 + (64 << 10);

/// The keys that were fetched last, as they are kept.
#[derive(Deserialize, Serialize)]
pub(crate) struct KeptKeys {
    /// The issuer, as the `iss` of its tokens.
    issuer: String,
    /// Where they were fetched from: a URL or a path.
    source: String,
    /// When they were fetched, milliseconds since the Unix epoch.
    pub fetched_ms: u64,
    /// The JWKS.
    pub jwks: String,
}

/// Where the keys of one issuer are published, and where they are kept.
pub(crate) struct KeySource {
    settings: Tokens,
    /// The file of kept keys.
    path: PathBuf,
}

impl KeySource {
    /// The key source of a controller. `None` if its configuration names no issuer.
    pub fn of(config: &Config) -> Option<Self> {
        let settings = config.tokens.clone()?;
        Some(Self { settings, path: Layout::new(&config.data).issuer_keys() })
    }

    /// The settings of the issuer.
    pub fn settings(&self) -> &Tokens {
        &self.settings
    }

    /// The URL or path that the keys are published at.
    pub fn name(&self) -> String {
        match (&self.settings.jwks_file, &self.settings.jwks_url) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(url)) => url.clone(),
            (None, None) => String::new(),
        }
    }

    /// Reads the JWKS that the issuer publishes now.
    ///
    /// # Errors
    /// It can't be read, or is larger than 256 KiB.
    pub async fn read(&self) -> Result<Vec<u8>, String> {
        let failed = |error: String| format!("`{}`: {error}", self.name());
        match (&self.settings.jwks_file, &self.settings.jwks_url) {
            (Some(path), _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_at_most(&path, JWKS_BYTES_MAX)).await;
                let read = read.map_err(|error| failed(error.to_string()))?;
                read.map_err(|error| failed(error.to_string()))
            }
            (None, Some(url)) => fetch_at_most(url, self.settings.jwks_ca.as_deref(), JWKS_BYTES_MAX)
                .await
                .map_err(|error| failed(error.to_string())),
            (None, None) => Err("neither `jwks_file` nor `jwks_url` is set".into()),
        }
    }

    /// The kept keys of this issuer from this source, if there are any.
    ///
    /// # Errors
    /// The file can't be read, is damaged, or can be read or changed by other users.
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
        Ok(Some(kept).filter(|kept| kept.issuer == self.settings.issuer && kept.source == self.name()))
    }

    /// Keeps keys durably for the next start. If that fails, older kept keys are deleted, because the issuer
    /// may have revoked them.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn keep(&self, jwks: &[u8], fetched_ms: u64) -> Result<(), Error> {
        let jwks = std::str::from_utf8(jwks).map_err(|_| Error::from(ErrorKind::InvalidData))?.to_owned();
        let (issuer, source) = (self.settings.issuer.clone(), self.name());
        let text = serde_json::to_vec(&KeptKeys { issuer, source, fetched_ms, jwks })?;
        replace_file(&self.path, &text).inspect_err(|_| {
            let _already_missing = std::fs::remove_file(&self.path);
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

/// Replaces a file atomically and durably.
fn replace_file(path: &Path, text: &[u8]) -> Result<(), Error> {
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
