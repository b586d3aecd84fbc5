//! Makes the keys that sign bounds of the public tier and of the provider tier during development (`sayso
//! serve --dev`).

use crate::clock::SystemClock;
use crate::config::Config;
use crate::daemon::data_dir::{Layout, make_private_dir};
use crate::daemon::error::DaemonError;
use crate::daemon::lost_parts::check_parts;
use crate::secret;
use ed25519_dalek::SigningKey;
use std::path::PathBuf;

/// Sets the tier keys that the configuration does not name. They are kept in DATA/dev and made if they do not
/// exist. Each controller has its own keys, in its data folder.
///
/// # Errors
/// The keys can't be read or made, or a part of the data folder is lost.
pub fn use_dev_tier_keys(config: &mut Config) -> Result<(), DaemonError> {
    config.each().iter().try_for_each(check_parts)?;
    let folders: Vec<PathBuf> = config.each().into_iter().map(|each| each.data).collect();
    let others = config.controllers.iter_mut().map(|another| &mut another.bounds);
    for (bounds, data) in std::iter::once(&mut config.bounds).chain(others).zip(folders) {
        let dev = Layout::new(&data).dev();
        make_private_dir(&dev)?;
        let names = [("authority", &mut bounds.authority_key), ("steward", &mut bounds.steward_key)];
        for (name, public) in names.into_iter().filter(|(_, public)| public.is_empty()) {
            let path = dev.join(format!("{name}.key"));
            let seed =
                secret::read_or_make(&path, &SystemClock).map_err(|error| DaemonError::File(path, error))?;
            *public = hex::encode(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
        }
    }
    Ok(())
}
