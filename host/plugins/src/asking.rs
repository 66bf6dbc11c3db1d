//! What the host asks about events and VOD sources; `room-policy` and `output-mode` are asked in the crate's root.

use crate::binding::OnFailure;
use crate::case::{Asked, NO_SETTINGS, Settings};
use crate::model::{
    AttemptedRequest, ByteRange, Context, Delivery, FileInfo, ListRequest, Listing, SourceError, SourcePlan, SourceRequest,
    Verdict, WebhookAnswer, WebhookEvent,
};
use crate::question::{AttemptedQuestion, DeliverQuestion, ListQuestion, OpenQuestion, ReadQuestion, StatQuestion};
use crate::round::Round;
use crate::{Decided, Fault, Plugins, no_plugin};
use std::collections::BTreeMap;

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
        let answer = self.first_opinion::<DeliverQuestion>(settings, context, event).await?;
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
        self.again::<AttemptedQuestion>(planned_by, true, settings, context, request).await
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
        self.first_opinion::<OpenQuestion>(&NO_SETTINGS, context, request).await
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
        self.first_opinion::<StatQuestion>(&NO_SETTINGS, context, request).await
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
        self.first_opinion::<ListQuestion>(&NO_SETTINGS, context, request).await
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
        self.again::<ReadQuestion>(opened_by, false, &NO_SETTINGS, context, range).await
    }

    /// The first answer that is an opinion, or else the last plugin's that it has none.
    async fn first_opinion<Q: Asked>(
        &self,
        settings: &Settings,
        context: &Context,
        ask: &Q::Ask,
    ) -> Result<Decided<Q::Answer>, Fault> {
        let snapshot = self.0.snapshot();
        let mut round = Round::<Q>::new(&self.0, context, settings, ask);
        let chain = round.chain(&snapshot);
        let _permit = round.permit(chain).await?;
        let (mut last, mut failed) = (None, None);
        for binding in chain {
            match round.ask(binding).await {
                Ok(answer) if !Q::abstains(&answer) => return Ok(round.decided(answer, binding)),
                Ok(answer) => last = Some((answer, binding)),
                Err(fault) => match binding.on_failure(Q::INTERFACE) {
                    OnFailure::Deny | OnFailure::Allow => return Err(fault),
                    OnFailure::Next => failed = failed.or(Some(fault)),
                },
            }
        }
        match (failed, last) {
            (Some(fault), _) => Err(fault),
            (None, Some((answer, binding))) => Ok(round.decided(answer, binding)),
            (None, None) => Err(no_plugin(Q::INTERFACE, context)),
        }
    }

    /// Asks the binding of a plugin that was asked before.
    async fn again<Q: Asked>(
        &self,
        plugin: &str,
        or_last: bool,
        settings: &Settings,
        context: &Context,
        ask: &Q::Ask,
    ) -> Result<Decided<Q::Answer>, Fault> {
        let snapshot = self.0.snapshot();
        let mut round = Round::<Q>::new(&self.0, context, settings, ask);
        let chain = round.chain(&snapshot);
        let named = chain.iter().find(|binding| *binding.plugin.identity.name == *plugin);
        let binding = named.or(chain.last().filter(|_| or_last)).ok_or_else(|| no_plugin(Q::INTERFACE, context))?;
        let _permit = round.permit(std::slice::from_ref(binding)).await?;
        let answer = round.ask(binding).await?;
        Ok(round.decided(answer, binding))
    }
}
