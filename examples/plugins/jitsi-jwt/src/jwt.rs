//! Checks JSON Web Tokens (RFC 7519) signed with HS256 or RS256 (RFC 7518, sections 3.2 and 3.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::signature::Verifier;
use rsa::{BigUint, RsaPublicKey};
use serde_json::Value;
use sha2::Sha256;

/// Seconds by which the clock of the issuer may be wrong.
const LEEWAY: u64 = 30;

/// What signatures are checked with. A token's header chooses among them, but what is not set is never accepted, so a public
/// key can't be passed off as a shared one.
pub struct Keys<'a> {
    /// For HS256.
    pub shared: Option<&'a str>,
    /// For RS256: a JSON Web Key Set (RFC 7517).
    pub jwks: Option<&'a str>,
}

/// The claims of a token whose signature, expiry and beginning are good at `now`, in seconds since the Unix epoch.
pub fn verify(token: &str, keys: &Keys<'_>, now: u64) -> Result<Value, &'static str> {
    let (signed, signature) = token.rsplit_once('.').ok_or("it is no JSON Web Token")?;
    let (header, claims) = signed.split_once('.').ok_or("it is no JSON Web Token")?;
    let header = json(header).ok_or("its header cannot be read")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature cannot be read")?;
    match header["alg"].as_str() {
        Some("HS256") => check_hs256(signed, &signature, keys.shared.ok_or("HS256 needs the secret \"shared-key\"")?)?,
        Some("RS256") => check_rs256(signed, &signature, &header["kid"], keys.jwks.ok_or("RS256 needs the setting \"jwks\"")?)?,
        _ => return Err("it is signed with neither HS256 nor RS256"),
    }
    let claims = json(claims).ok_or("its claims cannot be read")?;
    let expiry = seconds(&claims["exp"]).ok_or("it has no expiry (\"exp\")")?;
    if expiry.saturating_add(LEEWAY) <= now {
        return Err("it has expired");
    }
    if !claims["nbf"].is_null() && seconds(&claims["nbf"]).is_none_or(|begin| begin > now + LEEWAY) {
        return Err("it is not valid yet");
    }
    Ok(claims)
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A time as the claims have it, which may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|time| *time >= 0.0).map(|time| time as u64))
}

fn check_hs256(signed: &str, signature: &[u8], key: &str) -> Result<(), &'static str> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| "the shared key cannot be used")?;
    mac.update(signed.as_bytes());
    // Compares in constant time.
    mac.verify_slice(signature).map_err(|_| "its signature is wrong")
}

fn check_rs256(signed: &str, signature: &[u8], kid: &Value, jwks: &str) -> Result<(), &'static str> {
    let jwks: Value = serde_json::from_str(jwks).map_err(|_| "the setting \"jwks\" is no JSON")?;
    let keys = jwks["keys"].as_array().ok_or("the setting \"jwks\" has no list \"keys\"")?;
    let named = |key: &&Value| key["kty"] == "RSA" && (kid.is_null() || key["kid"].is_null() || key["kid"] == *kid);
    let signature = Signature::try_from(signature).map_err(|_| "its signature cannot be read")?;
    let mut keys = keys.iter().filter(named).filter_map(rsa_key).peekable();
    keys.peek().ok_or("the setting \"jwks\" has no RSA key for it")?;
    let good = keys.any(|key| VerifyingKey::<Sha256>::new(key).verify(signed.as_bytes(), &signature).is_ok());
    if good { Ok(()) } else { Err("its signature is wrong") }
}

fn rsa_key(key: &Value) -> Option<RsaPublicKey> {
    let number = |name: &str| Some(BigUint::from_bytes_be(&URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok()?));
    RsaPublicKey::new(number("n")?, number("e")?).ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// A key pair made with OpenSSL for this test, and a token that OpenSSL has signed with it.
    const JWKS: &str = include_str!("../tests/jwks.json");
    const RS256: &str = include_str!("../tests/rs256.jwt");
    const NOW: u64 = 1_800_000_000;

    pub fn sign_hs256(claims: &Value, key: &str) -> String {
        let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn encode(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn hs256(claims: Value) -> Result<Value, &'static str> {
        verify(&sign_hs256(&claims, "key"), &Keys { shared: Some("key"), jwks: None }, NOW)
    }

    #[test]
    fn times_are_checked_with_some_leeway() {
        assert!(hs256(json!({"exp": NOW + 1})).is_ok());
        assert!(hs256(json!({"exp": NOW - 29, "nbf": NOW + 30})).is_ok());
        assert!(hs256(json!({"exp": (NOW + 1) as f64 + 0.5})).is_ok());
        assert_eq!(hs256(json!({"exp": NOW - 30})), Err("it has expired"));
        assert_eq!(hs256(json!({"exp": NOW + 1, "nbf": NOW + 31})), Err("it is not valid yet"));
        assert_eq!(hs256(json!({"exp": NOW + 1, "nbf": "soon"})), Err("it is not valid yet"));
        assert!(hs256(json!({})).is_err_and(|problem| problem.contains("exp")));
        assert!(hs256(json!({"exp": "never"})).is_err_and(|problem| problem.contains("exp")));
    }

    #[test]
    fn a_signature_must_be_right() {
        let token = sign_hs256(&json!({"exp": NOW + 1}), "key");
        let with = |token: &str, shared| verify(token, &Keys { shared, jwks: None }, NOW);
        assert!(with(&token, Some("key")).is_ok());
        assert_eq!(with(&token, Some("other")), Err("its signature is wrong"));
        assert!(with(&token, None).is_err());
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert!(with(&format!("{rest}."), Some("key")).is_err());
        for broken in ["", ".", "..", "a.b.c", rest] {
            assert!(with(broken, Some("key")).is_err(), "{broken:?}");
        }
        let none = format!("{}.{}.", encode(&json!({"alg": "none"})), encode(&json!({"exp": NOW + 1})));
        assert!(with(&none, Some("key")).is_err_and(|problem| problem.contains("neither")));
    }

    #[test]
    fn what_openssl_has_signed_is_accepted() {
        let with = |token: &str, jwks: &str| verify(token.trim(), &Keys { shared: None, jwks: Some(jwks) }, NOW);
        assert_eq!(with(RS256, JWKS).unwrap()["iss"], "meet");
        let wrong = RS256.trim().replace("..", ".").replacen('e', "f", 5);
        assert!(with(&wrong, JWKS).is_err());
        assert!(with(RS256, r#"{"keys": []}"#).is_err_and(|problem| problem.contains("no RSA key")));
        assert!(with(RS256, &JWKS.replace("test-1", "test-2")).is_err_and(|problem| problem.contains("no RSA key")));
    }

    #[test]
    fn a_public_key_is_no_shared_key() {
        let forged = sign_hs256(&json!({"exp": NOW + 1}), JWKS);
        assert!(verify(&forged, &Keys { shared: None, jwks: Some(JWKS) }, NOW).is_err());
    }
}
