//! Defines the vocabulary: purposes and categories, which are its words. A new word needs no signature,
//! unless it declares a legal basis. A definition that replaces another one must be signed with the
//! provider's key, and may come into force later.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::system_stream::SystemEvent;
use crate::app::rules::RuleChanges;
use crate::app::rules::publish_bounds::{EFFECTIVE_AHEAD_MS_MAX, unrecorded};
use crate::app::rules::rule_signatures::STEWARD;
use crate::bounds::rulebook::DefinitionProblem;
use crate::domain::attribute::is_text;
use crate::domain::default_vocabulary::{BENEFITS, RISKS};
use crate::domain::event::{CategoryDefined, Event, PurposeDefined};
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::names::{self, NameProblem};
use crate::domain::vocabulary::{Vocabulary, near_tags, unknown};
use sayso_proof::event::WriterSignature;
use std::sync::Arc;

/// A definition of a purpose or category, as it is published.
#[derive(Clone, Debug)]
pub struct Definition<T> {
    /// The definition.
    pub word: T,
    /// The provider's signature over the event to be recorded.
    pub signature: Option<WriterSignature>,
}

/// What the checks need to know about the word that an event defines.
struct DefinedWord<'a> {
    /// `purpose` or `category`.
    kind: &'static str,
    id: &'a str,
    effective_from_ms: u64,
    /// Whether the event replaces a definition.
    is_defined: bool,
    /// Whether the event declares a legal basis.
    declares_basis: bool,
}

impl<'a> DefinedWord<'a> {
    /// The word of an event; `None` if the event defines none.
    fn of(event: &'a Event, vocabulary: &Vocabulary) -> Option<Self> {
        let declares_basis =
            matches!(event, Event::PurposeDefined(purpose) if purpose.declared_basis().is_some());
        let (kind, id, effective_from_ms, is_defined) = match event {
            Event::PurposeDefined(word) => {
                ("purpose", &word.id, word.effective_from_ms, vocabulary.has_purpose(&word.id))
            }
            Event::CategoryDefined(word) => {
                ("category", &word.id, word.effective_from_ms, vocabulary.has_category(&word.id))
            }
            _ => return None,
        };
        Some(Self { kind, id, effective_from_ms, is_defined, declares_basis })
    }
}

impl RuleChanges {
    /// Adds a purpose or replaces its definition. Returns when every grant that the definition contradicts is
    /// revoked. This includes grants that rest on a consent from before a change of meaning.
    ///
    /// # Errors
    /// A field is invalid, a tag is not in the taxonomy, or the parent is not defined. The purpose would be
    /// below itself, too deep, on a lower rung, or no longer below one of its ancestors. A legal basis is
    /// declared without what it rests on, or cannot apply to the purpose. A definition that replaces another
    /// one or declares a basis is not signed by the provider's key. The store fails.
    pub async fn define_purpose(
        self: &Arc<Self>,
        caller: &Caller,
        definition: Definition<PurposeDefined>,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let purpose = &definition.word;
        check_names("purpose", &purpose.id, &purpose.title, &purpose.iri)?;
        check_tags("purpose", &purpose.risks, &purpose.benefits)?;
        check_basis(purpose)?;
        let event = Event::PurposeDefined(definition.word);
        self.define(caller, event, definition.signature, options).await
    }

    /// Adds a category or replaces its definition. Returns when every grant that the definition contradicts
    /// is revoked. This includes grants that rest on a consent from before a change of meaning.
    ///
    /// # Errors
    /// A field is invalid, a tag is not in the taxonomy, or the parent is not defined. The category would be
    /// below itself, too deep, no longer special, or no longer below one of its ancestors. A definition that
    /// replaces another one is not signed by the provider's key. The store fails.
    pub async fn define_category(
        self: &Arc<Self>,
        caller: &Caller,
        definition: Definition<CategoryDefined>,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let category = &definition.word;
        check_names("category", &category.id, &category.title, &category.iri)?;
        check_tags("category", &category.risks, &category.benefits)?;
        let event = Event::CategoryDefined(definition.word);
        self.define(caller, event, definition.signature, options).await
    }

    async fn define(
        self: &Arc<Self>,
        caller: &Caller,
        event: Event,
        signature: Option<WriterSignature>,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let about_ms = self.core.event_time(options)?;
        let request_stamp = self.core.request_stamp(caller, options)?;
        let exclusive = self.core.rules.begin_change().await;
        if let Some(Begun::Replayed(receipt, _)) = self.core.replay(&request_stamp, options.proofs)? {
            return Ok(receipt);
        }
        let Some(word) = DefinedWord::of(&event, &self.core.rules().vocabulary) else {
            return Err(AppError::Internal(Cause::Inconsistent("an event defines no word")));
        };
        check_new_id(&word)?;
        let signature = self.signed_definition(&word, &event, signature)?;
        self.check_definition(caller, &word, &event)?;
        if let Some(signature) = &signature {
            self.check_binding(&event, signature)?;
        }
        let event = SystemEvent { signature, ..SystemEvent::new(event) };
        let published =
            self.publish_rule(exclusive, caller, about_ms, event, request_stamp, options.proofs).await?;
        Ok(published.receipt)
    }

    /// Verifies the signature of a definition. A new word needs no signature, because no consent covers it
    /// yet. But if it declares a legal basis other than consent, it needs one.
    fn signed_definition(
        &self,
        word: &DefinedWord<'_>,
        event: &Event,
        signature: Option<WriterSignature>,
    ) -> Result<Option<WriterSignature>, AppError> {
        if signature.is_none() && !word.is_defined && !word.declares_basis {
            return Ok(None);
        }
        let key = self.tier_keys.steward.ok_or(AppError::Precondition(
            "no key of the provider is configured; set `steward_key` in `[bounds]`",
        ))?;
        let why = "a definition that replaces another one, or declares a legal basis, must be signed by the \
                   provider's key, for this log and this version";
        let refusal = AppError::Denied { why, allowed: STEWARD };
        self.signed_by(&key, event, signature, refusal).map(Some)
    }

    fn check_definition(
        &self,
        caller: &Caller,
        word: &DefinedWord<'_>,
        event: &Event,
    ) -> Result<(), AppError> {
        let (kind, now_ms) = (word.kind, self.core.now_ms());
        let from = word.effective_from_ms;
        if from != 0 && !(now_ms..=now_ms.saturating_add(EFFECTIVE_AHEAD_MS_MAX)).contains(&from) {
            let problem = "must be unset, or from now to ten years ahead";
            return Err(AppError::invalid(&format!("{kind}.effective_from"), problem));
        }
        if from != 0 && !word.is_defined {
            let problem = "must be unset for a new word, which comes into force at once";
            return Err(AppError::invalid(&format!("{kind}.effective_from"), problem));
        }
        let candidate = unrecorded(caller, event.clone(), now_ms);
        let history = self.core.rules.history();
        history.check_definitions(&[candidate], now_ms).map_err(|problem| invalid(kind, &problem))
    }
}

/// The violation of a definition that does not fit the vocabulary.
pub(crate) fn invalid_definition(problem: &DefinitionProblem) -> AppError {
    invalid("definition", problem)
}

pub(crate) fn invalid(kind: &str, problem: &DefinitionProblem) -> AppError {
    let (field, problem) = match problem {
        DefinitionProblem::UnknownPurpose(near) => ("parent", unknown("purpose", near)),
        DefinitionProblem::UnknownCategory(near) => ("parent", unknown("category", near)),
        DefinitionProblem::TooDeep => {
            ("parent", "must not put a word below itself, or any word more than 32 levels deep".to_owned())
        }
        // Otherwise a definition could take a word out of a refusal, a signal or a rule that names the
        // ancestor.
        DefinitionProblem::LostAncestor(ancestor) => {
            ("parent", format!("must keep the word below `{ancestor}`; define a new word instead"))
        }
        DefinitionProblem::LowerRung => {
            ("rung", "must not be lower than it was, because consents depend on it".to_owned())
        }
        DefinitionProblem::Exempted(ancestor) => {
            ("parent", format!("must not put a purpose that exists below `{ancestor}`, which rules exempt"))
        }
        DefinitionProblem::Repeated => (
            "title",
            "must differ from every earlier definition of the word, because each is published once"
                .to_owned(),
        ),
        DefinitionProblem::ScheduledSameMeaning => (
            "effective_from",
            "must be unset if the meaning stays the same, because another definition could come first"
                .to_owned(),
        ),
        DefinitionProblem::UnknownNotice => (
            "version",
            "must be a published version of the notice; `sayso notice publish` adds one".to_owned(),
        ),
        DefinitionProblem::FirstNotice => (
            "version",
            "must not be the notice's first version, because no consent names an earlier one".to_owned(),
        ),
        // A consent that has ended must not come back by a statement of the provider.
        DefinitionProblem::RequiredNotice(version) => {
            ("version", format!("must be later than `{version}`, which is required already"))
        }
        DefinitionProblem::UnrefusableBasis(basis) => (
            "legal_basis",
            format!(
                "must not be {} for advertising, marketing or sale, which everybody can refuse (GDPR Art. 21(2))",
                basis.title()
            ),
        ),
        // Otherwise a definition by the provider could allow what the law forbids (GDPR Art. 9).
        DefinitionProblem::NoLongerSpecial => {
            ("special", "must stay set, because the category is a special one".to_owned())
        }
    };
    AppError::invalid(&format!("{kind}.{field}"), problem)
}

/// Checks that a declared basis comes with what it rests on.
fn check_basis(purpose: &PurposeDefined) -> Result<(), AppError> {
    let (reference, declared) = (&purpose.basis_reference, purpose.declared_basis());
    let problem = match declared {
        Some(DeclaredBasis::LegitimateInterest) if reference.is_empty() => "must name the assessment",
        Some(DeclaredBasis::Contract) if reference.is_empty() => "must name the contract",
        Some(DeclaredBasis::LegalObligation) if reference.is_empty() => "must name the law",
        Some(_) if !is_text(reference, 1, 256) => "must have at most 256 bytes",
        None if !reference.is_empty() => "must be empty if no legal basis is declared",
        _ => return Ok(()),
    };
    Err(AppError::invalid("purpose.basis_reference", problem))
}

/// Checks the characters of an id, unless it is defined already.
fn check_new_id(word: &DefinedWord<'_>) -> Result<(), AppError> {
    let problem = names::problem(word.id).filter(|_| !word.is_defined);
    let refused = |problem: NameProblem| AppError::invalid(&format!("{}.id", word.kind), problem.to_string());
    problem.map_or(Ok(()), |problem| Err(refused(problem)))
}

fn check_names(what: &str, id: &str, title: &str, iri: &str) -> Result<(), AppError> {
    if !is_text(id, 1, 64) || id.chars().any(char::is_whitespace) {
        return Err(AppError::invalid(&format!("{what}.id"), "must have 1 to 64 bytes and no spaces"));
    }
    if !is_text(title, 1, 256) || !is_text(iri, 0, 256) {
        return Err(AppError::invalid(what, "title and iri must have at most 256 bytes"));
    }
    Ok(())
}

/// Rejects tags that are not in the taxonomy: no policy and no report knows them, so they would have no
/// effect.
fn check_tags(what: &str, risks: &[String], benefits: &[String]) -> Result<(), AppError> {
    let lists = [("risks", risks, &RISKS[..]), ("benefits", benefits, &BENEFITS[..])];
    for (field, tags, known) in lists {
        let mut unknown = tags.iter().filter(|tag| !known.contains(&tag.as_str()));
        if let Some(tag) = unknown.next() {
            let field = format!("{what}.{field}");
            let problem = match near_tags(tag, known).as_slice() {
                [] => format!("must be one of: {}", known.join(", ")),
                near => format!("must be in the taxonomy; did you mean: {}", near.join(", ")),
            };
            return Err(AppError::invalid(&field, problem));
        }
    }
    Ok(())
}
