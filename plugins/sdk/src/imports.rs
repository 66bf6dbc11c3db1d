//! What `wit/0.1.0/worlds.wit` lets a plugin import, as Rust. Natively, where `cargo test` runs, the modules over it answer what
//! [`crate::testing`] was told.

/// The interfaces themselves.
#[cfg(target_family = "wasm")]
#[allow(missing_docs, clippy::all)]
pub(crate) mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "imports",
        generate_all,
        runtime_path: "flyloft_plugin::wit_runtime",
    });
}

/// What stands for the host in native tests; each test has its own, as each runs on a thread of its own.
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native {
    use crate::http::{Error, Request, Response};
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    /// Answers the requests of a test.
    pub(crate) type Http = Rc<dyn Fn(Request) -> Result<Response, Error>>;

    #[derive(Default)]
    pub(crate) struct Host {
        pub(crate) config: BTreeMap<String, String>,
        pub(crate) values: Option<BTreeMap<String, Vec<u8>>>,
        pub(crate) log: Vec<String>,
        pub(crate) http: Option<Http>,
    }

    thread_local! {
        static HOST: RefCell<Host> = RefCell::default();
    }

    pub(crate) fn host<T>(work: impl FnOnce(&mut Host) -> T) -> T {
        HOST.with_borrow_mut(work)
    }
}
