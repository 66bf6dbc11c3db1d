//! A loaded component: what it exports, its pre-linked instance, and its counts. Loading checks everything that an
//! author can get wrong and says what to do about it.

use crate::api::{CallLimits, Inspection, Interface, PluginInfo};
use crate::call;
use crate::counters::Tally;
use crate::error::{FaultKind, Rejected};
use crate::imports::{AVAILABLE, is_available};
use crate::logbook::Logbook;
use crate::logs::LogRate;
use crate::question::{
    AttemptedQuestion, DeliverQuestion, ListQuestion, OpenQuestion, OutputModeQuestion, PolicyQuestion, Question, ReadQuestion,
    StatQuestion,
};
use crate::sandbox::Sandbox;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

/// The package of the contract, with the colon and slash that come round it in names.
const PACKAGE: &str = "flyloft:plugin/";
/// Names of a message's list that are shown.
const SHOWN_NAMES: usize = 8;

/// Who a plugin is, for logs and faults.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: Arc<str>,
    pub(crate) digest: Arc<str>,
    pub(crate) log_rate: LogRate,
    /// Shared by all versions of a plugin.
    pub(crate) logbook: Arc<Logbook>,
}

impl Identity {
    pub(crate) fn new(name: &str, digest: &str) -> Identity {
        Identity { name: name.into(), digest: digest.into(), log_rate: LogRate::default(), logbook: Arc::default() }
    }
}

/// A component that is ready to be instantiated, not yet under a name.
pub(crate) struct Loaded {
    pub(crate) pre: InstancePre<Sandbox>,
    pub(crate) entries: Entries,
    pub(crate) inspection: Inspection,
}

/// Where the functions of the contract are in a component; None where it does not have them.
pub(crate) struct Entries {
    pub(crate) decide: Option<ComponentExportIndex>,
    pub(crate) resolve: Option<ComponentExportIndex>,
    pub(crate) deliver: Option<ComponentExportIndex>,
    pub(crate) attempted: Option<ComponentExportIndex>,
    pub(crate) open: Option<ComponentExportIndex>,
    pub(crate) stat: Option<ComponentExportIndex>,
    pub(crate) list: Option<ComponentExportIndex>,
    pub(crate) read: Option<ComponentExportIndex>,
}

impl Entries {
    fn of(component: &Component) -> Entries {
        Entries {
            decide: entry::<PolicyQuestion>(component),
            resolve: entry::<OutputModeQuestion>(component),
            deliver: entry::<DeliverQuestion>(component),
            attempted: entry::<AttemptedQuestion>(component),
            open: entry::<OpenQuestion>(component),
            stat: entry::<StatQuestion>(component),
            list: entry::<ListQuestion>(component),
            read: entry::<ReadQuestion>(component),
        }
    }
}

/// A loaded version of a plugin.
pub(crate) struct Plugin {
    pub(crate) identity: Arc<Identity>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) serves: Vec<Interface>,
    pub(crate) built_in: bool,
    pub(crate) loaded_at: SystemTime,
    /// Where it was pulled from, if it was.
    pub(crate) reference: Option<String>,
    pub(crate) tally: Tally,
}

impl Plugin {
    /// Puts a loaded component under a name.
    pub(crate) fn new(
        name: &str,
        loaded: Loaded,
        built_in: bool,
        loaded_at: SystemTime,
        logbook: Arc<Logbook>,
    ) -> Result<Plugin, Rejected> {
        let exported = &loaded.inspection.interfaces;
        let serves = match Interface::built_in(name) {
            Some(interface) if exported.contains(&interface) => vec![interface],
            Some(interface) => {
                return Err(Rejected::WrongInterface { name: name.to_owned(), expected: interface.export().to_owned() });
            }
            None => exported.clone(),
        };
        Ok(Plugin {
            identity: Arc::new(Identity { logbook, ..Identity::new(name, &loaded.inspection.digest) }),
            loaded: Arc::new(loaded),
            serves,
            built_in,
            loaded_at,
            reference: None,
            tally: Tally::default(),
        })
    }

    /// The same version as it was pulled from `reference`.
    pub(crate) fn pulled_from(self, reference: Option<String>) -> Plugin {
        Plugin { reference, ..self }
    }

    /// The same version with counters of its own.
    pub(crate) fn apart(&self) -> Plugin {
        Plugin {
            identity: Arc::clone(&self.identity),
            loaded: Arc::clone(&self.loaded),
            serves: self.serves.clone(),
            built_in: self.built_in,
            loaded_at: self.loaded_at,
            reference: self.reference.clone(),
            tally: Tally::default(),
        }
    }

    pub(crate) fn info(&self) -> PluginInfo {
        PluginInfo {
            name: self.identity.name.to_string(),
            component: self.loaded.inspection.clone(),
            serves: self.serves.clone(),
            built_in: self.built_in,
            loaded_at: self.loaded_at,
            counters: self.tally.counters(self.identity.log_rate.dropped()),
        }
    }
}

/// The digest of a component: `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest(component: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(component)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A name that a plugin may have.
pub(crate) fn check_name(name: &str) -> Result<(), Rejected> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if first && rest && name.len() <= 64 {
        return Ok(());
    }
    Err(Rejected::Name { name: name.chars().take(80).collect() })
}

/// What can be told from the first bytes alone, before anything is compiled.
pub(crate) fn check_kind(bytes: &[u8]) -> Result<(), Rejected> {
    const BUILD: &str = "build one with `cargo build --release --target wasm32-wasip2` (see plugins/README.md)";
    const CONVERT: &str = "build for the target wasm32-wasip2, or make a component of it with `wasm-tools component new`";
    let (found, remedy) = match bytes {
        [] => ("the body is empty".to_owned(), "send the .wasm file with `curl -T` or `--data-binary @file`"),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => ("it is a core module".to_owned(), CONVERT),
        [0, b'a', b's', b'm', version @ ..] => {
            let version = version.get(..4).unwrap_or(version);
            (format!("its version field at byte 4 is {version:02x?} and not [0d, 00, 01, 00]"), BUILD)
        }
        bytes if bytes.trim_ascii_start().starts_with(b"(") => {
            ("it looks like WebAssembly text".to_owned(), "turn it into binary with `wasm-tools parse`")
        }
        bytes => {
            let start = bytes.get(..4).unwrap_or(bytes);
            (format!("it begins with {start:02x?} and not with [00, 61, 73, 6d]"), BUILD)
        }
    };
    Err(Rejected::NotAComponent { found, remedy })
}

/// Compiles a component.
pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, Rejected> {
    Component::from_binary(engine, bytes).map_err(|error| {
        let reason = format!("{error:#}");
        if reason.contains("exceeds the") { Rejected::Needs { reason } } else { Rejected::Invalid { reason } }
    })
}

/// Makes a compiled component ready and instantiates it once, because some faults show only then.
pub(crate) async fn load(
    component: Component,
    linker: &Linker<Sandbox>,
    limits: &CallLimits,
    digest: String,
    size: usize,
) -> Result<Loaded, Rejected> {
    let engine = linker.engine();
    let ty = component.component_type();
    let imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    check_imports(&imports)?;
    let exports: Vec<(String, bool)> = ty
        .exports(engine)
        .map(|(name, export)| (name.to_owned(), matches!(export.ty, ComponentItem::ComponentInstance(_))))
        .collect();
    let entries = Entries::of(&component);
    let interfaces = check_exports(&component, &exports)?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| Rejected::Types { interface: "its imports".to_owned(), reason: format!("{error:#}") })?;
    let loaded = Loaded { pre, entries, inspection: Inspection { digest, size: size as u64, interfaces, imports } };
    match call::rehearse(&loaded, engine, limits).await {
        Ok(()) => Ok(loaded),
        Err(call::Rehearsal::Types { interface, reason }) => {
            Err(Rejected::Types { interface: interface.export().to_owned(), reason })
        }
        Err(call::Rehearsal::Start(FaultKind::Incompatible { reason })) => Err(Rejected::Needs { reason }),
        Err(call::Rehearsal::Start(kind)) => Err(Rejected::Start { kind }),
    }
}

/// Where the function of a question is in a component that exports its interface.
fn entry<Q: Question>(component: &Component) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, Q::INTERFACE.export())?;
    component.get_export_index(Some(&interface), Q::FUNCTION)
}

fn check_imports(imports: &[String]) -> Result<(), Rejected> {
    let mut names: Vec<String> = imports.iter().filter(|name| !is_available(name)).cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    shorten(&mut names);
    Err(Rejected::Imports { names, available: AVAILABLE })
}

fn check_exports(component: &Component, exports: &[(String, bool)]) -> Result<Vec<Interface>, Rejected> {
    let exported = |interface: &Interface| component.get_export_index(None, interface.export()).is_some();
    let interfaces: Vec<Interface> = Interface::ALL.into_iter().filter(exported).collect();
    let ours = |name: &&(String, bool)| name.1 && name.0.starts_with(PACKAGE);
    // An interface of the contract in a version that is not served would silently never be asked.
    let unserved = exports.iter().filter(ours).find(|(name, _)| {
        let base = name.split('@').next().unwrap_or(name);
        let served = interfaces.iter().any(|interface| interface.export().split('@').next() == Some(base));
        !served
    });
    if let Some((found, _)) = unserved {
        let expected: Vec<&str> = Interface::ALL.into_iter().map(Interface::export).collect();
        return Err(Rejected::Version { found: found.clone(), expected: expected.join(" or ") });
    }
    if interfaces.is_empty() {
        let mut names: Vec<String> = exports.iter().map(|(name, _)| name.clone()).collect();
        shorten(&mut names);
        let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let expected = Interface::ALL.into_iter().map(|interface| interface.export().to_owned()).collect();
        return Err(Rejected::NoInterface { expected, found });
    }
    Ok(interfaces)
}

fn shorten(names: &mut Vec<String>) {
    let more = names.len().saturating_sub(SHOWN_NAMES);
    names.truncate(SHOWN_NAMES);
    for name in names.iter_mut().filter(|name| name.len() > 120) {
        *name = name.chars().take(117).chain("...".chars()).collect();
    }
    if more > 0 {
        names.push(format!("{more} more"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["room-policy", "a", "geo-block2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "2a", "A", "a_b", "a/b", "..", "a b", "ä", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_component_is_named() {
        let text = |bytes: &[u8]| check_kind(bytes).unwrap_err().to_string();
        assert!(text(b"").contains("empty"));
        assert!(text(b"\0asm\x01\0\0\0").contains("core module"));
        assert!(text(b"  (component)").contains("text"));
        assert!(text(b"\0asm\x07").contains("byte 4"));
        assert!(text(b"GIF89a").contains("[47, 49, 46, 38]"));
        assert!(check_kind(b"\0asm\x0d\0\x01\0").is_ok());
    }
}
