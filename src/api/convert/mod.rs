//! Conversions between the API's messages and the types of the use cases (`app`), one file for each kind of
//! message.

pub mod bounds;
pub mod consent;
pub mod erasures;
pub mod grants;
pub mod profile;
pub mod reasons;
pub mod rights;
pub mod times;
pub mod uses;
pub mod writes;
