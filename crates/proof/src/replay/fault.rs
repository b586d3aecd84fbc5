//! The reasons for findings: why an event, such as a grant, should not have been recorded as it was, or
//! why a rule should not have been published.

use serde::Serialize;
use std::fmt::{self, Display};

/// Why an event should not have been recorded as it was, or why a rule should not have been published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The data subject had no such attribute before the grant.
    #[error("the attribute was never recorded")]
    UnknownAttribute,
    /// The grant names a key or category that differs from the recorded one.
    #[error("the attribute was recorded under another key or category")]
    Described,
    /// The attribute was removed before the grant.
    #[error("the attribute had been removed")]
    Removed,
    /// The attribute was corrected before the grant (GDPR Art. 16).
    #[error("the attribute had been corrected")]
    Corrected,
    /// Another attribute with the same key replaced it before the grant, or had been observed later.
    #[error("the attribute had been replaced")]
    Replaced,
    /// The attribute is inferred, and the data subject had declared another value under the same key.
    #[error("the attribute is an inference that conflicts with what the person declared")]
    DeclaredOtherwise,
    /// The attribute had expired.
    #[error("the attribute had expired")]
    Expired,
    /// The entry of an allowed attribute or of a cited consent had been erased before the grant.
    #[error("the cited attribute or consent had been erased")]
    Erased,
    /// The data subject had contested the attribute.
    #[error("the attribute had been contested")]
    Contested,
    /// The attribute was derived from another attribute that could not be used.
    #[error("the attribute was derived from one that could not be used")]
    SourceWithheld,
    /// The data subject had asked for the erasure of the attribute. It was refused on a legal ground, which
    /// does not require the use (GDPR Art. 17(3)).
    #[error("the attribute was only kept, after a refused request for its erasure")]
    KeptOnly,
    /// The attribute is not among the requested categories or keys.
    #[error("the attribute was not requested")]
    NotAskedFor,
    /// The data subject had restricted processing (GDPR Art. 18).
    #[error("the person had restricted use")]
    Restricted,
    /// The data subject had objected to the purpose (GDPR Art. 21).
    #[error("the person had objected to the purpose")]
    Objected,
    /// The data subject had paused personalization.
    #[error("the person had paused personalization")]
    Paused,
    /// The data subject had opted out of sale, sharing and advertising.
    #[error("the person had opted out of sale, sharing and advertising")]
    OptedOut,
    /// No consent in force covers the use.
    #[error("no consent in force covers the use")]
    NoConsent,
    /// A refusal or withdrawal overrides every consent that covers the use.
    #[error("a refusal or withdrawal overrides the consent")]
    Refused,
    /// Every consent that would allow the use names a version of a notice that no longer counts.
    #[error("the consent names a version of its notice that no longer counts")]
    NoticeOutdated,
    /// The cited consent is not one that allows the use.
    #[error("the cited consent does not allow the use")]
    Citation,
    /// The cited legal basis was not declared for the purpose, or it does not allow this use: it never
    /// replaces a consent, and it does not apply to special categories or minors.
    #[error("the cited legal basis does not allow the use")]
    LegalBasis,
    /// The purpose was not defined.
    #[error("the purpose was not defined")]
    UndefinedPurpose,
    /// The category was not defined.
    #[error("the category was not defined")]
    UndefinedCategory,
    /// The grant cites bounds that were not published before it.
    #[error("the grant cites bounds that were not published before it")]
    UnknownBounds,
    /// The grant does not cite exactly the bounds in force.
    #[error("the grant does not cite exactly the bounds that were in force")]
    OtherBounds,
    /// The data subject's own bounds forbid the use: `never`, `only_recipients`, `declared_only` or
    /// `forget_inferences_days`.
    #[error("the person's own bounds forbid the use")]
    PersonalBounds,
    /// The data subject wants to be asked each time, and no consent names the conversation.
    #[error("the person wants to be asked each time, and no consent names the conversation")]
    NotAsked,
    /// Bounds, a definition or a required notice have no valid signature by their publisher, and need one.
    #[error("the rule is not signed by its publisher")]
    UnsignedRule,
    /// The signature covers the event alone, in a log of edition 4 or later.
    #[error(
        "the signature of the rule is not bound to this log, to the number of the rule's version, and to a time"
    )]
    UnboundRule,
    /// The signed number is not that of the next version.
    #[error("the signature is not for the next version of the rule")]
    RuleSequence,
    /// The rule was signed more than 30 days before it was recorded, or after it was recorded.
    #[error("the rule was not signed within 30 days before it was recorded")]
    RuleTime,
    /// The same version was published before.
    #[error("the same version was published before")]
    RepeatedRule,
    /// The author does not have the role of the tier.
    #[error("the role of the author may not publish rules of this tier")]
    WrongPublisher,
    /// The key signed rules of the other tier, too.
    #[error("the key also signed rules of the other tier")]
    OtherTierKey,
    /// The key is not one that the user trusts for the tier.
    #[error("the rule is signed with another key than those that you trust for its tier")]
    UntrustedKey,
    /// A category was special, and is no longer special (GDPR Art. 9(1)).
    #[error("the definition makes a special category ordinary")]
    SpecialLost,
    /// A word is no longer below another one. Refusals and signals that name the other one no longer cover
    /// the word.
    #[error("the definition moves a purpose or category away from one that was above it")]
    AncestorLost,
    /// A word is below itself, or more than 32 levels deep.
    #[error("the definition puts a purpose or category below itself, or more than 32 levels deep")]
    TooDeep,
    /// The entry was sealed more than two minutes before it was recorded: its `sealed_at_ms` is too far
    /// behind that of an earlier entry. One of the two times is wrong.
    #[error("sealed more than two minutes before it was recorded: one of the times up to here is wrong")]
    Misdated,
    /// An erasure states that an entry was of another kind than an earlier export shows.
    #[error("an erasure states that the entry was something else than an earlier export shows")]
    FalseErasedKind,
    /// An erasure states versions, but not those that one stream lacks.
    #[error("an erasure states versions that no stream lacks, or those of several streams")]
    FalseErasure,
    /// The recorded time of an erased entry is stated to be later than an earlier export says.
    #[error("the erased entry is dated later than in an earlier export")]
    RecordedLater,
    /// A timestamp by a trusted authority shows that the entry existed before its recorded time.
    #[error("recorded later than a timestamp of the log shows")]
    RecordedAfterTimestamp,
    /// The recorded time is before that of a trusted timestamp of the entries before it.
    #[error("recorded earlier than the timestamp of the entries before it")]
    RecordedBeforeTimestamp,
    /// The log was restored from a backup, and the restore was not yet confirmed.
    #[error("a restore from a backup had not been confirmed")]
    RestoreUnconfirmed,
    /// The grant was to last longer than what allowed it: the cited consent or a later one that covers the
    /// use, the attribute, or an attribute from which it was derived.
    #[error("the grant was to last longer than the consent or the attribute that it rests on")]
    OutlivesBasis,
    /// The grant was to last longer than 24 hours.
    #[error("the grant was to last longer than 24 hours")]
    TooLong,
    /// No ledger issues such a grant.
    #[error("the grant names no recipient, cannot be used, or names an attribute twice or a later version")]
    ImpossibleGrant,
    /// A grant neither allows nor withholds an attribute that it was requested for, or the numbers of what it
    /// withholds do not add up.
    #[error("what the grant allows and withholds does not add up to what the person has")]
    WithheldCount,
    /// A grant says that a ranking chose its attributes, and the numbers that it states are wrong: it allows
    /// another number than was chosen, or fewer were permitted.
    #[error("the grant states wrong numbers of permitted or chosen attributes")]
    RankingCount,
    /// A grant whose attributes a ranking chose for one text answered another request.
    #[error("a grant for one text answered another request")]
    RankedAgain,
    /// A reason for withholding attributes contradicts the data subject's own events.
    #[error("a reason for withholding attributes is not true")]
    WithheldReason,
    /// An event that concerns a data subject is a system event, or the other way around.
    #[error("the event is recorded about the wrong party")]
    WrongParty,
    /// The role that the event states may not record such an event: a service must not speak for a person
    /// (edition 5 and later).
    #[error("the role that recorded the event may not record it")]
    WrongRole,
    /// An earlier entry has the same event id.
    #[error("an earlier entry has the same event id")]
    EventIdReused,
    /// The event names an attribute, consent, grant, artifact, request, hold or other event that the data
    /// subject did not have before.
    #[error("the event names something that the person did not have")]
    UnknownReference,
    /// The event states another recipient of the grant or artifact than the grant itself, or another id.
    #[error("the event names another recipient than the grant does")]
    OtherRecipient,
    /// The artifact was registered for another purpose than that of the grant.
    #[error("the event names another purpose than the grant does")]
    OtherPurpose,
    /// A use or an artifact names an attribute that its grant does not allow.
    #[error("the grant does not allow the attribute")]
    NotAllowed,
    /// The event does not state the recipient and the times that it has to state (edition 5 and later).
    #[error("the event does not state its recipient and its times")]
    Unstated,
    /// The use is dated more than five minutes before the grant.
    #[error("the use is dated before the grant was issued")]
    UsedBefore,
    /// The grant was used at or after its expiry.
    #[error("the grant had expired when it was used")]
    UsedAfterExpiry,
    /// The grant was used after it was revoked, or after a decision that contradicts it.
    #[error("the grant had been revoked or contradicted when it was used")]
    UsedAfterRevocation,
    /// A decision contradicts the grant, and no event revoked it.
    #[error("the decision contradicts the grant, and no event revoked the grant")]
    NotRevoked,
    /// A decision contradicts an artifact that was registered under the grant, and no event ended the
    /// artifact.
    #[error(
        "the decision contradicts an artifact that was registered under the grant, and no event ended it"
    )]
    NotInvalidated,
    /// An announcement of revocations states fewer than decisions have caused.
    #[error("fewer revocations are announced than decisions have caused")]
    PendingUnderstated,
    /// The data subject decided about a notice that was not published before.
    #[error("the notice that the person saw was not published before")]
    UnknownNotice,
    /// The digest of a notice is not that of the published text.
    #[error("the notice differs from the published text")]
    NoticeText,
}

/// One fault of one event. A rule (bounds, a definition or a notice) is an event, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Position of the event. If a grant was not revoked, the position of the decision that contradicts it.
    pub position: u64,
    /// Event id of the grant that the event concerns, in hex; empty if it concerns none.
    pub grant: String,
    /// Event id of the attribute that should not have been granted or used, in hex; none if the fault
    /// concerns the whole event.
    pub attribute: Option<String>,
    /// The reason.
    pub fault: Fault,
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}", self.position)?;
        if !self.grant.is_empty() {
            write!(f, ", grant `{}`", self.grant)?;
        }
        f.write_str(": ")?;
        if let Some(attribute) = &self.attribute {
            write!(f, "attribute `{attribute}`: ")?;
        }
        self.fault.fmt(f)
    }
}
