//! Settings and secrets that the operator has given to the plugin (`wasi:config`).

/// The setting of this name, if there is one.
pub fn get(name: &str) -> Option<String> {
    system::get(name)
}

/// A setting that the plugin can't do without.
///
/// # Errors
/// Says which one is missing.
pub fn required(name: &str) -> Result<String, String> {
    get(name).ok_or_else(|| format!("the setting {name:?} is missing; give it with the plugin's binding"))
}

/// A setting that is a number, `true` or `false`, an address: anything that is read from text.
///
/// # Errors
/// Says which one can't be read, and why. One that is missing is None.
pub fn parsed<T>(name: &str) -> Result<Option<T>, String>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let read = |text: String| text.trim().parse().map_err(|error| format!("the setting {name:?} can't be read: {error}"));
    get(name).map(read).transpose()
}

/// A setting with several values, which commas or line breaks separate. Empty when it is missing.
pub fn list(name: &str) -> Vec<String> {
    let text = get(name).unwrap_or_default();
    text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(target_family = "wasm")]
mod system {
    use crate::imports::bindings::wasi::config::store;

    pub(super) fn get(name: &str) -> Option<String> {
        // The host's settings lie in its memory; an error of theirs has no other meaning for a plugin than their absence.
        store::get(name).unwrap_or_default()
    }
}

#[cfg(not(target_family = "wasm"))]
mod system {
    use crate::imports::native::host;

    pub(super) fn get(name: &str) -> Option<String> {
        host(|host| host.config.get(name).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn settings_are_read() {
        testing::config(&[("limit", " 7 "), ("urls", "a, b\n\nc,"), ("bad", "x")]);
        assert_eq!(parsed::<u32>("limit"), Ok(Some(7)));
        assert_eq!(parsed::<u32>("none"), Ok(None));
        assert!(parsed::<u32>("bad").unwrap_err().contains("\"bad\""));
        assert_eq!(list("urls"), ["a", "b", "c"]);
        assert!(list("none").is_empty());
        assert!(required("none").unwrap_err().contains("\"none\""));
    }
}
