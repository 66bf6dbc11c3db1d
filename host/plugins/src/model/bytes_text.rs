//! Bytes in JSON: as a string where they are UTF-8, which bodies nearly always are, else as `{"base64": "…"}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text<'a> {
    Plain(std::borrow::Cow<'a, str>),
    Encoded { base64: String },
}

pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Text::Plain(text.into()),
        Err(_) => Text::Encoded { base64: STANDARD.encode(bytes) },
    };
    text.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Text::deserialize(deserializer)? {
        Text::Plain(text) => Ok(text.into_owned().into_bytes()),
        Text::Encoded { base64 } => STANDARD.decode(base64).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use crate::model::ReceiverResponse;

    #[test]
    fn bytes_come_back_from_json() {
        for body in [b"ok".to_vec(), b"\xff\x00".to_vec(), Vec::new()] {
            let response = ReceiverResponse { status: 200, retry_after: None, body };
            let json = serde_json::to_value(&response).unwrap();
            assert_eq!(serde_json::from_value::<ReceiverResponse>(json).unwrap(), response);
        }
    }

    #[test]
    fn text_stays_text() {
        let response = ReceiverResponse { status: 200, retry_after: None, body: b"ok".to_vec() };
        assert_eq!(serde_json::to_value(&response).unwrap()["body"], "ok");
        let response = ReceiverResponse { body: vec![0xff], ..response };
        assert_eq!(serde_json::to_value(&response).unwrap()["body"]["base64"], "/w==");
    }
}
