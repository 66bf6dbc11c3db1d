//! Names that cannot be guessed.

/// 128 random bits as 32 hexadecimal digits.
pub fn random_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
