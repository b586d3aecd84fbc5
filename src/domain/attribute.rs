//! An attribute of a data subject: its fields, limits and validation.

use super::Violation;
use super::checks::Checks;
use super::embedding::Embedding;
use super::ids::EventId;
use super::json_value;
use super::vocabulary::Vocabulary;
use crate::domain::event::Provenance;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 256;
/// Bytes of a value's JSON text.
pub const VALUE_BYTES_MAX: usize = 16 << 10;
/// Number of pieces of evidence, of sources of a derivation, or of replies.
pub const LINKS_MAX: usize = 64;
/// Bytes of one piece of evidence.
pub const EVIDENCE_BYTES_MAX: usize = 256;
/// Bytes of a model's name.
pub const MODEL_BYTES_MAX: usize = 128;
/// Bytes of a reply's id.
pub const REPLY_BYTES_MAX: usize = 128;
/// How far a writer's clock may be ahead of the ledger's, milliseconds.
pub const AHEAD_MS_MAX: u64 = 300_000;

/// Bytes that an attribute takes in a grant besides its texts: ids, times and flags.
const GRANTED_BYTES: usize = 128;
/// Additional bytes where the whole attribute is shown: further times, and who recorded it.
const SHOWN_BYTES: usize = 128;
/// Overhead of a text in a list, bytes.
const LINK_BYTES: usize = 3;
/// Bytes of an id in a list.
const ID_BYTES: usize = 38;

/// Personal text: zeroized when dropped, and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// An attribute.
#[derive(Clone, PartialEq)]
pub struct Attribute {
    /// The key, unique within the data subject's profile.
    pub key: String,
    /// The value, as JSON text.
    pub value: Secret,
    /// A category of the vocabulary.
    pub category: String,
    /// Whether it was declared, observed or inferred.
    pub provenance: Provenance,
    /// The provenance that the recorder stated, if the attribute counts as inferred although the recorder
    /// stated something else. That is the case if it was derived from a special category. Otherwise
    /// unspecified.
    pub claimed_provenance: Provenance,
    /// References to its evidence, under names that the writer chose.
    pub evidence: Vec<String>,
    /// The events of the attributes that it was derived from.
    pub derived_from: Vec<EventId>,
    /// Confidence from 0 to 1; for inferences only.
    pub confidence: Option<f64>,
    /// The model that inferred it; for inferences only.
    pub model: String,
    /// When it was observed, milliseconds since the Unix epoch.
    pub observed_at_ms: u64,
    /// The time from which it may not be used, milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// Ids of the reported replies that it was inferred from; for inferences only.
    pub from_replies: Vec<String>,
    /// A vector for its value. Answers leave it out.
    pub embedding: Option<Arc<Embedding>>,
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attribute({}, {:?}, ..)", self.category, self.provenance)
    }
}

/// How long an inference that states no expiry may be used after it was recorded (GDPR Art. 5(1)(e)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferenceTerms {
    /// The default, milliseconds.
    pub lasts_ms: u64,
    /// The durations by category, milliseconds. For a category that is not listed, the duration of its
    /// nearest listed ancestor applies.
    pub lasts_ms_by_category: BTreeMap<String, u64>,
}

impl InferenceTerms {
    /// The duration for a category, taken from its nearest listed ancestor.
    #[must_use]
    pub fn lasts_ms_in(&self, category: &str, vocabulary: &Vocabulary) -> u64 {
        let ancestry = vocabulary.category_ancestry(category);
        let named = ancestry.into_iter().find_map(|id| self.lasts_ms_by_category.get(id));
        named.copied().unwrap_or(self.lasts_ms)
    }
}

impl Attribute {
    /// The most bytes that it takes in an answer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lists = self.evidence.iter().chain(&self.from_replies);
        let lists: usize = lists.map(|text| text.len().saturating_add(LINK_BYTES)).sum();
        let sources = self.derived_from.len().saturating_mul(ID_BYTES);
        [self.model.len(), lists, sources]
            .into_iter()
            .fold(self.granted_bytes().saturating_add(SHOWN_BYTES), usize::saturating_add)
    }

    /// The bytes of its embedding. They have a limit of their own.
    #[must_use]
    pub fn embedding_bytes(&self) -> usize {
        self.embedding.as_deref().map_or(0, Embedding::bytes)
    }

    /// The most bytes that it takes in a grant. Grants leave out its evidence and sources.
    #[must_use]
    pub fn granted_bytes(&self) -> usize {
        let texts = [self.key.len(), self.value.expose().len(), self.category.len()];
        texts.into_iter().fold(GRANTED_BYTES, usize::saturating_add)
    }

    /// Fills in the missing fields of an inference: its model (the recorder's name) and its expiry.
    pub fn complete(&mut self, recorder: &str, terms: &InferenceTerms, vocabulary: &Vocabulary, now_ms: u64) {
        if self.provenance != Provenance::Inferred {
            return;
        }
        if self.model.is_empty() && recorder.len() <= MODEL_BYTES_MAX {
            recorder.clone_into(&mut self.model);
        }
        let lasts_ms = terms.lasts_ms_in(&self.category, vocabulary);
        self.expires_at_ms.get_or_insert(now_ms.saturating_add(lasts_ms));
    }

    /// Every invalid field with its path, which begins with `at`.
    #[must_use]
    pub fn violations(&self, at: &str, now_ms: u64, vocabulary: &Vocabulary) -> Vec<Violation> {
        let mut checks = Checks::below(at);
        let mut need = |is_met, field, problem| checks.need(is_met, field, problem);
        let inferred = self.provenance == Provenance::Inferred;
        need(
            is_text(&self.key, 1, KEY_BYTES_MAX),
            "key",
            "must have 1 to 256 bytes and no control characters",
        );
        need(self.value.expose().len() <= VALUE_BYTES_MAX, "value_json", "must have at most 16 KiB");
        if let Err(problem) = json_value::check(self.value.expose()) {
            need(false, "value_json", problem.as_str());
        }
        need(
            self.provenance != Provenance::Unspecified,
            "provenance",
            "must be declared, observed or inferred",
        );
        need(self.evidence.len() <= LINKS_MAX, "evidence", "must have at most 64 pieces");
        need(
            self.evidence.iter().all(|piece| is_text(piece, 1, EVIDENCE_BYTES_MAX)),
            "evidence",
            "each must have 1 to 256 bytes and no control characters",
        );
        need(self.derived_from.len() <= LINKS_MAX, "derived_from", "must name at most 64 sources");
        let in_range = self.confidence.is_none_or(|confidence| (0.0..=1.0).contains(&confidence));
        need(in_range, "confidence", "must be 0 to 1");
        need(inferred || self.confidence.is_none(), "confidence", "is for inferences only");
        need(inferred || self.model.is_empty(), "model", "is for inferences only");
        need(is_text(&self.model, 0, MODEL_BYTES_MAX), "model", "must have at most 128 bytes");
        need(inferred || self.from_replies.is_empty(), "from_replies", "is for inferences only");
        let replies = self.from_replies.len() <= LINKS_MAX
            && self.from_replies.iter().all(|reply| is_text(reply, 1, REPLY_BYTES_MAX));
        need(replies, "from_replies", "must name at most 64, each of 1 to 128 bytes");
        if let Some((field, problem)) = self.embedding.as_deref().and_then(Embedding::problem) {
            let field = if field == "model" { "embedding.model" } else { "embedding.values" };
            need(false, field, problem);
        }
        let latest = now_ms.saturating_add(AHEAD_MS_MAX);
        need(self.observed_at_ms <= latest, "observed_at", "must not be in the future");
        let lasting = self.expires_at_ms.is_none_or(|end| end > now_ms);
        need(lasting, "expires_at", "must be in the future");
        checks.need_categories(vocabulary, [&self.category], "category");
        checks.found()
    }
}

/// Whether a text is within these lengths and has no control characters. For new names see `names`.
#[must_use]
pub fn is_text(text: &str, bytes_min: usize, bytes_max: usize) -> bool {
    (bytes_min..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Attribute {
        Attribute {
            key: "k".into(),
            value: Secret::new("{\"a\": 1}".into()),
            category: "work".into(),
            provenance: Provenance::Inferred,
            evidence: vec!["message-1".into()],
            derived_from: vec![EventId([1; 16])],
            confidence: Some(0.5),
            model: "m".into(),
            observed_at_ms: NOW_MS,
            expires_at_ms: Some(NOW_MS + 1),
            from_replies: Vec::new(),
            claimed_provenance: Provenance::Unspecified,
            embedding: None,
        }
    }

    const NOW_MS: u64 = 1_000_000;

    fn fields(attribute: &Attribute) -> Vec<String> {
        let vocabulary = crate::domain::default_vocabulary::default_vocabulary();
        let found = attribute.violations("attributes[0]", NOW_MS, &vocabulary);
        assert!(found.iter().all(|violation| !violation.to_string().contains("canary")));
        found.into_iter().map(|violation| violation.field.replace("attributes[0].", "")).collect()
    }

    #[test]
    fn every_limit_is_enforced_and_the_field_is_named() {
        assert!(fields(&valid()).is_empty());
        let invalid = |field: &str, change: &dyn Fn(&mut Attribute)| {
            let mut attribute = valid();
            change(&mut attribute);
            assert!(fields(&attribute).contains(&field.to_owned()), "{field}");
        };
        invalid("key", &|it| it.key.clear());
        invalid("key", &|it| it.key = "canary".repeat(50));
        invalid("key", &|it| it.key = "canary\n".into());
        invalid("value_json", &|it| it.value = Secret::new("canary".into()));
        invalid("value_json", &|it| it.value = Secret::new(format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX))));
        invalid("category", &|it| it.category = "canary".into());
        invalid("provenance", &|it| it.provenance = Provenance::Unspecified);
        invalid("evidence", &|it| it.evidence = vec!["e".into(); LINKS_MAX + 1]);
        invalid("evidence", &|it| it.evidence = vec!["canary".repeat(50)]);
        invalid("derived_from", &|it| it.derived_from = vec![EventId([1; 16]); LINKS_MAX + 1]);
        for confidence in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            invalid("confidence", &|it| it.confidence = Some(confidence));
        }
        invalid("confidence", &|it| it.provenance = Provenance::Declared);
        invalid("model", &|it| it.provenance = Provenance::Observed);
        invalid("model", &|it| it.model = "m".repeat(MODEL_BYTES_MAX + 1));
        invalid("observed_at", &|it| it.observed_at_ms = NOW_MS + AHEAD_MS_MAX + 1);
        invalid("expires_at", &|it| it.expires_at_ms = Some(NOW_MS));
    }

    #[test]
    fn the_error_for_an_unknown_category_suggests_similar_ones() {
        let attribute = Attribute { category: "helth".into(), ..valid() };
        let vocabulary = crate::domain::default_vocabulary::default_vocabulary();
        let found = attribute.violations("at", NOW_MS, &vocabulary);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["`at.category` must be a defined category; near: health"]);
    }

    #[test]
    fn debug_output_never_contains_values() {
        let secret = Secret::new("canary".into());
        assert!(!format!("{secret:?}").contains("canary"));
        let attribute = Attribute { key: "canary".into(), value: secret, ..valid() };
        assert!(!format!("{attribute:?}").contains("canary"));
    }
}
