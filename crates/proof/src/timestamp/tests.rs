//! Tests with tokens that `openssl ts` made (`tests/vectors/timestamp`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;

fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/timestamp/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

fn text() -> String {
    String::from_utf8(file("checkpoint.txt")).unwrap()
}

fn trusting(name: &str) -> Authorities {
    Authorities::from_pem(&file(name)).unwrap()
}

/// Checks a token as a verifier does.
fn check(bytes: &[u8], text: &str, authorities: &Authorities) -> Result<String, TimestampError> {
    let token = Token::parse(bytes)?;
    token.check_text(text)?;
    authorities.verify(&token)
}

#[test]
fn tokens_of_openssl_verify_under_their_ca_and_under_the_authoritys_own_certificate() {
    for (token, subject) in [("ec.tst", "CN=ec,O=Test"), ("rsa.tst", "CN=rsa,O=Test")] {
        assert_eq!(check(&file(token), &text(), &trusting("ca.pem")).unwrap(), subject);
    }
    assert_eq!(check(&file("ec.tst"), &text(), &trusting("ec.pem")).unwrap(), "CN=ec,O=Test");
    // 2026-11-29, with milliseconds.
    let at_ms = Token::parse(&file("ec.tst")).unwrap().time_ms();
    assert!(
        (1_795_000_000_000..1_797_000_000_000).contains(&at_ms) && !at_ms.is_multiple_of(1_000),
        "{at_ms}"
    );
}

#[test]
fn a_token_of_another_text_or_an_unknown_authority_is_rejected() {
    let (ec, rsa, ca) = (file("ec.tst"), file("rsa.tst"), trusting("ca.pem"));
    assert_eq!(check(&ec, &text().replace("\n3\n", "\n4\n"), &ca), Err(TimestampError::OtherDigest));
    for authorities in [trusting("other-ca.pem"), Authorities::default()] {
        assert!(matches!(check(&ec, &text(), &authorities), Err(TimestampError::Untrusted(_))));
    }
    assert!(matches!(check(&rsa, &text(), &trusting("ec.pem")), Err(TimestampError::Untrusted(_))));
    for malformed in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Authorities::from_pem(malformed.as_bytes()).is_err(), "{malformed:?}");
    }
}

#[test]
fn no_changed_byte_of_a_token_changes_what_it_says() {
    let ca = trusting("ca.pem");
    for name in ["ec.tst", "rsa.tst"] {
        let bytes = file(name);
        let honest = Token::parse(&bytes).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // A change may be outside of what is signed, but then the token says the same.
            if check(&changed, &text(), &ca).is_ok() {
                let token = Token::parse(&changed).unwrap();
                assert_eq!((token.time_ms(), &token.info), (honest.time_ms(), &honest.info), "{name} {at}");
            }
            assert!(check(&bytes[..at], &text(), &ca).is_err());
        }
        assert!(check(&[&bytes[..], &[0]].concat(), &text(), &ca).is_err());
    }
    assert!(matches!(Token::parse(&vec![0x30; TOKEN_BYTES_MAX + 1]), Err(TimestampError::TooLarge)));
    // Nested as deeply as the limit of bytes allows.
    assert!(Token::parse(&[0x30, 0x80].repeat(TOKEN_BYTES_MAX / 2)).is_err());
}

#[test]
fn a_response_is_accepted_only_for_its_own_request() {
    let response = file("ec.tsr");
    // The nonce that openssl chose for this request: 0x339e216fe3b90b9f is not a nonce that `request` makes.
    assert_eq!(token_of_response(&response, &text(), [1; 8]), Err(TimestampError::OtherNonce));
    assert_eq!(token_of_response(&response, "other", [1; 8]), Err(TimestampError::OtherDigest));
    let one = request(&text(), [1; 8]).unwrap();
    assert_ne!(one, request(&text(), [2; 8]).unwrap());
    assert_eq!(one.len(), request(&text(), [0xff; 8]).unwrap().len());
    // `PKIStatus` 2: rejection.
    let refused = [0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02];
    assert_eq!(token_of_response(&refused, &text(), [1; 8]), Err(TimestampError::Refused(2)));
    assert!(token_of_response(&response[..50], &text(), [1; 8]).is_err());
}
