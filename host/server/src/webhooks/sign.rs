//! Signatures as Standard Webhooks defines them: HMAC-SHA256 over id, time and body, under every secret that is valid.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flyloft_rooms::Secret;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Random bytes of a secret; the specification wants 24 to 64.
const SECRET_BYTES: usize = 32;

/// A new secret.
pub fn new_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes))))
}

/// The value of `webhook-signature`: one signature for each secret, separated by spaces. `timestamp` is seconds since the Unix epoch.
pub fn signatures<'a>(secrets: impl IntoIterator<Item = &'a Secret>, id: &str, timestamp: i64, body: &[u8]) -> String {
    let head = format!("{id}.{timestamp}.");
    let signature = |secret: &Secret| {
        let text = secret.expose();
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let key = BASE64_STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec());
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
        context.update(head.as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    };
    secrets.into_iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_specification_s_example_holds() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signatures([&secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body), expected);
        let new = new_secret().unwrap();
        let both = signatures([&new, &secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert!(both.starts_with("v1,") && both.ends_with(&format!(" {expected}")) && both.len() == 2 * expected.len() + 1);
    }

    #[test]
    fn secrets_have_the_form_of_the_specification() {
        let (one, other) = (new_secret().unwrap(), new_secret().unwrap());
        assert_ne!(one, other);
        let bytes = BASE64_STANDARD.decode(one.expose().strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!(bytes.len(), SECRET_BYTES);
    }
}
