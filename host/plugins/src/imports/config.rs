//! `wasi:config/store`: the settings and secrets that the operator has given to the plugin.

use crate::sandbox::Sandbox;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

pub(super) const STORE: &str = "wasi:config/store@0.2.0-rc.1";

/// Settings lie in memory, so that reading them does not fail.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the interface has them")]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Answer<T> = (Result<T, Error>,);

pub(super) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut store = linker.instance(STORE)?;
    store.func_wrap("get", |cx: StoreContextMut<'_, Sandbox>, (key,): (String,)| {
        let grants = cx.data().grants();
        let setting = grants.config.get(&key).cloned();
        let setting = setting.or_else(|| grants.secrets.get(&key).map(|secret| secret.reveal().to_owned()));
        let answer: Answer<Option<String>> = (Ok(setting),);
        Ok(answer)
    })?;
    store.func_wrap("get-all", |cx: StoreContextMut<'_, Sandbox>, (): ()| {
        let grants = cx.data().grants();
        let settings = grants.config.iter().map(|(name, value)| (name.clone(), value.clone()));
        // Where both have a name, `get` answers the setting; so does this.
        let secrets = grants.secrets.iter().filter(|(name, _)| !grants.config.contains_key(*name));
        let secrets = secrets.map(|(name, secret)| (name.clone(), secret.reveal().to_owned()));
        let answer: Answer<Vec<(String, String)>> = (Ok(settings.chain(secrets).collect()),);
        Ok(answer)
    })
}
