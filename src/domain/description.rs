//! What bounds need to know about a data subject: the age and the jurisdiction. The age is stated as a band
//! (child, teen or adult), or computed from when the person was born. For a teen, the age in years can be
//! stated too, because some bounds depend on it (GDPR Art. 8(1)).

use crate::domain::Violations;
use crate::domain::birth::Birth;
use crate::domain::event::{AgeBand, SubjectDescribed};

/// The value that withdraws a jurisdiction.
pub const UNKNOWN: &str = "unknown";
/// The ages in years that a teen may have.
pub const TEEN_YEARS: std::ops::RangeInclusive<u32> = 13..=17;

/// The age of a data subject, as it was stated last: a band, or when they were born.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// The age band; unspecified if it is unknown or follows from the birth.
    pub band: AgeBand,
    /// The age in years; only for a teen, if known.
    pub years: Option<u32>,
    /// When they were born, if that was stated. The age then changes by itself.
    pub born: Option<Birth>,
}

impl Age {
    /// The age band at `now_ms` as policies name it. With a birth, it is the band of the youngest person who
    /// fits.
    #[must_use]
    pub fn band_name(&self, now_ms: u64) -> &'static str {
        let band = match self.born.map(|born| born.years_min(now_ms)) {
            Some(0..=12) => AgeBand::Child,
            Some(13..=17) => AgeBand::Teen,
            Some(_) => AgeBand::Adult,
            None => self.band,
        };
        match band {
            AgeBand::Child => "child",
            AgeBand::Teen => "teen",
            AgeBand::Adult => "adult",
            AgeBand::Unspecified | AgeBand::Unknown => UNKNOWN,
        }
    }

    /// The minimum age in years at `now_ms`. A teen without a stated age counts as the youngest teen.
    #[must_use]
    pub fn years_min(&self, now_ms: u64) -> u32 {
        match (self.born, self.band) {
            (Some(born), _) => born.years_min(now_ms),
            (None, AgeBand::Adult) => 18,
            (None, AgeBand::Teen) => self.years.unwrap_or(*TEEN_YEARS.start()),
            _ => 0,
        }
    }

    /// The age in years at `now_ms` of the oldest person who fits the birth. Without a birth, the same as
    /// [`Age::years_min`].
    #[must_use]
    pub fn years_oldest(&self, now_ms: u64) -> u32 {
        self.born.map_or_else(|| self.years_min(now_ms), |born| born.years_max(now_ms))
    }

    /// The first time after `now_ms` at which the age changes by itself, milliseconds since the Unix epoch.
    #[must_use]
    pub fn changes_at_ms(&self, now_ms: u64) -> Option<u64> {
        self.born?.changes_ms(1).filter(|change_ms| *change_ms > now_ms).min()
    }
}

/// The description of a data subject so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The age.
    pub age: Age,
    /// A code such as `DE`, `US-CA` or `EU`; empty means unknown.
    pub jurisdiction: String,
    /// The age according to the controller's staff; `None` if they did not state one.
    pub staff_age: Option<Age>,
    /// The ledger's time of the newest description, milliseconds since the Unix epoch; 0 if there is none.
    pub recorded_at_ms: u64,
    /// The ledger's time of the newest description that states or withdraws the age, milliseconds since the
    /// Unix epoch; 0 if there is none.
    pub age_at_ms: u64,
    /// The same for the jurisdiction.
    pub jurisdiction_at_ms: u64,
}

impl Description {
    /// Applies a further description; fields that it leaves out do not change.
    pub fn apply(&mut self, description: &SubjectDescribed, recorded_at_ms: u64) {
        let born = Birth::parse(&description.born);
        match description.age_band {
            _ if born.is_some() => self.age = Age { born, ..Age::default() },
            AgeBand::Unspecified => {}
            AgeBand::Unknown => self.age = Age::default(),
            band => self.age = Age { band, years: description.age_years, born: None },
        }
        match description.jurisdiction.as_str() {
            "" => {}
            UNKNOWN => self.jurisdiction.clear(),
            place => place.clone_into(&mut self.jurisdiction),
        }
        if states_age(description) {
            self.age_at_ms = recorded_at_ms;
        }
        if !description.jurisdiction.is_empty() {
            self.jurisdiction_at_ms = recorded_at_ms;
        }
        self.recorded_at_ms = recorded_at_ms;
    }

    /// Notes the age that the controller's staff stated. Descriptions from others do not change it.
    pub fn note_staff(&mut self, description: &SubjectDescribed) {
        if states_age(description) {
            self.staff_age = (description.age_band != AgeBand::Unknown).then_some(self.age);
        }
    }

    /// Whether this description was recorded after another was stated, at `stated_ms`, and would lose to it:
    /// the other raises or withdraws the age, or replaces the jurisdiction. An age or jurisdiction that was
    /// withdrawn since stays withdrawn. Times are milliseconds since the Unix epoch.
    #[must_use]
    pub fn is_later(&self, description: &SubjectDescribed, stated_ms: u64, now_ms: u64) -> bool {
        let mut after = self.clone();
        after.apply(description, self.recorded_at_ms);
        let is_older = after.age.years_min(now_ms) > self.age.years_min(now_ms);
        let raises = after.age != self.age && (after.age == Age::default() || is_older);
        let moves = after.jurisdiction != self.jurisdiction;
        raises && stated_ms <= self.age_at_ms || moves && stated_ms <= self.jurisdiction_at_ms
    }

    /// Whether a description would raise the age above what the controller's staff stated, or withdraw their
    /// statement. `now_ms` is milliseconds since the Unix epoch.
    #[must_use]
    pub fn overrides_staff(&self, description: &SubjectDescribed, now_ms: u64) -> bool {
        let Some(staff) = self.staff_age.filter(|_| states_age(description)) else { return false };
        let mut after = self.clone();
        after.apply(description, self.recorded_at_ms);
        description.age_band == AgeBand::Unknown || after.age.years_min(now_ms) > staff.years_min(now_ms)
    }
}

fn states_age(description: &SubjectDescribed) -> bool {
    description.age_band != AgeBand::Unspecified || !description.born.is_empty()
}

/// Whether a description only takes back what was stated before.
#[must_use]
pub fn takes_back(description: &SubjectDescribed) -> bool {
    let SubjectDescribed { age_band, age_years: _, jurisdiction, born } = description;
    let states_age = !matches!(age_band, AgeBand::Unspecified | AgeBand::Unknown) || !born.is_empty();
    !states_age && matches!(jurisdiction.as_str(), "" | UNKNOWN)
}

/// Validates a description. `now_ms` is milliseconds since the Unix epoch.
///
/// # Errors
/// The description is empty, its years do not fit the age band, its birth is not a date or is in the future,
/// it states both an age and a birth, or its jurisdiction is not a code.
pub fn check(description: &SubjectDescribed, now_ms: u64) -> Result<(), Violations> {
    let band = description.age_band;
    if !states_age(description) && description.jurisdiction.is_empty() {
        return Err(Violations::one("age_band", "or `born` or `jurisdiction` must be set"));
    }
    let fits = description.age_years.is_none_or(|years| band == AgeBand::Teen && TEEN_YEARS.contains(&years));
    if !fits {
        return Err(Violations::one("age_years", "must be 13 to 17, and set only for a teen"));
    }
    if !description.born.is_empty() {
        if band != AgeBand::Unspecified {
            return Err(Violations::one("born", "must be empty if `age_band` is set: state one of them"));
        }
        if Birth::parse(&description.born).is_none_or(|born| !born.has_begun(now_ms)) {
            let problem = "must be a year, month or date of birth since 1900, such as `2010`, `2010-05` or \
                           `2010-05-17`, and not in the future";
            return Err(Violations::one("born", problem));
        }
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
        SubjectDescribed { age_band, age_years, jurisdiction: jurisdiction.into(), born: String::new() }
    }

    fn born(text: &str) -> SubjectDescribed {
        SubjectDescribed { born: text.into(), ..SubjectDescribed::default() }
    }

    /// 2026-01-01, UTC.
    const NOW_MS: u64 = 1_767_225_600_000;

    #[test]
    fn missing_fields_do_not_change_and_unknown_withdraws_a_value() {
        let mut description = Description::default();
        let age = |of: &Description| {
            (of.age.band_name(NOW_MS), of.age.years_min(NOW_MS), of.age.years_oldest(NOW_MS))
        };
        assert_eq!(age(&description), ("unknown", 0, 0));
        description.apply(&described(AgeBand::Teen, Some(15), "DE"), 1);
        assert_eq!(age(&description), ("teen", 15, 15));
        description.apply(&described(AgeBand::Unspecified, None, "US-CA"), 2);
        assert_eq!((age(&description), description.jurisdiction.as_str()), (("teen", 15, 15), "US-CA"));
        // A new age band without years clears the years.
        description.apply(&described(AgeBand::Teen, None, ""), 3);
        assert_eq!(age(&description), ("teen", 13, 13));
        // The newest statement counts, be it a band or a birth.
        description.apply(&born("2010"), 4);
        assert_eq!(age(&description), ("teen", 15, 16));
        description.apply(&described(AgeBand::Adult, None, "unknown"), 5);
        assert_eq!((age(&description), description.jurisdiction.as_str()), (("adult", 18, 18), ""));
        description.apply(&born("2014-01-02"), 6);
        assert_eq!(age(&description), ("child", 11, 11), "at UTC+14, it is not yet January 2");
        description.apply(&described(AgeBand::Unknown, None, ""), 7);
        assert_eq!((age(&description), description.recorded_at_ms), (("unknown", 0, 0), 7));
    }

    #[test]
    fn a_late_description_does_not_undo_what_was_stated_or_withdrawn_later() {
        let mut description = Description::default();
        let adult = described(AgeBand::Adult, None, "US-TX");
        assert!(!description.is_later(&adult, 1, NOW_MS), "nothing was stated");
        description.apply(&described(AgeBand::Adult, None, "DE"), 9);
        description.apply(&described(AgeBand::Unknown, None, "unknown"), 11);
        assert!(description.is_later(&adult, 10, NOW_MS) && description.is_later(&adult, 11, NOW_MS));
        assert!(!description.is_later(&adult, 12, NOW_MS));
        for (late, is_late) in [
            (described(AgeBand::Teen, None, ""), true),
            (described(AgeBand::Unspecified, None, "DE"), true),
            (described(AgeBand::Child, None, ""), false),
        ] {
            assert_eq!(description.is_later(&late, 10, NOW_MS), is_late, "{late:?}");
        }
        // A later statement about the place says nothing about the age.
        description.apply(&described(AgeBand::Teen, None, ""), 13);
        description.apply(&described(AgeBand::Unspecified, None, "DE"), 15);
        assert!(!description.is_later(&described(AgeBand::Adult, None, ""), 14, NOW_MS));
        assert!(description.is_later(&described(AgeBand::Adult, None, "FR"), 14, NOW_MS));
    }

    #[test]
    fn an_invalid_description_is_rejected() {
        let fails = |description| check(&description, NOW_MS).is_err();
        assert!(fails(described(AgeBand::Unspecified, None, "")));
        assert!(fails(described(AgeBand::Child, Some(15), "")));
        assert!(fails(SubjectDescribed { age_band: AgeBand::Child, ..born("2016") }), "one of them");
        assert!(fails(born("2027")) && fails(born("soon")) && fails(born("2026-01-02")));
        assert!(!fails(born("2026")) && !fails(born("2010-05")));
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
