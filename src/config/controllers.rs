//! Further controllers on the same daemon, each with a log, keys, bounds and people of its own.

use super::{
    Config, ConfigError, Organisation, Pkcs11, ProcessingConfig, ReportConfig, Rights, TierKeyNames, Tokens,
    is_name,
};
use serde::Deserialize;
use std::collections::HashSet;

/// Controllers at most on one daemon: each has its threads, its caches and its open files.
const CONTROLLERS_MAX: usize = 64;

/// A controller beside the first. What it does not say is as where no configuration is, never as the first one has it:
/// only addresses, `[tls]`, `[limits]`, `[door]` and, where it names none of its own, `[tokens]` are shared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Another {
    /// As `controller`. Its data lie in `<data>/controllers/<name>`, laid out as `data` itself.
    pub name: String,
    /// Who it is, as people are told.
    #[serde(default)]
    pub organisation: Organisation,
    /// Whose bounds it takes.
    #[serde(default)]
    pub bounds: TierKeyNames,
    /// An issuer of tokens that is trusted for this controller alone, and instead of the shared one.
    pub tokens: Option<Tokens>,
    /// The PKCS#11 token that keeps its root key. Needed where the first controller has one: a token of its own.
    pub pkcs11: Option<Pkcs11>,
    /// Requests of people.
    #[serde(default)]
    pub rights: Rights,
    /// Transparency reports.
    #[serde(default)]
    pub report: ReportConfig,
    /// What it declares for the record of processing activities.
    #[serde(default)]
    pub processing: ProcessingConfig,
}

impl Config {
    /// The settings of each controller, the first one's first: as if each had a daemon of its own.
    #[must_use]
    pub fn each(&self) -> Vec<Self> {
        let first = Self { controllers: Vec::new(), ..self.clone() };
        std::iter::once(first).chain(self.controllers.iter().map(|another| self.beside(another))).collect()
    }

    /// The settings of one controller; of the first where none is named.
    ///
    /// # Errors
    /// There is no such controller.
    pub fn of(&self, controller: Option<&str>) -> Result<Self, ConfigError> {
        let named = controller.unwrap_or(&self.controller);
        let unknown = || ConfigError::OutOfBounds { key: "controller", bound: "one that is configured" };
        self.each().into_iter().find(|each| each.controller == named).ok_or_else(unknown)
    }

    fn beside(&self, another: &Another) -> Self {
        Self {
            data: self.data.join("controllers").join(&another.name),
            controller: another.name.clone(),
            organisation: another.organisation.clone(),
            bounds: another.bounds.clone(),
            tokens: another.tokens.clone().or_else(|| self.tokens.clone()),
            pkcs11: another.pkcs11.clone(),
            rights: another.rights.clone(),
            report: another.report.clone(),
            processing: another.processing.clone(),
            controllers: Vec::new(),
            ..self.clone()
        }
    }

    pub(super) fn check_controllers(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let others = &self.controllers;
        bound(others.len() < CONTROLLERS_MAX, "controllers", "63 at most beside the first")?;
        let mut names = HashSet::from([self.controller.as_str()]);
        let mut tokens: HashSet<&str> = self.pkcs11.iter().map(|at| at.token.as_str()).collect();
        for another in others {
            // The name of a folder, too.
            let fits = is_name(&another.name) && !another.name.starts_with('.');
            bound(fits, "controllers.name", "1 to 64 of a-z, 0-9, `.`, `-`, `_`, not beginning with `.`")?;
            bound(names.insert(&another.name), "controllers.name", "another one for each")?;
            let kept = another.pkcs11.is_some() || self.pkcs11.is_none();
            bound(kept, "controllers.pkcs11", "given where the first controller has it")?;
            if let Some(at) = &another.pkcs11 {
                bound(tokens.insert(&at.token), "controllers.pkcs11.token", "another one for each")?;
            }
            self.beside(another).check()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_has_its_own_and_only_the_daemon_is_shared() {
        let key = "a".repeat(64);
        let config = config(&format!(
            "ledger = 'l'\ncontroller = 'one'\n[organisation]\nname = 'One'\n[bounds]\nauthority_key = '{key}'\n\
             [limits]\nconnections_max = 7\n[[controllers]]\nname = 'two'\n[controllers.organisation]\nname = 'Two'"
        ));
        config.check().unwrap();
        let [one, two] = config.each().try_into().unwrap();
        assert_eq!((one.origin().as_str(), two.origin().as_str()), ("l/one", "l/two"));
        assert_eq!((one.organisation.name.as_str(), two.organisation.name.as_str()), ("One", "Two"));
        assert_eq!(two.data, one.data.join("controllers/two"));
        assert_eq!((two.limits.connections_max, two.bounds.authority_key.as_str()), (7, ""));
        assert_eq!(config.of(None).unwrap().controller, "one");
        assert_eq!(config.of(Some("two")).unwrap().controller, "two");
        assert!(config.of(Some("three")).is_err());
    }

    #[test]
    fn names_are_folders_and_there_is_one_of_each() {
        for bad in ["dev", "", "..", ".hidden", "Two", "a/b", "a b"] {
            let config = config(&format!("[[controllers]]\nname = '{bad}'"));
            assert!(config.check().is_err(), "{bad}");
        }
        assert!(config("[[controllers]]\nname = 'a'\n[[controllers]]\nname = 'a'").check().is_err());
        assert!(toml::from_str::<Config>("[[controllers]]\nname = 'a'\ndata = '/tmp'").is_err());
    }

    #[test]
    fn a_root_key_in_hardware_is_not_joined_by_one_in_a_file() {
        let token = |name: &str| format!("module = 'm'\ntoken = '{name}'\npin_file = 'p'\n");
        let first = format!("[pkcs11]\n{}", token("one"));
        assert!(config(&format!("{first}[[controllers]]\nname = 'a'")).check().is_err());
        let with = |name: &str| {
            let other = format!("[[controllers]]\nname = 'a'\n[controllers.pkcs11]\n{}", token(name));
            config(&format!("{first}{other}")).check()
        };
        assert!(with("one").is_err());
        with("two").unwrap();
    }
}
