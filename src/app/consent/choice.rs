//! The consent decisions (choices) of a data subject in one request, who made them, how they were presented,
//! and what changed when they were recorded.

use crate::app::consent::opt_out_effect::OptOutEffect;
use crate::app::consent::remaining_uses::RemainingUse;
use crate::app::log::receipt::Receipt;
use crate::domain::consent::Decision;
use crate::domain::unmatched::Unmatched;

/// One choice of the data subject.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The decision.
    pub decision: Decision,
    /// The purposes that it covers. A consent or renewal names 1 to 32; a refusal or withdrawal at most 32,
    /// and none means all.
    pub purposes: Vec<String>,
    /// The categories that it covers, at most 64. None means all; a consent for all excludes special
    /// categories.
    pub categories: Vec<String>,
    /// The recipients that it covers, at most 64; none means all.
    pub recipients: Vec<String>,
    /// Whether a consent is explicit in the sense of GDPR Art. 9(2)(a).
    pub explicit: bool,
    /// When a consent ends, milliseconds since the Unix epoch; `None` if the consent names no end.
    pub until_ms: Option<u64>,
    /// The conversations that it is limited to, at most 64; none means all conversations.
    pub interactions: Vec<String>,
}

/// The notice that was served to the data subject.
#[derive(Clone, Debug, Default)]
pub struct NoticeServed {
    /// Its id; empty if no notice was served.
    pub id: String,
    /// Its version; empty means the newest.
    pub version: String,
    /// The language it was served in; empty means the language of the published notice.
    pub language: String,
    /// SHA-256 of the text that was served; empty means that it was the published text.
    pub digest: Vec<u8>,
}

/// How the choices were presented to the data subject.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// The notice that was served.
    pub notice: NoticeServed,
    /// Where the notice was served: an app, a website, a conversation. At most 64 bytes.
    pub channel: String,
}

/// Who made the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The data subject.
    Subject,
    /// The holder of parental responsibility (GDPR Art. 8(1)).
    Guardian,
}

/// What a consent or signal changed.
#[derive(Clone, Debug)]
pub struct ConsentChanged {
    /// The recorded events.
    pub receipt: Receipt,
    /// Ids of the grants that the consent or signal revoked.
    pub revoked_grants: Vec<String>,
    /// What an opt-out does; `None` for consents, other signals and liftings.
    pub effect: Option<OptOutEffect>,
    /// The parts of the request that match nothing in the ledger. Empty for a service that is not a channel.
    pub unmatched: Vec<Unmatched>,
    /// Purposes for which data may still be used although the data subject said no to them.
    pub remaining_uses: Vec<RemainingUse>,
}
