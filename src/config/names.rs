//! Which names a ledger or a controller may have.

/// What [`is_name`] allows, for error messages.
pub(super) const NAME_ALLOWED: &str = "1 to 64 of a-z, 0-9, `.`, `-`, `_`";

/// Whether a text can name a ledger or a controller.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}
