//! The words that a new log begins with, with terms of the W3C Data Privacy Vocabulary, version 2.

use crate::domain::vocabulary::Vocabulary;
use sayso_proof::event::{CategoryDefined, PurposeDefined, Rung};

/// Risks that purposes and categories can be tagged with: the taxonomy of Kirk, Vidgen, Röttger and Hale
/// (2024).
pub const RISKS: [&str; 11] = [
    "effort",
    "addiction-over-reliance",
    "homogenisation-bias",
    "essentialism-profiling",
    "anthropomorphism",
    "privacy",
    "access-disparities",
    "polarisation",
    "malicious-use",
    "labour-displacement",
    "environmental-harms",
];

/// Benefits that purposes and categories can be tagged with, from the same taxonomy.
pub const BENEFITS: [&str; 8] = [
    "efficiency",
    "utility",
    "autonomy",
    "empathy-companionship",
    "inclusion-accessibility",
    "diversity-representation",
    "democratisation-participation",
    "labour-productivity",
];

/// A purpose: id, parent, DPV term, title, rung, risks, benefits.
struct Purpose(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Rung,
    &'static [&'static str],
    &'static [&'static str],
);

/// A category: id, parent, term of DPV's personal data extension, title, special, risks, benefits. Where DPV
/// has no word, the nearest above.
struct Category(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static [&'static str],
    &'static [&'static str],
);

const NONE: Rung = Rung::Unspecified;

#[rustfmt::skip]
const PURPOSES: [Purpose; 32] = [
    Purpose("personalization", "", "Personalisation", "Adapting replies to the person", NONE, &["privacy"], &["utility"]),
    Purpose("tone-adaptation", "personalization", "ServicePersonalisation", "Speaking in a way that suits the person", Rung::Style, &["anthropomorphism"], &["efficiency"]),
    Purpose("accessibility", "personalization", "UserInterfacePersonalisation", "Fitting replies to the person's needs", Rung::Accessibility, &[], &["inclusion-accessibility", "autonomy"]),
    Purpose("content-relevance", "personalization", "ServicePersonalisation", "Choosing content that matters to the person", Rung::Relevance, &["homogenisation-bias"], &["efficiency"]),
    Purpose("memory", "personalization", "ServicePersonalisation", "Remembering what the person said before", Rung::Relevance, &["essentialism-profiling"], &["efficiency"]),
    Purpose("recommendation", "personalization", "ProvidePersonalisedRecommendations", "Recommending things to the person", Rung::Relevance, &["homogenisation-bias"], &["efficiency"]),
    Purpose("viewpoint-adaptation", "personalization", "ServicePersonalisation", "Fitting replies to the person's views and values", Rung::Viewpoint, &["polarisation", "homogenisation-bias", "essentialism-profiling"], &["diversity-representation"]),
    Purpose("companionship", "personalization", "ServicePersonalisation", "Keeping the person company", Rung::Companionship, &["anthropomorphism", "addiction-over-reliance"], &["empathy-companionship"]),
    Purpose("persuasion", "", "Purpose", "Moving the person to think or to do something", Rung::Persuasion, &["privacy", "polarisation"], &[]),
    Purpose("commercial-persuasion", "persuasion", "Marketing", "Moving the person to buy something", Rung::Persuasion, &["addiction-over-reliance"], &[]),
    Purpose("political-persuasion", "persuasion", "PoliticalCampaign", "Moving the person to a political view or vote", Rung::Persuasion, &["malicious-use"], &[]),
    Purpose("manipulation", "persuasion", "Purpose", "Moving the person by means that they do not notice or that deceive them", Rung::Persuasion, &["malicious-use"], &[]),
    Purpose("emotion-recognition", "", "Purpose", "Telling how the person feels", NONE, &["privacy", "essentialism-profiling"], &["empathy-companionship"]),
    Purpose("automated-decision", "", "Purpose", "Deciding about the person by machine alone, with legal or similarly significant effect", NONE, &["essentialism-profiling", "access-disparities"], &["efficiency"]),
    Purpose("education", "", "ServiceProvision", "Teaching and learning", NONE, &[], &["inclusion-accessibility"]),
    Purpose("tutoring", "education", "ServicePersonalisation", "Teaching the person what they want to learn", Rung::Relevance, &["addiction-over-reliance"], &["autonomy", "utility"]),
    Purpose("learning-evaluation", "education", "ServiceProvision", "Judging what the person has learnt", NONE, &["essentialism-profiling", "access-disparities"], &["efficiency"]),
    Purpose("employment", "", "HumanResourceManagement", "Work for an employer", NONE, &[], &["labour-productivity"]),
    Purpose("work-assistance", "employment", "ServicePersonalisation", "Helping the person with their work", Rung::Relevance, &["labour-displacement"], &["efficiency"]),
    Purpose("work-evaluation", "employment", "PersonnelPerformanceEvaluation", "Judging the person's work", NONE, &["essentialism-profiling", "access-disparities"], &[]),
    Purpose("service-provision", "", "RequestedServiceProvision", "Giving the person what they asked for", NONE, &[], &["utility"]),
    Purpose("safety", "", "EnforceSecurity", "Keeping the person and others safe", NONE, &[], &[]),
    Purpose("model-training", "", "ImproveExistingProductsAndServices", "Training models", NONE, &["privacy", "environmental-harms"], &[]),
    Purpose("research", "", "ResearchAndDevelopment", "Research", NONE, &["privacy"], &[]),
    Purpose("scientific-research", "research", "ScientificResearch", "Research for science", NONE, &[], &[]),
    Purpose("analytics", "", "ServiceUsageAnalytics", "Counting and measuring use", NONE, &[], &[]),
    Purpose("advertising", "", "Advertising", "Advertising", NONE, &["privacy", "addiction-over-reliance"], &[]),
    Purpose("personalised-advertising", "advertising", "PersonalisedAdvertising", "Choosing advertisements by what is known of the person", NONE, &["essentialism-profiling"], &[]),
    Purpose("cross-context-advertising", "advertising", "TargetedAdvertising", "Sharing data for advertisements by what the person did elsewhere", NONE, &["essentialism-profiling"], &[]),
    Purpose("direct-marketing", "", "DirectMarketing", "Offers sent to the person", NONE, &["privacy"], &[]),
    Purpose("data-sale", "", "SellDataToThirdParties", "Selling the data", NONE, &["privacy", "malicious-use"], &[]),
    Purpose("rights", "", "RightsFulfilment", "Answering the person about their data", NONE, &[], &["autonomy"]),
];

#[rustfmt::skip]
const CATEGORIES: [Category; 44] = [
    Category("activity", "", "Behavioural", "What the person does", false, &[], &["efficiency"]),
    Category("preference", "", "Preference", "What the person likes", false, &[], &["utility"]),
    Category("communication-style", "preference", "Preference", "How the person likes to be spoken to", false, &["anthropomorphism"], &["efficiency"]),
    Category("language", "preference", "Language", "Languages the person uses", false, &[], &["inclusion-accessibility"]),
    Category("interest", "preference", "Interest", "What the person is interested in", false, &["homogenisation-bias"], &[]),
    Category("personality", "", "Personality", "What the person is like", false, &["essentialism-profiling"], &[]),
    Category("opinion", "", "Opinion", "What the person thinks, politics and belief apart", false, &["polarisation"], &["diversity-representation"]),
    Category("emotion", "", "Emotion", "How the person feels", false, &["privacy", "addiction-over-reliance"], &["empathy-companionship"]),
    Category("mood", "emotion", "Mood", "How the person has been feeling", false, &[], &[]),
    Category("voice", "", "VoiceCommunicationRecording", "Recordings of the person's voice", false, &["privacy"], &[]),
    Category("work", "", "Professional", "Work and profession", false, &[], &["labour-productivity"]),
    Category("work-performance", "work", "PerformanceAtWork", "How the person does at work", false, &["essentialism-profiling"], &[]),
    Category("education", "", "Education", "Learning and education", false, &[], &[]),
    Category("learning-progress", "education", "EducationExperience", "What the person has learnt and what they find hard", false, &["essentialism-profiling"], &["autonomy"]),
    Category("family", "", "Family", "Family", false, &["privacy"], &[]),
    Category("relationship", "", "Relationship", "Friends and partners", false, &["privacy"], &[]),
    Category("social-situation", "", "SocialStatus", "The person's place in society", false, &["essentialism-profiling"], &[]),
    Category("location", "", "Location", "Where the person is or lives", false, &["privacy"], &[]),
    Category("precise-location", "location", "GPSCoordinate", "Where the person is, within 1,850 feet", false, &[], &[]),
    Category("finance", "", "Financial", "Money", false, &["privacy"], &[]),
    Category("financial-situation", "finance", "FinancialStatus", "How well off the person is", false, &["access-disparities"], &[]),
    Category("financial-account", "finance", "FinancialAccount", "Accounts and cards, with what opens them", false, &["malicious-use"], &[]),
    Category("contact", "", "Contact", "How the person can be reached", false, &[], &[]),
    Category("communication", "", "Communication", "What the person writes and says", false, &["privacy"], &[]),
    Category("message-content", "communication", "EmailContent", "Mail and messages to others", false, &[], &[]),
    Category("identity", "", "Identifying", "Who the person is", false, &["privacy"], &[]),
    Category("age", "identity", "Age", "How old the person is", false, &["essentialism-profiling"], &[]),
    Category("government-id", "identity", "OfficialID", "Numbers and documents of the state", false, &["malicious-use"], &[]),
    Category("credentials", "identity", "Authenticating", "What the person logs in with", false, &["malicious-use"], &[]),
    Category("citizenship", "identity", "Citizenship", "Citizenship and immigration status", false, &["access-disparities"], &[]),
    Category("criminal", "", "Criminal", "Convictions and offences", false, &["essentialism-profiling", "access-disparities"], &[]),
    Category("health", "", "Health", "Health", true, &["privacy"], &["inclusion-accessibility"]),
    Category("mental-health", "health", "MentalHealth", "Mental health", true, &["addiction-over-reliance"], &["empathy-companionship"]),
    Category("disability", "health", "Disability", "Disability", true, &["access-disparities"], &["inclusion-accessibility"]),
    Category("neural", "health", "PhysicalTrait", "Measurements of the nervous system", true, &["malicious-use"], &[]),
    Category("political_opinion", "", "PoliticalOpinion", "Political opinions", true, &["polarisation", "malicious-use"], &["democratisation-participation"]),
    Category("religious_belief", "", "ReligiousBelief", "Religious or philosophical beliefs", true, &["polarisation", "essentialism-profiling"], &["diversity-representation"]),
    Category("sexual_orientation_gender", "", "Sexual", "Sex life, sexual orientation and gender", true, &["essentialism-profiling", "malicious-use"], &["diversity-representation"]),
    Category("ethnicity", "", "Ethnicity", "Racial or ethnic origin", true, &["essentialism-profiling", "access-disparities"], &["diversity-representation"]),
    Category("trade_union", "", "TradeUnionMembership", "Trade union membership", true, &["malicious-use"], &["democratisation-participation"]),
    Category("genetic", "", "Genetic", "Genetic data", true, &["privacy", "essentialism-profiling"], &[]),
    Category("biometric", "", "Biometric", "Biometric data that identifies", true, &["privacy", "malicious-use"], &[]),
    Category("face-print", "biometric", "FacialPrint", "Measurements of the face", true, &[], &[]),
    Category("voice-print", "biometric", "Biometric", "Measurements of the voice", true, &[], &[]),
];

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What a new log begins with.
#[must_use]
pub fn defaults() -> (Vec<PurposeDefined>, Vec<CategoryDefined>) {
    let purpose = |Purpose(id, parent, term, title, rung, risks, benefits): &Purpose| PurposeDefined {
        id: (*id).into(),
        parent: (*parent).into(),
        iri: format!("https://w3id.org/dpv#{term}"),
        title: (*title).into(),
        risks: owned(risks),
        benefits: owned(benefits),
        rung: (*rung).into(),
    };
    let category = |Category(id, parent, term, title, special, risks, benefits): &Category| CategoryDefined {
        id: (*id).into(),
        parent: (*parent).into(),
        iri: format!("https://w3id.org/dpv/pd#{term}"),
        title: (*title).into(),
        special: *special,
        risks: owned(risks),
        benefits: owned(benefits),
    };
    (PURPOSES.iter().map(purpose).collect(), CATEGORIES.iter().map(category).collect())
}

/// The default words.
#[must_use]
pub fn default_vocabulary() -> Vocabulary {
    let (purposes, categories) = defaults();
    let mut vocabulary = Vocabulary::default();
    purposes.into_iter().for_each(|purpose| vocabulary.define_purpose(purpose));
    categories.into_iter().for_each(|category| vocabulary.define_category(category));
    vocabulary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_words_fit_together() {
        let vocabulary = default_vocabulary();
        let (purposes, categories) = defaults();
        assert_eq!(vocabulary.purposes().count(), purposes.len(), "a purpose twice");
        assert_eq!(vocabulary.categories().count(), categories.len(), "a category twice");
        let known = |risks: &[String], benefits: &[String]| {
            risks.iter().all(|tag| RISKS.contains(&tag.as_str()))
                && benefits.iter().all(|tag| BENEFITS.contains(&tag.as_str()))
        };
        for each in &purposes {
            assert!(each.parent.is_empty() || vocabulary.has_purpose(&each.parent), "{}", each.id);
            assert!(known(&each.risks, &each.benefits), "{}", each.id);
        }
        for each in &categories {
            assert!(each.parent.is_empty() || vocabulary.has_category(&each.parent), "{}", each.id);
            assert!(known(&each.risks, &each.benefits), "{}", each.id);
        }
        // Nothing is counted under a risk that nothing bears, nor left out because no word has it.
        for risk in RISKS {
            let tagged = |tags: &[String]| tags.iter().any(|tag| tag == risk);
            let found = purposes.iter().any(|each| tagged(&each.risks))
                || categories.iter().any(|each| tagged(&each.risks));
            assert!(found || risk == "effort", "{risk}");
        }
    }
}
