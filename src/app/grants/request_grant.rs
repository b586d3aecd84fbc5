//! Issues a grant: decides which attributes the recipient may use, and records the decision durably before
//! the recipient gets it.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::grants::Grants;
use crate::app::grants::check_grant::FoundGrant;
use crate::app::grants::evaluate_use::{Evaluation, check_case, decide, with_values};
use crate::app::grants::grant::{Grant, GrantRequest, Issued};
use crate::app::grants::relevance::{Chosen, Relevance};
use crate::app::grants::reuse_grant::current_of;
use crate::app::log::append::{Append, Begun, Timestamping, Written};
use crate::app::log::core::Core;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::bounds::decision::Decision;
use crate::bounds::rulebook::Rules;
use crate::domain::attribute::is_text;
use crate::domain::event::{Event, GrantIssued, GrantedAttribute, Ranking, Recorded, Tier, WithheldClass};
use crate::domain::ids::{GrantId, SubjectId};
use crate::domain::profile::GrantState;
use crate::domain::{DAY_MS, INTERACTION_BYTES_MAX};
use crate::telemetry::metrics;
use std::sync::Arc;

const TTL_DEFAULT_MS: u64 = 600_000;
const TTL_MS: std::ops::RangeInclusive<u64> = 1_000..=DAY_MS;

impl Grants {
    /// Decides for the caller as recipient, and issues a grant. A repeated request in the same conversation
    /// gets its existing grant, as long as the decision is the same and half of the lifetime is left.
    ///
    /// # Errors
    /// The request is invalid or reuses an idempotency key, the expected version is stale, the caller has as
    /// many open grants of this data subject as it may have, or the store failed. Attributes that may not be
    /// used are withheld, which is not an error.
    pub async fn request_grant(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        request: GrantRequest,
        options: &WriteOptions,
    ) -> Result<Issued, AppError> {
        let ttl_ms = request.ttl_ms.unwrap_or(TTL_DEFAULT_MS);
        if !TTL_MS.contains(&ttl_ms) {
            return Err(AppError::invalid("ttl", "must be 1 second to 24 hours"));
        }
        if !is_text(&request.asked.interaction, 0, INTERACTION_BYTES_MAX) {
            return Err(AppError::invalid("interaction", "must have at most 128 bytes"));
        }
        check_case(&request.asked, &self.core.rules())?;
        request.relevance.as_ref().map_or(Ok(()), Relevance::check)?;
        if let Some(grant) = self.reuse(caller, subject, &request, ttl_ms, options).await? {
            return Ok(Issued::Grant(Box::new(grant)));
        }
        let begun = match self.core.begin_existing(caller, subject, options, Timestamping::Shared).await {
            Err(AppError::UnknownSubject) => return Ok(Issued::UnknownSubject),
            begun => begun?,
        };
        match begun {
            Begun::Append(append) => self.issue(append, &request, ttl_ms).await,
            // Without a trusted clock it is unknown whether the grant has expired.
            Begun::Replayed(..) if self.core.clock_state().is_skewed() => Err(AppError::ClockSkewed),
            Begun::Replayed(receipt, events) => self.issued_before(subject, receipt, events).await,
        }
    }

    async fn issue(
        self: &Arc<Self>,
        append: Append,
        request: &GrantRequest,
        ttl_ms: u64,
    ) -> Result<Issued, AppError> {
        let problem = append.stream.read().state.interaction_problem(&request.asked.interaction);
        if let Some(problem) = problem {
            return Err(AppError::invalid("interaction", problem.to_string()));
        }
        self.check_open_grants(&append)?;
        let rules = Arc::clone(&append.rules);
        let (decision, evaluation, ranking) = self.decide_and_rank(&append, request, &rules);
        let latest = append.now_ms.saturating_add(ttl_ms);
        let event = GrantIssued {
            recipient: append.caller.name.clone(),
            purpose: request.asked.purpose.clone(),
            interaction: request.asked.interaction.clone(),
            allowed: decision
                .allowed
                .into_iter()
                .map(|allowed| GrantedAttribute {
                    attribute: allowed.event_id,
                    basis: allowed.basis,
                    key: allowed.key,
                    category: allowed.category,
                })
                .collect(),
            withheld: decision.withheld,
            expires_at_ms: decision.ends_ms.map_or(latest, |end| end.min(latest)),
            profile_version: evaluation.profile_version,
            bounds: decision.bounds,
            categories: request.asked.categories.clone(),
            keys: request.asked.keys.clone(),
            ranking,
        };
        let expires_at_ms = event.expires_at_ms;
        let pending_events = vec![self.core.plan(Event::GrantIssued(event))];
        let stream = Arc::clone(&append.stream);
        let Written { receipt, events, .. } = self.core.commit(append, pending_events).await?;
        count_withheld(&evaluation.withheld);
        metrics().allowed(evaluation.allowed.len());
        let first = events.first().ok_or(AppError::Internal(Cause::Inconsistent("no grant was written")))?;
        if ranking.is_none() {
            Core::note_issued(&stream, first.event_id, &receipt, ttl_ms);
        }
        Ok(Issued::Grant(Box::new(Grant {
            id: GrantId::new(first.position, &first.event_id),
            allowed: evaluation.allowed,
            withheld: evaluation.withheld,
            expires_at_ms,
            ranking,
            has_ended: false,
            receipt,
        })))
    }

    /// Decides. If the request has a text to rank by, chooses from what the decision permits.
    fn decide_and_rank(
        &self,
        append: &Append,
        request: &GrantRequest,
        rules: &Rules,
    ) -> (Decision, Evaluation, Option<Ranking>) {
        let now = append.stream.read();
        let decision = {
            let _timed = tracing::trace_span!("decide").entered();
            let decision = decide(rules, &now.state, &append.caller.name, &request.asked, append.now_ms);
            self.core.deny_in_doubt(decision, &now.state)
        };
        let Some(relevance) = &request.relevance else {
            let evaluation = with_values(&decision, &now.state);
            return (decision, evaluation, None);
        };
        let _timed = tracing::trace_span!("rank").entered();
        let Chosen { decision, has_read, scores, ranking } =
            relevance.choose(decision, &now.state, &self.core.use_settings.ranking);
        if has_read {
            append.stream.measure_next();
        }
        let mut evaluation = with_values(&decision, &now.state);
        for (allowed, score) in evaluation.allowed.iter_mut().zip(scores) {
            allowed.score = Some(score);
        }
        (decision, evaluation, Some(ranking))
    }

    /// Checks that the caller may have another grant of this data subject.
    fn check_open_grants(&self, append: &Append) -> Result<(), AppError> {
        let now = append.stream.read();
        if now.state.grants.len() < self.core.use_settings.limits.open_grants_max {
            return Ok(());
        }
        let is_own = |grant: &&GrantState| grant.issued.recipient == append.caller.name;
        let open =
            now.state.grants.values().filter(is_own).filter(|grant| grant.is_open(append.now_ms)).count();
        if open < self.core.use_settings.limits.open_grants_max {
            return Ok(());
        }
        Err(AppError::LimitReached { what: "grants", open })
    }

    /// The grant of a repeated request, with those attributes that are still current. If the grant is no
    /// longer valid, the answer has no values and does not say what was withheld.
    async fn issued_before(
        self: &Arc<Self>,
        subject: &SubjectId,
        receipt: Receipt,
        events: Vec<Recorded>,
    ) -> Result<Issued, AppError> {
        let not_a_grant = || AppError::Internal(Cause::Inconsistent("the key's event is not a grant"));
        let first = events.first().ok_or_else(not_a_grant)?;
        let Event::GrantIssued(issued) = &first.event else { return Err(not_a_grant()) };
        let stream = self.core.stream(subject).await?.ok_or(AppError::Erased)?;
        let found = FoundGrant { stream, event: first.event_id };
        let is_valid = self.standing_now(&found, |_| ()).is_some_and(|(standing, ())| standing.is_valid);
        let state = &found.stream.read().state;
        let allowed = issued.allowed.iter().filter(|_| is_valid).filter_map(|cited| current_of(cited, state));
        Ok(Issued::Grant(Box::new(Grant {
            id: GrantId::new(first.position, &first.event_id),
            allowed: allowed.collect(),
            withheld: if is_valid { issued.withheld.clone() } else { Vec::new() },
            expires_at_ms: issued.expires_at_ms,
            ranking: issued.ranking.filter(|_| is_valid),
            has_ended: !is_valid,
            receipt,
        })))
    }
}

fn count_withheld(classes: &[WithheldClass]) {
    for class in classes {
        let tier = match class.decided_by {
            Tier::Public => "public",
            Tier::Provider => "provider",
            Tier::Individual => "individual",
            Tier::Unspecified => "unspecified",
        };
        metrics().withheld(tier, class.count);
    }
}
