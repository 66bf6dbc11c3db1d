//! Uploads that are too large or broken: each is refused with a reason, or it is a component and can be asked.

use crate::by_hand;
use crate::requests::*;
use flyloft_plugins::{Plugins, Rejected};

#[tokio::test]
async fn a_component_of_a_hundred_megabytes_is_not_looked_at() {
    let plugins = plugins();
    let mut bytes = by_hand::healthy();
    // A custom section may be as long as it likes, so this is a valid component.
    let length = 100_u32 << 20;
    bytes.push(0);
    bytes.extend_from_slice(&leb128(length));
    bytes.push(1);
    bytes.push(b'x');
    bytes.resize(bytes.len() + length as usize - 2, 0);
    let rejected = plugins.deploy("large", bytes.into()).await.unwrap_err();
    assert!(matches!(rejected, Rejected::TooLarge { .. }), "{rejected}");
    let text = rejected.to_string();
    assert!(text.contains("67108864") && text.contains("strip") && text.contains("raise the limit"), "{text}");
    assert!(verdict(&plugins, publish("stream")).await.is_ok());
}

/// An unsigned number as WebAssembly writes it.
fn leb128(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

async fn upload(plugins: &Plugins, bytes: Vec<u8>) -> bool {
    match plugins.deploy("damaged", bytes.into()).await {
        Ok(_) => true,
        Err(rejected) => {
            assert!(!rejected.to_string().is_empty());
            false
        }
    }
}

#[tokio::test]
async fn a_component_that_is_cut_anywhere_is_refused() {
    let plugins = plugins();
    let whole = by_hand::healthy();
    for length in (0..whole.len()).step_by(whole.len() / 97) {
        assert!(!upload(&plugins, whole[..length].to_vec()).await, "cut at {length} of {}", whole.len());
    }
    assert!(upload(&plugins, whole).await);
}

#[tokio::test]
async fn a_component_with_a_wrong_byte_is_refused_or_runs() {
    let plugins = plugins();
    let whole = by_hand::healthy();
    let mut refused = 0;
    for at in (8..whole.len()).step_by(whole.len() / 149) {
        for wrong in [whole[at] ^ 0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = wrong;
            refused += usize::from(!upload(&plugins, bytes).await);
        }
    }
    assert!(refused > 50, "{refused}");
    assert!(verdict(&plugins, publish("stream")).await.is_ok());
}
