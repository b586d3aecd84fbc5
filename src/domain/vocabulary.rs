//! Purposes and categories: two hierarchies, defined by events, with W3C Data Privacy Vocabulary IRIs.

use sayso_proof::event::{CategoryDefined, PurposeDefined};
use std::collections::BTreeMap;

/// Levels from a word up to its top. What is deeper is not published; the verifier cuts lines off at the same depth.
pub const LINE_MAX: usize = 32;
const NEAR_MAX: usize = 3;

/// The words in force.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    purposes: BTreeMap<String, PurposeDefined>,
    categories: BTreeMap<String, CategoryDefined>,
}

/// What is said of a word that is not defined.
#[must_use]
pub fn unknown(what: &str, near: &[String]) -> String {
    match near {
        [] => format!("must be a defined {what}; `sayso purpose list` shows them"),
        _ => format!("must be a defined {what}; near: {}", near.join(", ")),
    }
}

impl Vocabulary {
    /// Adds a purpose or replaces it.
    pub fn define_purpose(&mut self, purpose: PurposeDefined) {
        self.purposes.insert(purpose.id.clone(), purpose);
    }

    /// Adds a category or replaces it.
    pub fn define_category(&mut self, category: CategoryDefined) {
        self.categories.insert(category.id.clone(), category);
    }

    /// All purposes, by id.
    pub fn purposes(&self) -> impl Iterator<Item = &PurposeDefined> {
        self.purposes.values()
    }

    /// All categories, by id.
    pub fn categories(&self) -> impl Iterator<Item = &CategoryDefined> {
        self.categories.values()
    }

    /// Whether a purpose is defined.
    #[must_use]
    pub fn has_purpose(&self, id: &str) -> bool {
        self.purposes.contains_key(id)
    }

    /// Whether a category is defined.
    #[must_use]
    pub fn has_category(&self, id: &str) -> bool {
        self.categories.contains_key(id)
    }

    /// A purpose and its ancestors, nearest first. A word that is not defined stands alone.
    #[must_use]
    pub fn purpose_line<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        line(id, |id| self.purposes.get(id).map(|purpose| purpose.parent.as_str()))
    }

    /// A category and its ancestors, nearest first. A word that is not defined stands alone.
    #[must_use]
    pub fn category_line<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        line(id, |id| self.categories.get(id).map(|category| category.parent.as_str()))
    }

    /// Of a category and its ancestors, those that are special (GDPR Art. 9(1)), nearest first: marked so, or below
    /// one that is.
    #[must_use]
    pub fn special_line<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let mut line = self.category_line(id);
        let marked = |id: &&str| self.categories.get(*id).is_some_and(|category| category.special);
        let special = line.iter().rposition(marked).map_or(0, |last| last.saturating_add(1));
        line.truncate(special);
        line
    }

    /// Whether a category or one of its ancestors is special (GDPR Art. 9(1)).
    #[must_use]
    pub fn is_special(&self, id: &str) -> bool {
        !self.special_line(id).is_empty()
    }

    /// Whether with this purpose every line would still end, and within [`LINE_MAX`].
    #[must_use]
    pub fn can_take_purpose(&self, purpose: &PurposeDefined) -> bool {
        let parent = |id: &str| {
            let parent = self.purposes.get(id).map(|purpose| purpose.parent.as_str());
            if id == purpose.id { Some(purpose.parent.as_str()) } else { parent }
        };
        let ends = |id: &str| {
            let next = |id: &&str| parent(id).filter(|above| !above.is_empty());
            std::iter::successors(Some(id), next).nth(LINE_MAX).is_none()
        };
        ends(&purpose.id) && self.purposes.keys().all(|id| ends(id))
    }

    /// Purposes that a misspelt one may have meant.
    #[must_use]
    pub fn near_purposes(&self, id: &str) -> Vec<String> {
        near(id, self.purposes.keys())
    }

    /// Categories that a misspelt one may have meant.
    #[must_use]
    pub fn near_categories(&self, id: &str) -> Vec<String> {
        near(id, self.categories.keys())
    }
}

fn line<'a>(id: &'a str, parent: impl Fn(&str) -> Option<&'a str>) -> Vec<&'a str> {
    let mut line = vec![id];
    let mut next = parent(id);
    while let Some(above) = next.filter(|above| !above.is_empty() && line.len() < LINE_MAX) {
        if line.contains(&above) {
            break;
        }
        line.push(above);
        next = parent(above);
    }
    line
}

fn near<'a>(id: &str, words: impl Iterator<Item = &'a String>) -> Vec<String> {
    let within = (id.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &String)> = words
        .map(|word| (distance(id, word), word))
        .filter(|(distance, word)| *distance <= within || (id.len() > 2 && word.contains(id)))
        .collect();
    found.sort();
    found.into_iter().take(NEAR_MAX).map(|(_, word)| word.clone()).collect()
}

/// Levenshtein distance of short words; far for long ones.
fn distance(left: &str, right: &str) -> usize {
    if left.len() > 64 || right.len() > 64 {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for ((b, diagonal), above) in right.iter().zip(&row).zip(row.iter().skip(1)) {
            let swap = diagonal.saturating_add(usize::from(a != *b));
            let last = next.last().copied().unwrap_or_default();
            next.push(swap.min(above.saturating_add(1)).min(last.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// (id, parent, DPV term, title)
const PURPOSES: [(&str, &str, &str, &str); 12] = [
    ("personalization", "", "Personalisation", "Adapting replies to the person"),
    (
        "tone-adaptation",
        "personalization",
        "ServicePersonalisation",
        "Speaking in a way that suits the person",
    ),
    (
        "content-relevance",
        "personalization",
        "ServicePersonalisation",
        "Choosing content that matters to the person",
    ),
    ("memory", "personalization", "ServicePersonalisation", "Remembering what the person said before"),
    (
        "accessibility",
        "personalization",
        "UserInterfacePersonalisation",
        "Fitting replies to the person's needs",
    ),
    (
        "recommendation",
        "personalization",
        "ProvidePersonalisedRecommendations",
        "Recommending things to the person",
    ),
    ("companionship", "personalization", "ServicePersonalisation", "Keeping the person company"),
    ("safety", "", "EnforceSecurity", "Keeping the person and others safe"),
    ("model-training", "", "ServiceOptimisation", "Training models"),
    ("research", "", "ResearchAndDevelopment", "Research"),
    ("advertising", "", "Advertising", "Advertising"),
    ("analytics", "", "ServiceUsageAnalytics", "Counting and measuring use"),
];

/// (id, parent, term of DPV's personal data extension, title, special). Where DPV has no word, the nearest above.
const CATEGORIES: [(&str, &str, &str, &str, bool); 22] = [
    ("activity", "", "Behavioural", "What the person does", false),
    ("preference", "", "Preference", "What the person likes", false),
    ("communication-style", "preference", "Preference", "How the person likes to be spoken to", false),
    ("language", "preference", "Language", "Languages the person uses", false),
    ("work", "", "Professional", "Work and profession", false),
    ("family", "", "Family", "Family", false),
    ("location", "", "Location", "Where the person is or lives", false),
    ("relationship", "", "Relationship", "Friends and partners", false),
    ("education", "", "Education", "Learning and education", false),
    ("finance", "", "Financial", "Money", false),
    ("contact", "", "Contact", "How the person can be reached", false),
    ("identity", "", "Identifying", "Who the person is", false),
    ("health", "", "Health", "Health", true),
    ("mental-health", "health", "MentalHealth", "Mental health", true),
    ("disability", "health", "Disability", "Disability", true),
    ("political_opinion", "", "PoliticalOpinion", "Political opinions", true),
    ("religious_belief", "", "ReligiousBelief", "Religious or philosophical beliefs", true),
    ("sexual_orientation_gender", "", "Sexual", "Sex life, sexual orientation and gender", true),
    ("ethnicity", "", "Ethnicity", "Racial or ethnic origin", true),
    ("trade_union", "", "TradeUnionMembership", "Trade union membership", true),
    ("genetic", "", "Genetic", "Genetic data", true),
    ("biometric", "", "Biometric", "Biometric data that identifies", true),
];

/// What a new log begins with.
#[must_use]
pub fn defaults() -> (Vec<PurposeDefined>, Vec<CategoryDefined>) {
    let purpose = |(id, parent, term, title): (&str, &str, &str, &str)| PurposeDefined {
        id: id.into(),
        parent: parent.into(),
        iri: format!("https://w3id.org/dpv#{term}"),
        title: title.into(),
    };
    let category = |(id, parent, term, title, special): (&str, &str, &str, &str, bool)| CategoryDefined {
        id: id.into(),
        parent: parent.into(),
        iri: format!("https://w3id.org/dpv/pd#{term}"),
        title: title.into(),
        special,
    };
    (PURPOSES.map(purpose).to_vec(), CATEGORIES.map(category).to_vec())
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
    fn lines_go_up_and_end() {
        let mut vocabulary = default_vocabulary();
        assert_eq!(vocabulary.purpose_line("memory"), ["memory", "personalization"]);
        assert!(vocabulary.is_special("mental-health") && !vocabulary.is_special("work"));
        let circle = |id: &str, parent: &str| PurposeDefined {
            id: id.into(),
            parent: parent.into(),
            ..PurposeDefined::default()
        };
        vocabulary.define_purpose(circle("a", "b"));
        vocabulary.define_purpose(circle("b", "a"));
        assert_eq!(vocabulary.purpose_line("a"), ["a", "b"]);
    }

    #[test]
    fn misspelt_words_find_their_neighbours() {
        let vocabulary = default_vocabulary();
        assert_eq!(vocabulary.near_categories("helth"), ["health"]);
        assert_eq!(vocabulary.near_purposes("tone-adaption"), ["tone-adaptation"]);
        assert!(vocabulary.near_purposes("zzzzzz").is_empty());
    }
}
