//! Publishes a notice, the text that people see before they decide about consent. Also returns the rules
//! in force and the Cedar schema of bounds.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::system_stream::Notice;
use crate::app::rules::RuleChanges;
use crate::bounds::rulebook::Rules;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::event::{Event, NoticePublished, NoticeRef};
use crate::domain::names;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const NOTICE_BYTES_MAX: usize = 64 << 10;

impl RuleChanges {
    /// Publishes a notice.
    ///
    /// # Errors
    /// A field is invalid, this version was published already, or the store fails.
    pub async fn publish_notice(
        self: &Arc<Self>,
        caller: &Caller,
        notice: Notice,
        options: &WriteOptions,
    ) -> Result<(Receipt, NoticeRef), AppError> {
        if !is_text(&notice.id, 1, 128) || !is_text(&notice.version, 1, 64) {
            return Err(AppError::invalid("id", "id and version must have 1 to 128 and 1 to 64 bytes"));
        }
        let mut checks = Checks::new();
        let is_known = self.core.rules().notice(&notice.id, "").is_some();
        checks.need_name(names::problem(&notice.id).filter(|_| !is_known), "id");
        checks.need_name(names::problem(&notice.version), "version");
        checks.finish()?;
        let is_tag = notice.language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_tag || notice.language.len() > 35 {
            let wrong = "must be a BCP 47 tag, such as `de-AT`, of at most 35 letters, digits and hyphens";
            return Err(AppError::invalid("language", wrong));
        }
        if notice.text.is_empty() || notice.text.len() > NOTICE_BYTES_MAX {
            return Err(AppError::invalid("text", "must have 1 byte to 64 KiB"));
        }
        let reference = NoticeRef {
            id: notice.id,
            version: notice.version,
            language: if notice.language.is_empty() { "en".into() } else { notice.language },
            digest: Sha256::digest(&notice.text).to_vec(),
        };
        let event =
            Event::NoticePublished(NoticePublished { notice: Some(reference.clone()), text: notice.text });
        let check = |rules: &Rules| match rules.notice(&reference.id, &reference.version) {
            Some(_) => Err(AppError::Precondition("this version of the notice was already published")),
            None => Ok(()),
        };
        let receipt = self.core.publish_checked(caller, vec![event], options, check).await?;
        Ok((receipt, reference))
    }

    /// The rules in force.
    #[must_use]
    pub fn rules_in_force(&self) -> Arc<Rules> {
        self.core.rules()
    }

    /// The Cedar schema that bounds are validated against, in human syntax.
    #[must_use]
    pub fn bounds_schema(&self) -> &'static str {
        crate::bounds::schema_text()
    }
}
