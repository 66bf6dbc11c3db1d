//! A small store that outlives the call (`wasi:keyvalue`). Only this plugin sees it, and it holds as much as the operator has
//! granted. Keys have 1 to 256 bytes and values up to 64 KiB.

/// Why the store did not do what it was asked for, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// The plugin's store.
pub struct Store(system::Bucket);

impl Store {
    /// Opens it.
    ///
    /// # Errors
    /// When the operator has granted none.
    pub fn open() -> Result<Store, Error> {
        system::open().map(Store)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the key is too long, or the store can't be reached.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.0.read(key)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// When it does not fit, or the store can't be reached.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.0.write(key, value.as_ref())
    }

    /// Takes a value away, if there is one.
    ///
    /// # Errors
    /// When the store can't be reached.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        self.0.remove(key)
    }

    /// Adds to a number, which is 0 when it is not there, and answers the sum. Calls that do so at the same time do not lose
    /// each other's changes.
    ///
    /// # Errors
    /// When the value is no number, or it does not fit, or the store can't be reached.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        self.0.add(key, delta)
    }

    /// Replaces a value by what `change` makes of it, again and again until nothing else has changed it meanwhile; None
    /// leaves it as it is. Answers the value that is there in the end.
    ///
    /// # Errors
    /// When it does not fit, or the store can't be reached.
    pub fn update(&self, key: &str, change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
        self.0.update(key, change)
    }

    /// All keys.
    ///
    /// # Errors
    /// When the store can't be reached.
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        self.0.all_keys()
    }
}

#[cfg(target_family = "wasm")]
mod system {
    use super::Error;
    use crate::imports::bindings::wasi::keyvalue::{atomics, store};
    pub(super) use store::Bucket;

    fn failed(error: store::Error) -> Error {
        Error(match error {
            store::Error::NoSuchStore => "there is no such store".to_owned(),
            store::Error::AccessDenied => "this plugin has no store; grant it a quota".to_owned(),
            store::Error::Other(reason) => reason,
        })
    }

    pub(super) fn open() -> Result<Bucket, Error> {
        store::open("default").map_err(failed)
    }

    impl Bucket {
        pub(super) fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
            self.get(key).map_err(failed)
        }

        pub(super) fn write(&self, key: &str, value: &[u8]) -> Result<(), Error> {
            self.set(key, value).map_err(failed)
        }

        pub(super) fn remove(&self, key: &str) -> Result<(), Error> {
            self.delete(key).map_err(failed)
        }

        pub(super) fn add(&self, key: &str, delta: i64) -> Result<i64, Error> {
            atomics::increment(self, key, delta).map_err(failed)
        }

        pub(super) fn update(
            &self,
            key: &str,
            mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
        ) -> Result<Option<Vec<u8>>, Error> {
            let mut cas = atomics::Cas::new(self, key).map_err(failed)?;
            loop {
                let current = cas.current().map_err(failed)?;
                let Some(value) = change(current.as_deref()) else {
                    return Ok(current);
                };
                match atomics::swap(cas, &value) {
                    Ok(()) => return Ok(Some(value)),
                    Err(atomics::CasError::CasFailed(now)) => cas = now,
                    Err(atomics::CasError::StoreError(error)) => return Err(failed(error)),
                }
            }
        }

        pub(super) fn all_keys(&self) -> Result<Vec<String>, Error> {
            let (mut keys, mut cursor) = (Vec::new(), None);
            loop {
                let page = self.list_keys(cursor.as_deref()).map_err(failed)?;
                keys.extend(page.keys);
                match page.cursor {
                    Some(next) => cursor = Some(next),
                    None => return Ok(keys),
                }
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod system {
    use super::Error;
    use crate::imports::native::host;
    use std::collections::BTreeMap;

    pub(super) struct Bucket;

    fn values<T>(work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, Error> {
        let missing = || Error("this plugin has no store; call testing::key_value first".to_owned());
        host(|host| host.values.as_mut().map(work).ok_or_else(missing))
    }

    pub(super) fn open() -> Result<Bucket, Error> {
        values(|_| Bucket)
    }

    impl Bucket {
        pub(super) fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
            values(|values| values.get(key).cloned())
        }

        pub(super) fn write(&self, key: &str, value: &[u8]) -> Result<(), Error> {
            values(|values| {
                values.insert(key.to_owned(), value.to_vec());
            })
        }

        pub(super) fn remove(&self, key: &str) -> Result<(), Error> {
            values(|values| {
                values.remove(key);
            })
        }

        pub(super) fn add(&self, key: &str, delta: i64) -> Result<i64, Error> {
            let number = match self.read(key)? {
                None => Some(0),
                Some(value) => std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i64>().ok()),
            };
            let sum = number.and_then(|number| number.checked_add(delta));
            let sum = sum.ok_or_else(|| Error(format!("the value of {key:?} can't be incremented")))?;
            self.write(key, sum.to_string().as_bytes())?;
            Ok(sum)
        }

        pub(super) fn update(
            &self,
            key: &str,
            mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
        ) -> Result<Option<Vec<u8>>, Error> {
            let current = self.read(key)?;
            match change(current.as_deref()) {
                Some(value) => self.write(key, &value).map(|()| Some(value)),
                None => Ok(current),
            }
        }

        pub(super) fn all_keys(&self) -> Result<Vec<String>, Error> {
            values(|values| values.keys().cloned().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_test_has_a_store_of_its_own() {
        assert!(Store::open().is_err());
        testing::key_value(&[("n", "4")]);
        let store = Store::open().unwrap();
        assert_eq!(store.increment("n", 3), Ok(7));
        store.set("a", "one").unwrap();
        assert_eq!(store.update("a", |value| value.map(|value| [value, b"!"].concat())), Ok(Some(b"one!".to_vec())));
        assert_eq!(store.keys().unwrap(), ["a", "n"]);
        store.delete("a").unwrap();
        assert_eq!(store.get("a"), Ok(None));
    }
}
