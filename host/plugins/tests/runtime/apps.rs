//! Apps with plugins of their own.

use crate::requests::context;
use flyloft_plugins::model::{App, Context};
use flyloft_plugins::{BreakerSettings, Grants, NewBinding, Plugins};

/// A question about something of an App.
pub fn in_app(id: &str) -> Context {
    Context { app: App { id: id.into(), ..context().app }, ..context() }
}

/// Has a plugin asked about everything of one App, however often it fails.
pub async fn bind_to(plugins: &Plugins, plugin: &str, app: &str, grants: Grants) {
    let breaker = BreakerSettings { failures: 1_000_000, ..BreakerSettings::default() };
    let new = NewBinding { plugin: plugin.into(), app: Some(app.into()), grants, breaker, ..NewBinding::default() };
    plugins.bind(new).await.unwrap();
}
