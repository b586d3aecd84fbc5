//! Defines the vocabulary: purposes and categories.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::rules::RuleChanges;
use crate::domain::attribute::is_text;
use crate::domain::default_vocabulary::{BENEFITS, RISKS};
use crate::domain::event::{CategoryDefined, Event, PurposeDefined};
use crate::domain::vocabulary::{near_tags, unknown};
use std::sync::Arc;

impl RuleChanges {
    /// Adds a purpose or replaces its definition. Returns when every grant that the definition contradicts is
    /// revoked.
    ///
    /// # Errors
    /// A field is invalid, a tag is not in the taxonomy, the parent is not defined or is a descendant of the
    /// purpose, or the store fails.
    pub async fn define_purpose(
        self: &Arc<Self>,
        caller: &Caller,
        purpose: PurposeDefined,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let rules = self.core.rules();
        check_names("purpose", &purpose.id, &purpose.title, &purpose.iri)?;
        check_tags("purpose", &purpose.risks, &purpose.benefits)?;
        let parent = &purpose.parent;
        if !parent.is_empty() && !rules.vocabulary.has_purpose(parent) {
            let near = rules.vocabulary.near_purposes(parent);
            return Err(AppError::invalid("purpose.parent", unknown("purpose", &near)));
        }
        if rules.vocabulary.purpose_ancestry(parent).contains(&purpose.id.as_str()) {
            return Err(AppError::invalid(
                "purpose.parent",
                "must not be the purpose itself or one of its descendants",
            ));
        }
        if purpose.rung < rules.vocabulary.rung(&purpose.id) && rules.vocabulary.has_purpose(&purpose.id) {
            return Err(AppError::invalid(
                "purpose.rung",
                "must not be lower than it was, because consents depend on it",
            ));
        }
        if !rules.vocabulary.can_take_purpose(&purpose) {
            return Err(AppError::invalid(
                "purpose.parent",
                "must not make any purpose more than 32 levels deep",
            ));
        }
        self.define(caller, Event::PurposeDefined(purpose), options).await
    }

    async fn define(
        self: &Arc<Self>,
        caller: &Caller,
        definition: Event,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let receipt = self.core.publish(caller, vec![definition], options).await?;
        self.revoke_contradicted().await?;
        Ok(receipt)
    }

    /// Adds a category or replaces its definition. Returns when every grant that the definition contradicts
    /// is revoked.
    ///
    /// # Errors
    /// A field is invalid, a tag is not in the taxonomy, the parent is not defined or is a descendant of the
    /// category, or the store fails.
    pub async fn define_category(
        self: &Arc<Self>,
        caller: &Caller,
        category: CategoryDefined,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let rules = self.core.rules();
        check_names("category", &category.id, &category.title, &category.iri)?;
        check_tags("category", &category.risks, &category.benefits)?;
        let parent = &category.parent;
        if !parent.is_empty() && !rules.vocabulary.has_category(parent) {
            let near = rules.vocabulary.near_categories(parent);
            return Err(AppError::invalid("category.parent", unknown("category", &near)));
        }
        if rules.vocabulary.category_ancestry(parent).contains(&category.id.as_str()) {
            return Err(AppError::invalid(
                "category.parent",
                "must not be the category itself or one of its descendants",
            ));
        }
        // Otherwise a definition by the provider could allow what the law forbids (GDPR Art. 9).
        if rules.vocabulary.is_special(&category.id) && !category.special {
            return Err(AppError::invalid(
                "category.special",
                "must stay set, because the category is a special one",
            ));
        }
        if !rules.vocabulary.can_take_category(&category) {
            return Err(AppError::invalid(
                "category.parent",
                "must not make any category more than 32 levels deep",
            ));
        }
        self.define(caller, Event::CategoryDefined(category), options).await
    }
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
