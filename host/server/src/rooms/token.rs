//! Secrets that the server makes, and the tokens that it signs for members and rooms (JWT, RFC 7519, HS256).

use std::collections::BTreeMap;
use std::time::Duration;

use flyloft_plugins::model::{Pair, Token};
use flyloft_rooms::App;
use http::StatusCode;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Error, Refusal};

/// The audience of a member's token, for the client API.
pub(super) const FOR_API: &str = "flyloft-api";
/// The audience of a room token, for watching and joining.
pub(super) const FOR_ROOM: &str = "flyloft-room";
/// How long a token lasts when its maker does not say.
pub const ISSUED_FOR: Duration = Duration::from_secs(60 * 60);
/// The longest that a token may last.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longer ones are not looked at.
const MAX_LENGTH: usize = 8 * 1024;

/// A token for watching or joining a room.
#[derive(Clone, Debug, Default)]
pub struct RoomTokenRequest {
    /// The `appUserId` of the member whom the token names.
    pub app_user_id: Option<String>,
    pub role: Option<String>,
    pub permissions: Vec<String>,
    pub lifetime: Option<Duration>,
    /// More claims, for the policy.
    pub claims: BTreeMap<String, serde_json::Value>,
}

/// A signed token.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    pub token: String,
    /// Milliseconds since the Unix epoch.
    pub expires_at: i64,
}

/// What stands in a token. `iss` is the App's id; times are seconds since the Unix epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    pub iss: String,
    pub aud: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    pub iat: i64,
    pub exp: i64,
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Claims {
    /// What a policy is told of the token.
    pub fn into_model(self) -> Token {
        let claims = self.other.into_iter().map(|(name, value)| Pair { name, value: value.to_string() }).collect();
        Token { subject: self.sub, room_id: self.room, role: self.role, permissions: self.permissions, claims }
    }
}

/// Signs `claims` with the App's signing secret; the App's id goes into the header, so that the key can be found again.
pub(super) fn sign(app: &App, claims: &Claims) -> Result<String, Error> {
    let header = Header { kid: Some(app.id.to_string()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(app.signing_secret.expose().as_bytes());
    jsonwebtoken::encode(&header, claims, &key).map_err(|error| {
        tracing::error!(%error, "a token can't be signed");
        Error::Refused(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the token could not be signed"))
    })
}

/// The App that a token says it was signed by. Nothing is checked yet.
pub(super) fn signer(token: &str) -> Option<String> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    jsonwebtoken::decode_header(token).ok()?.kid
}

/// Checks the signature, the issuer, the audience and the expiry.
pub(super) fn verify(app: &App, token: &str, audiences: &[&str]) -> Result<Claims, Refusal> {
    let refused = |code: &str, reason: &str| Refusal::new(StatusCode::UNAUTHORIZED, code, reason);
    let invalid = || {
        refused("token-invalid", "the token is not valid here: it must be one that this server issued for this App and purpose")
    };
    if token.len() > MAX_LENGTH {
        return Err(invalid());
    }
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(audiences);
    validation.set_issuer(&[app.id.as_str()]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    validation.leeway = 0;
    let key = DecodingKey::from_secret(app.signing_secret.expose().as_bytes());
    match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
        Ok(decoded) => Ok(decoded.claims),
        Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => {
            Err(refused("token-expired", "the token has expired: get a new one"))
        }
        Err(_) => Err(invalid()),
    }
}

/// SHA-256 as hexadecimal digits. Good enough for secrets that have 160 random bits: they can't be guessed, so they need no slow hash.
pub(super) fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `prefix` and 32 characters with 5 random bits each. The prefix lets people and secret scanners tell what it is.
fn random(prefix: &str) -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let characters = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    Ok(prefix.chars().chain(characters).collect())
}

pub(super) fn operator_token() -> Result<String, getrandom::Error> {
    random("op_")
}

pub(super) fn app_key() -> Result<String, getrandom::Error> {
    random("ak_")
}

pub(super) fn app_secret() -> Result<String, getrandom::Error> {
    random("as_")
}

pub(super) fn stream_key() -> Result<String, getrandom::Error> {
    random("sk_")
}

pub(super) fn stream_name() -> Result<String, getrandom::Error> {
    random("s_")
}

pub(super) fn signing_secret() -> Result<String, getrandom::Error> {
    Ok(random("")? + &random("")?)
}

#[cfg(test)]
mod tests {
    use super::super::new_app;
    use super::*;

    fn claims(app: &App, exp: i64) -> Claims {
        let other = BTreeMap::from([("tier".to_owned(), serde_json::json!("gold"))]);
        Claims { iss: app.id.to_string(), aud: FOR_ROOM.into(), room: Some("r".into()), iat: 0, exp, other, ..Claims::default() }
    }

    #[test]
    fn tokens_hold_for_their_app_purpose_and_time_only() {
        let app = new_app("a".into(), None, None, 0).unwrap();
        let other = new_app("b".into(), None, None, 0).unwrap();
        let far = 10_000_000_000;
        let token = sign(&app, &claims(&app, far)).unwrap();
        assert_eq!(signer(&token).as_deref(), Some(app.id.as_str()));
        let read = verify(&app, &token, &[FOR_API, FOR_ROOM]).unwrap().into_model();
        assert_eq!((read.room_id.as_deref(), read.claims[0].value.as_str()), (Some("r"), "\"gold\""));

        let code = |app: &App, token: &str, audience: &str| verify(app, token, &[audience]).unwrap_err().code;
        assert_eq!(code(&app, &token, FOR_API), "token-invalid");
        assert_eq!(code(&other, &token, FOR_ROOM), "token-invalid");
        assert_eq!(code(&app, &sign(&app, &claims(&app, 1)).unwrap(), FOR_ROOM), "token-expired");
        // Signed with the right key in the name of another App.
        assert_eq!(code(&app, &sign(&app, &claims(&other, far)).unwrap(), FOR_ROOM), "token-invalid");
        for garbage in ["", "a", "a.b.c", &token[..token.len() - 2], &"x".repeat(100_000)] {
            assert_eq!(code(&app, garbage, FOR_ROOM), "token-invalid");
        }
        // Without a signature (RFC 8725, section 2.1).
        let (_, rest) = token.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        assert_eq!(code(&app, &format!("eyJhbGciOiJub25lIn0.{body}."), FOR_ROOM), "token-invalid");
    }

    #[test]
    fn random_secrets_differ_and_have_their_prefix() {
        let (one, two) = (stream_key().unwrap(), stream_key().unwrap());
        assert!(one.starts_with("sk_") && one.len() == 35 && one != two);
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
