//! Checks a name against the names that are recorded about a data subject. A recorded name is always
//! accepted, regardless of its characters. The module `names` says which characters a new name may have.

use super::names::{self, NameProblem};
use super::profile::SubjectState;

impl SubjectState {
    /// What is wrong with a recipient's name; `None` if it is accepted or already recorded here.
    #[must_use]
    pub fn recipient_problem(&self, name: &str) -> Option<NameProblem> {
        names::problem(name).filter(|_| !self.knows_recipient(name))
    }

    /// What is wrong with the name of a conversation; `None` if it is accepted or already recorded here.
    #[must_use]
    pub fn interaction_problem(&self, name: &str) -> Option<NameProblem> {
        names::problem(name).filter(|_| !self.knows_interaction(name))
    }

    /// What is wrong with the key of an attribute; `None` if it is accepted or there is such an attribute.
    #[must_use]
    pub fn key_problem(&self, key: &str) -> Option<NameProblem> {
        names::problem(key).filter(|_| !self.attributes.contains_key(key))
    }

    /// Whether a decision, a choice, a grant or an artifact of the data subject names this recipient.
    pub(crate) fn knows_recipient(&self, name: &str) -> bool {
        let decided = self.consents.records().iter().flat_map(|record| &record.terms.recipients);
        let chosen = self.personal.iter().flat_map(|personal| &personal.choices.only_recipients);
        let granted = self.grants.values().map(|grant| &grant.issued.recipient);
        let built = self.rights.artifacts.values().map(|artifact| &artifact.registered.recipient);
        decided.chain(chosen).chain(granted).chain(built).any(|known| known == name)
    }

    fn knows_interaction(&self, name: &str) -> bool {
        let decided = self.consents.records().iter().flat_map(|record| &record.terms.interactions);
        let chosen = self.personal.iter().flat_map(|personal| &personal.choices.paused_interactions);
        let granted = self.grants.values().map(|grant| &grant.issued.interaction);
        let signaled = self.signals.iter().map(|signal| &signal.interaction);
        decided.chain(chosen).chain(granted).chain(signaled).any(|known| known == name)
    }
}
