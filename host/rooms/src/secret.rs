//! A string that must not leak by accident.

/// A secret. It shows itself only through [`Secret::expose`]; `Debug` and `Display` don't, and it does not serialise.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_only_on_purpose() {
        let secret = Secret::new("sk_hush");
        assert!(!format!("{secret:?} {secret} {:?}", Some(&secret)).contains("hush"));
        assert_eq!(secret.expose(), "sk_hush");
    }
}
