//! What the host asks about events and VOD sources; `room-policy` and `output-mode` are asked in the crate's root.

use crate::grants::Grants;
use crate::model::{
    AttemptedRequest, ByteRange, Context, Delivery, FileInfo, ListRequest, Listing, SourceError, SourcePlan, SourceRequest,
    Verdict, WebhookAnswer, WebhookEvent,
};
use crate::plugin::Plugin;
use crate::question::{AttemptedQuestion, DeliverQuestion, ListQuestion, OpenQuestion, Question, ReadQuestion, StatQuestion};
use crate::{Decided, Fault, Plugins, decided, no_plugin};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const NO_SETTINGS: &BTreeMap<String, String> = &BTreeMap::new();

impl Plugins {
    /// Asks the `webhook` chain what is sent about an event. Nothing is sent when no plugin has an opinion. `settings`, those
    /// of the subscription, stand in front of the plugin's own.
    ///
    /// # Errors
    /// A [`Fault`] of the first plugin that fails: ask again later, as nothing is known about the deliveries yet.
    pub async fn plan_deliveries(
        &self,
        context: &Context,
        settings: &BTreeMap<String, String>,
        event: &WebhookEvent,
    ) -> Result<Decided<Vec<Delivery>>, Fault> {
        let chains = self.0.chains();
        let answer = self.first_opinion::<DeliverQuestion>(&chains.webhook, settings, context, event).await?;
        let Decided { answer, plugin, digest, duration } = answer;
        let answer = match answer {
            WebhookAnswer::Deliver(deliveries) => deliveries,
            WebhookAnswer::Abstain => Vec::new(),
        };
        Ok(Decided { answer, plugin, digest, duration })
    }

    /// Asks whether a delivery is done: the plugin that planned it, or the last of the chain when that is not there any more.
    ///
    /// # Errors
    /// A [`Fault`] when it fails: the delivery is to be tried again.
    pub async fn attempted(
        &self,
        planned_by: &str,
        context: &Context,
        settings: &BTreeMap<String, String>,
        request: &AttemptedRequest,
    ) -> Result<Decided<Verdict>, Fault> {
        let chains = self.0.chains();
        let named = chains.webhook.iter().find(|plugin| plugin.identity.name == planned_by);
        self.one::<AttemptedQuestion>(named.or(chains.webhook.last()), settings, context, request).await
    }

    /// Asks the `vod-source` chain where the bytes of a URI are. [`SourceError::NotMine`] says that no plugin knows it.
    ///
    /// # Errors
    /// A [`Fault`] of the first plugin that fails, or when there is none: the URI can't be opened.
    pub async fn open_source(
        &self,
        context: &Context,
        request: &SourceRequest,
    ) -> Result<Decided<Result<SourcePlan, SourceError>>, Fault> {
        self.first_opinion::<OpenQuestion>(&self.0.chains().vod_source, NO_SETTINGS, context, request).await
    }

    /// Asks the `vod-source` chain what is known about a URI; None leaves that to the host, which looks where
    /// [`Plugins::open_source`] points.
    ///
    /// # Errors
    /// As [`Plugins::open_source`].
    pub async fn stat_source(
        &self,
        context: &Context,
        request: &SourceRequest,
    ) -> Result<Decided<Result<Option<FileInfo>, SourceError>>, Fault> {
        self.first_opinion::<StatQuestion>(&self.0.chains().vod_source, NO_SETTINGS, context, request).await
    }

    /// Asks the `vod-source` chain what there is below a URI.
    ///
    /// # Errors
    /// As [`Plugins::open_source`].
    pub async fn list_sources(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Decided<Result<Listing, SourceError>>, Fault> {
        self.first_opinion::<ListQuestion>(&self.0.chains().vod_source, NO_SETTINGS, context, request).await
    }

    /// Asks the plugin that answered [`SourcePlan::Own`] for a piece of its bytes.
    ///
    /// # Errors
    /// A [`Fault`] when it fails or is not there any more: the source is broken.
    pub async fn read_source(
        &self,
        opened_by: &str,
        context: &Context,
        range: &ByteRange,
    ) -> Result<Decided<Result<Vec<u8>, SourceError>>, Fault> {
        let chains = self.0.chains();
        let named = chains.vod_source.iter().find(|plugin| plugin.identity.name == opened_by);
        self.one::<ReadQuestion>(named, NO_SETTINGS, context, range).await
    }

    /// The first answer that is an opinion, or else the last plugin's that it has none.
    async fn first_opinion<Q: Question>(
        &self,
        chain: &[Arc<Plugin>],
        settings: &BTreeMap<String, String>,
        context: &Context,
        ask: &Q::Ask,
    ) -> Result<Decided<Q::Answer>, Fault> {
        let started = Instant::now();
        let _permit = self.permit(chain, context).await?;
        let mut last = None;
        for plugin in chain {
            let answer = self.ask_with::<Q>(plugin, &granted(plugin, settings), context, ask).await?;
            if !Q::abstains(&answer) {
                return Ok(decided(answer, plugin, started));
            }
            last = Some((answer, plugin));
        }
        last.map(|(answer, plugin)| decided(answer, plugin, started)).ok_or_else(|| no_plugin(Q::INTERFACE, context))
    }

    async fn one<Q: Question>(
        &self,
        plugin: Option<&Arc<Plugin>>,
        settings: &BTreeMap<String, String>,
        context: &Context,
        ask: &Q::Ask,
    ) -> Result<Decided<Q::Answer>, Fault> {
        let started = Instant::now();
        let plugin = plugin.ok_or_else(|| no_plugin(Q::INTERFACE, context))?;
        let _permit = self.permit(std::slice::from_ref(plugin), context).await?;
        Ok(decided(self.ask_with::<Q>(plugin, &granted(plugin, settings), context, ask).await?, plugin, started))
    }
}

/// What a plugin is granted, with these settings in front of its own.
fn granted(plugin: &Plugin, settings: &BTreeMap<String, String>) -> Arc<Grants> {
    if settings.is_empty() {
        return Arc::clone(&plugin.grants);
    }
    let mut grants = Grants::clone(&plugin.grants);
    grants.config.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    Arc::new(grants)
}
