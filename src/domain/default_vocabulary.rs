//! The purposes and categories that a new log begins with. Each refers to a term of the W3C Data Privacy
//! Vocabulary (DPV), version 2.
//!
//! The definitions are recorded as events when a log is created, so a change here does not affect existing
//! logs. Titles are shown both to operators and to the data subject, so they do not say "the person".

use crate::domain::event::{CategoryDefined, PurposeDefined, Rung};
use crate::domain::hierarchy::Since;
use crate::domain::vocabulary::{DECISION_RULES, Vocabulary};

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

/// A purpose: id, parent, DPV term, title, rung (its place on the ladder of rising risk), risks, benefits.
struct Purpose(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Rung,
    &'static [&'static str],
    &'static [&'static str],
);

/// A category: id, parent, term of DPV's personal data extension, title, special, risks, benefits. If DPV has
/// no exact term, the nearest broader one is used.
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
const PURPOSES: [Purpose; 44] = [
    Purpose("personalization", "", "Personalisation", "Personalized replies", NONE, &["privacy"], &["utility"]),
    Purpose("tone-adaptation", "personalization", "ServicePersonalisation", "Adapting the tone of replies", Rung::Style, &["anthropomorphism"], &["efficiency"]),
    Purpose("accessibility", "personalization", "UserInterfacePersonalisation", "Adapting replies to accessibility needs", Rung::Accessibility, &[], &["inclusion-accessibility", "autonomy"]),
    Purpose("content-relevance", "personalization", "ServicePersonalisation", "Choosing relevant content", Rung::Relevance, &["homogenisation-bias"], &["efficiency"]),
    Purpose("memory", "personalization", "ServicePersonalisation", "Remembering earlier conversations", Rung::Relevance, &["essentialism-profiling"], &["efficiency"]),
    Purpose("recommendation", "personalization", "ProvidePersonalisedRecommendations", "Personal recommendations", Rung::Relevance, &["homogenisation-bias"], &["efficiency"]),
    Purpose("viewpoint-adaptation", "personalization", "ServicePersonalisation", "Adapting replies to personal views and values", Rung::Viewpoint, &["polarisation", "homogenisation-bias", "essentialism-profiling"], &["diversity-representation"]),
    Purpose("companionship", "personalization", "ServicePersonalisation", "Companionship", Rung::Companionship, &["anthropomorphism", "addiction-over-reliance"], &["empathy-companionship"]),
    Purpose("persuasion", "", "Purpose", "Influencing opinions or actions", Rung::Persuasion, &["privacy", "polarisation"], &[]),
    Purpose("commercial-persuasion", "persuasion", "Marketing", "Influencing purchases", Rung::Persuasion, &["addiction-over-reliance"], &[]),
    Purpose("political-persuasion", "persuasion", "PoliticalCampaign", "Influencing political views or votes", Rung::Persuasion, &["malicious-use"], &[]),
    Purpose("manipulation", "persuasion", "Purpose", "Influencing by hidden or deceptive means", Rung::Persuasion, &["malicious-use"], &[]),
    Purpose("emotion-recognition", "", "Purpose", "Recognizing emotions", NONE, &["privacy", "essentialism-profiling"], &["empathy-companionship"]),
    Purpose("automated-decision", "", "Purpose", "Fully automated decisions with legal or similarly significant effects", NONE, &["essentialism-profiling", "access-disparities"], &["efficiency"]),
    Purpose("financial-decision", "automated-decision", "Purpose", "Fully automated decisions about credit, accounts or payments", NONE, &[], &[]),
    Purpose("housing-decision", "automated-decision", "Purpose", "Fully automated decisions about housing", NONE, &[], &[]),
    Purpose("education-decision", "automated-decision", "Purpose", "Fully automated decisions about admission, certificates or exclusion", NONE, &[], &[]),
    Purpose("admission-assessment", "education-decision", "Purpose", "Fully automated assessment of the ability to follow an educational program", NONE, &[], &[]),
    Purpose("employment-decision", "automated-decision", "HumanResourceManagement", "Fully automated decisions about hiring, promotion or dismissal", NONE, &[], &[]),
    Purpose("hiring-assessment", "employment-decision", "PersonnelHiring", "Fully automated assessment of the ability to do a job", NONE, &[], &[]),
    Purpose("work-allocation", "employment-decision", "PersonnelManagement", "Fully automated assignment of work or pay", NONE, &[], &[]),
    Purpose("healthcare-decision", "automated-decision", "Purpose", "Fully automated decisions about health care", NONE, &[], &[]),
    Purpose("appealable-decision", "automated-decision", "Purpose", "Fully automated decisions that a human reviewer can overturn on appeal", NONE, &[], &[]),
    Purpose("education", "", "ServiceProvision", "Teaching and learning", NONE, &[], &["inclusion-accessibility"]),
    Purpose("tutoring", "education", "ServicePersonalisation", "Tutoring in chosen subjects", Rung::Relevance, &["addiction-over-reliance"], &["autonomy", "utility"]),
    Purpose("learning-evaluation", "education", "ServiceProvision", "Evaluating learning progress", NONE, &["essentialism-profiling", "access-disparities"], &["efficiency"]),
    Purpose("employment", "", "HumanResourceManagement", "Work for an employer", NONE, &[], &["labour-productivity"]),
    Purpose("work-assistance", "employment", "ServicePersonalisation", "Help with work", Rung::Relevance, &["labour-displacement"], &["efficiency"]),
    Purpose("work-evaluation", "employment", "PersonnelPerformanceEvaluation", "Evaluating work performance", NONE, &["essentialism-profiling", "access-disparities"], &[]),
    Purpose("service-provision", "", "RequestedServiceProvision", "Providing a requested service", NONE, &[], &["utility"]),
    Purpose("safety", "", "EnforceSecurity", "Keeping people safe", NONE, &[], &[]),
    Purpose("model-training", "", "ImproveExistingProductsAndServices", "Training models", NONE, &["privacy", "environmental-harms"], &[]),
    Purpose("research", "", "ResearchAndDevelopment", "Research", NONE, &["privacy"], &[]),
    Purpose("scientific-research", "research", "ScientificResearch", "Scientific research", NONE, &[], &[]),
    Purpose("analytics", "", "ServiceUsageAnalytics", "Usage statistics", NONE, &[], &[]),
    Purpose("advertising", "", "Advertising", "Advertising", NONE, &["privacy", "addiction-over-reliance"], &[]),
    Purpose("personalised-advertising", "advertising", "PersonalisedAdvertising", "Advertising based on personal data", NONE, &["essentialism-profiling"], &[]),
    Purpose("cross-context-advertising", "advertising", "TargetedAdvertising", "Advertising based on activity in other services", NONE, &["essentialism-profiling"], &[]),
    Purpose("direct-marketing", "", "DirectMarketing", "Direct marketing", NONE, &["privacy"], &[]),
    Purpose("data-sale", "", "SellDataToThirdParties", "Selling personal data", NONE, &["privacy", "malicious-use"], &[]),
    Purpose("legal-claims", "", "DisputeManagement", "Establishing, exercising or defending legal claims", NONE, &[], &[]),
    Purpose("legal-obligation", "", "LegalCompliance", "Meeting a legal obligation", NONE, &[], &[]),
    Purpose("public-health", "", "PublicBenefit", "Protecting public health", NONE, &[], &[]),
    Purpose("rights", "", "RightsFulfilment", "Answering requests about personal data", NONE, &[], &["autonomy"]),
];

#[rustfmt::skip]
const CATEGORIES: [Category; 44] = [
    Category("activity", "", "Behavioural", "Activity", false, &[], &["efficiency"]),
    Category("preference", "", "Preference", "Preferences", false, &[], &["utility"]),
    Category("communication-style", "preference", "Preference", "Preferred tone", false, &["anthropomorphism"], &["efficiency"]),
    Category("language", "preference", "Language", "Languages", false, &[], &["inclusion-accessibility"]),
    Category("interest", "preference", "Interest", "Interests", false, &["homogenisation-bias"], &[]),
    Category("personality", "", "Personality", "Personality", false, &["essentialism-profiling"], &[]),
    Category("opinion", "", "Opinion", "Opinions, except political and religious ones", false, &["polarisation"], &["diversity-representation"]),
    Category("emotion", "", "Emotion", "Emotions", false, &["privacy", "addiction-over-reliance"], &["empathy-companionship"]),
    Category("mood", "emotion", "Mood", "Mood", false, &[], &[]),
    Category("voice", "", "VoiceCommunicationRecording", "Voice recordings", false, &["privacy"], &[]),
    Category("work", "", "Professional", "Work and profession", false, &[], &["labour-productivity"]),
    Category("work-performance", "work", "PerformanceAtWork", "Performance at work", false, &["essentialism-profiling"], &[]),
    Category("education", "", "Education", "Learning and education", false, &[], &[]),
    Category("learning-progress", "education", "EducationExperience", "Learning progress and difficulties", false, &["essentialism-profiling"], &["autonomy"]),
    Category("family", "", "Family", "Family", false, &["privacy"], &[]),
    Category("relationship", "", "Relationship", "Friends and partners", false, &["privacy"], &[]),
    Category("social-situation", "", "SocialStatus", "Social situation", false, &["essentialism-profiling"], &[]),
    Category("location", "", "Location", "Location", false, &["privacy"], &[]),
    Category("precise-location", "location", "GPSCoordinate", "Precise location, within 1,850 feet", false, &[], &[]),
    Category("finance", "", "Financial", "Money", false, &["privacy"], &[]),
    Category("financial-situation", "finance", "FinancialStatus", "Financial situation", false, &["access-disparities"], &[]),
    Category("financial-account", "finance", "FinancialAccount", "Accounts and cards, with their access codes", false, &["malicious-use"], &[]),
    Category("contact", "", "Contact", "Contact details", false, &[], &[]),
    Category("communication", "", "Communication", "Written and spoken communication", false, &["privacy"], &[]),
    Category("message-content", "communication", "EmailContent", "Content of mail and messages to others", false, &[], &[]),
    Category("identity", "", "Identifying", "Identity", false, &["privacy"], &[]),
    Category("age", "identity", "Age", "Age", false, &["essentialism-profiling"], &[]),
    Category("government-id", "identity", "OfficialID", "Government identity numbers and documents", false, &["malicious-use"], &[]),
    Category("credentials", "identity", "Authenticating", "Login credentials", false, &["malicious-use"], &[]),
    Category("citizenship", "identity", "Citizenship", "Citizenship and immigration status", false, &["access-disparities"], &[]),
    Category("criminal", "", "Criminal", "Convictions and offenses", false, &["essentialism-profiling", "access-disparities"], &[]),
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
    Category("biometric", "", "Biometric", "Biometric data that identifies a person", true, &["privacy", "malicious-use"], &[]),
    Category("face-print", "biometric", "FacialPrint", "Face measurements", true, &[], &[]),
    Category("voice-print", "biometric", "Biometric", "Voice measurements", true, &[], &[]),
];

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The definitions that a new log begins with.
#[must_use]
pub fn defaults() -> (Vec<PurposeDefined>, Vec<CategoryDefined>) {
    let purpose = |Purpose(id, parent, term, title, rung, risks, benefits): &Purpose| PurposeDefined {
        id: (*id).into(),
        parent: (*parent).into(),
        iri: format!("https://w3id.org/dpv#{term}"),
        title: (*title).into(),
        risks: owned(risks),
        benefits: owned(benefits),
        rung: (*rung),
        ..PurposeDefined::default()
    };
    let category = |Category(id, parent, term, title, special, risks, benefits): &Category| CategoryDefined {
        id: (*id).into(),
        parent: (*parent).into(),
        iri: format!("https://w3id.org/dpv/pd#{term}"),
        title: (*title).into(),
        special: *special,
        risks: owned(risks),
        benefits: owned(benefits),
        ..CategoryDefined::default()
    };
    (PURPOSES.iter().map(purpose).collect(), CATEGORIES.iter().map(category).collect())
}

/// The default vocabulary.
#[must_use]
pub fn default_vocabulary() -> Vocabulary {
    let (purposes, categories) = defaults();
    let mut vocabulary = Vocabulary::default();
    vocabulary.adopt_edition(DECISION_RULES);
    purposes.into_iter().for_each(|purpose| vocabulary.define_purpose(purpose, Since::default()));
    categories.into_iter().for_each(|category| vocabulary.define_category(category, Since::default()));
    vocabulary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_vocabulary_is_consistent() {
        let vocabulary = default_vocabulary();
        let (purposes, categories) = defaults();
        assert_eq!(vocabulary.purposes().count(), purposes.len(), "a purpose is defined twice");
        assert_eq!(vocabulary.categories().count(), categories.len(), "a category is defined twice");
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
        // Reports contain counts for each risk. Every risk except `effort` must therefore be the tag of a
        // purpose or category.
        for risk in RISKS {
            let tagged = |tags: &[String]| tags.iter().any(|tag| tag == risk);
            let found = purposes.iter().any(|each| tagged(&each.risks))
                || categories.iter().any(|each| tagged(&each.risks));
            assert!(found || risk == "effort", "{risk}");
        }
    }
}
