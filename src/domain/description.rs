//! What bounds need to know about a data subject: the age band and the jurisdiction. Only a teen's age is
//! also recorded in years, because some bounds depend on it (GDPR Art. 8(1)).

use crate::domain::Violations;
use crate::domain::event::{AgeBand, SubjectDescribed};

/// The value that withdraws a jurisdiction.
pub const UNKNOWN: &str = "unknown";
/// The ages in years that a teen may have.
pub const TEEN_YEARS: std::ops::RangeInclusive<u32> = 13..=17;

/// The description of a data subject so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The age band; unspecified means unknown.
    pub age_band: AgeBand,
    /// The age in years; only for a teen, if known.
    pub age_years: Option<u32>,
    /// A code such as `DE`, `US-CA` or `EU`; empty means unknown.
    pub jurisdiction: String,
    /// The minimum age in years according to the controller's staff; `None` if they did not state one.
    pub staff_years_min: Option<u32>,
    /// The ledger's time of the newest description, milliseconds since the Unix epoch; 0 if there is none.
    pub recorded_at_ms: u64,
}

impl Description {
    /// Applies a further description; fields that it leaves out do not change.
    pub fn apply(&mut self, description: &SubjectDescribed, recorded_at_ms: u64) {
        match description.age_band {
            AgeBand::Unspecified => {}
            AgeBand::Unknown => (self.age_band, self.age_years) = (AgeBand::Unspecified, None),
            band => (self.age_band, self.age_years) = (band, description.age_years),
        }
        match description.jurisdiction.as_str() {
            "" => {}
            UNKNOWN => self.jurisdiction.clear(),
            place => place.clone_into(&mut self.jurisdiction),
        }
        self.recorded_at_ms = recorded_at_ms;
    }

    /// Notes the minimum age that the controller's staff stated. Descriptions from others do not change it.
    pub fn note_staff(&mut self, description: &SubjectDescribed) {
        self.staff_years_min = match description.age_band {
            AgeBand::Unspecified => self.staff_years_min,
            AgeBand::Unknown => None,
            _ => Some(self.age_years_min()),
        };
    }

    /// Whether a description would raise the age above what the controller's staff stated, or withdraw their
    /// statement.
    #[must_use]
    pub fn overrides_staff(&self, description: &SubjectDescribed) -> bool {
        let Some(years_min) = self.staff_years_min else { return false };
        let mut after = self.clone();
        after.apply(description, self.recorded_at_ms);
        match description.age_band {
            AgeBand::Unspecified => false,
            AgeBand::Unknown => true,
            _ => after.age_years_min() > years_min,
        }
    }

    /// The age band as policies name it.
    #[must_use]
    pub fn age_band_name(&self) -> &'static str {
        match self.age_band {
            AgeBand::Child => "child",
            AgeBand::Teen => "teen",
            AgeBand::Adult => "adult",
            AgeBand::Unspecified | AgeBand::Unknown => UNKNOWN,
        }
    }

    /// The minimum age in years. A teen without a stated age counts as the youngest teen.
    #[must_use]
    pub fn age_years_min(&self) -> u32 {
        match self.age_band {
            AgeBand::Adult => 18,
            AgeBand::Teen => self.age_years.unwrap_or(*TEEN_YEARS.start()),
            _ => 0,
        }
    }
}

/// Validates a description.
///
/// # Errors
/// The description is empty, its years do not fit the age band, or its jurisdiction is not a code.
pub fn check(description: &SubjectDescribed) -> Result<(), Violations> {
    let band = description.age_band;
    if band == AgeBand::Unspecified && description.jurisdiction.is_empty() {
        return Err(Violations::one("age_band", "or `jurisdiction` must be set"));
    }
    let fits = description.age_years.is_none_or(|years| band == AgeBand::Teen && TEEN_YEARS.contains(&years));
    if !fits {
        return Err(Violations::one("age_years", "must be 13 to 17, and set only for a teen"));
    }
    if !description.jurisdiction.is_empty()
        && description.jurisdiction != UNKNOWN
        && !is_place(&description.jurisdiction)
    {
        let problem = "must be an ISO 3166 code such as `DE` or `US-CA`, `EU`, or `unknown`";
        return Err(Violations::one("jurisdiction", problem));
    }
    Ok(())
}

/// Whether a code has the form of ISO 3166-1 alpha-2 or ISO 3166-2; ISO reserves `EU` for the European
/// Union.
fn is_place(code: &str) -> bool {
    let (country, part) = code.split_once('-').map_or((code, None), |(country, part)| (country, Some(part)));
    let country_fits = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    country_fits && part.is_none_or(|part| (1..=3).contains(&part.len()) && part.bytes().all(is_allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(age_band: AgeBand, age_years: Option<u32>, jurisdiction: &str) -> SubjectDescribed {
        SubjectDescribed { age_band, age_years, jurisdiction: jurisdiction.into() }
    }

    #[test]
    fn missing_fields_do_not_change_and_unknown_withdraws_a_value() {
        let mut description = Description::default();
        assert_eq!((description.age_band_name(), description.age_years_min()), ("unknown", 0));
        description.apply(&described(AgeBand::Teen, Some(15), "DE"), 1);
        assert_eq!((description.age_band_name(), description.age_years_min()), ("teen", 15));
        description.apply(&described(AgeBand::Unspecified, None, "US-CA"), 2);
        assert_eq!((description.age_years_min(), description.jurisdiction.as_str()), (15, "US-CA"));
        // A new age band without years clears the years.
        description.apply(&described(AgeBand::Teen, None, ""), 3);
        assert_eq!(description.age_years_min(), 13);
        description.apply(&described(AgeBand::Adult, None, "unknown"), 4);
        assert_eq!((description.age_years_min(), description.jurisdiction.as_str()), (18, ""));
        description.apply(&described(AgeBand::Unknown, None, ""), 5);
        assert_eq!((description.age_band_name(), description.recorded_at_ms), ("unknown", 5));
    }

    #[test]
    fn an_invalid_description_is_rejected() {
        let fails = |description| check(&description).is_err();
        assert!(fails(described(AgeBand::Unspecified, None, "")));
        assert!(fails(described(AgeBand::Child, Some(15), "")));
        assert!(
            fails(described(AgeBand::Teen, Some(12), "")) && fails(described(AgeBand::Teen, Some(18), ""))
        );
        for place in ["de", "DEU", "D", "DE-", "DE-ABCD", "DE BY", "europe", "DE-by"] {
            assert!(fails(described(AgeBand::Unspecified, None, place)), "{place}");
        }
        for place in ["DE", "US-CA", "EU", "unknown", "FR-75C"] {
            assert!(!fails(described(AgeBand::Unspecified, None, place)), "{place}");
        }
    }
}
