//! Decides which calls are handled: checks the credential, the role and the quotas of the caller, and the
//! limits on the bytes of the request, before a handler runs.

pub(crate) mod byte_budget;
pub(crate) mod credential;
pub(crate) mod decompress;
pub(crate) mod error;
pub(crate) mod issuer;
pub(crate) mod jwks;
pub(crate) mod layer;
pub(crate) mod lifetime;
pub(crate) mod message_limits;
pub(crate) mod method_names;
pub(crate) mod methods;
pub(crate) mod options;
pub(crate) mod quota;
pub(crate) mod request_body;
pub(crate) mod response_body;
pub(crate) mod role_names;
pub(crate) mod throttle;
pub(crate) mod token_cache;
pub(crate) mod token_header;
