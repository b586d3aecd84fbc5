//! Checks URLs from the configuration and the command line: whether they use https, refer to this machine, or
//! contain a user name or a password.

use tonic::codegen::http::Uri;

/// What [`is_safe_url`] allows, for error messages.
pub(super) const SAFE_URL_ALLOWED: &str =
    "an https:// address, or http:// on this machine, without a user name or password";

/// Whether only the receiver can read what is sent to a URL: `https://`, or `http://` to this machine. A URL
/// that contains a user name or a password is not safe either, because logs and errors would show it.
#[must_use]
pub fn is_safe_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let is_safe = match uri.scheme_str() {
        Some("https") => uri.host().is_some_and(|host| !host.is_empty()),
        Some("http") => is_loopback(&uri),
        _ => false,
    };
    is_safe && !has_userinfo(&uri)
}

/// Whether a URL refers to this machine: a loopback address, or `localhost`. Names are not resolved.
#[must_use]
pub fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a URL contains a user name or a password.
#[must_use]
pub fn has_userinfo(uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_without_tls_and_no_url_has_a_password() {
        for safe in [
            "https://id.example/keys?v=1",
            "https://127.0.0.1.example",
            "http://127.0.0.1:4317",
            "http://127.9.8.7",
            "http://[::1]:80/x",
            "http://localhost:1",
            "http://LOCALHOST",
        ] {
            assert!(is_safe_url(safe), "{safe}");
        }
        for bad in [
            "http://id.example",
            "http://127.0.0.1.example:4317",
            "http://localhost.example",
            "http://10.0.0.1",
            "http://127.0.0.1:pass@id.example:4317",
            "http://127.0.0.1:4317@id.example",
            "http://user@127.0.0.1",
            "https://user:pass@id.example",
            "https://",
            "ftp://127.0.0.1",
            "id.example:443",
            "",
        ] {
            assert!(!is_safe_url(bad), "{bad}");
        }
    }
}
