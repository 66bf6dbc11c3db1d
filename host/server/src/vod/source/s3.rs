//! Objects in S3-compatible stores, by Amazon's SDK over Flyloft's own client. The SDK signs and understands; how often something is
//! tried is decided here.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use flyloft_plugins::model::{Addressing, S3Object};

use super::answer::{self, Version};
use super::credentials::Key;
use super::error::{Failure, OpenError, ReadError, shown};
use super::net::{self, Net};

/// What stores take that do not mind, and what the SDK asks for without one.
const ANY_REGION: &str = "us-east-1";

/// An object in a store.
pub(super) struct StoredObject {
    client: Client,
    bucket: String,
    key: String,
    /// For people.
    what: Arc<str>,
    credential: Option<String>,
}

impl StoredObject {
    pub(super) fn new(net: Net, plan: S3Object, key: Option<&Key>) -> Result<Self, OpenError> {
        let S3Object { bucket, key: name, endpoint, region, addressing, credential } = plan;
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) || name.chars().any(char::is_control) {
            let reason =
                "the key of an object must be parts with \"/\" between them, without \".\", \"..\" and control characters";
            return Err(OpenError::Invalid { reason: reason.into() });
        }
        let place = endpoint.as_deref().unwrap_or("Amazon S3");
        let what = format!("s3://{bucket}/{} at {place}", shown(&name));
        let region = region.or_else(|| key.and_then(|key| key.zone.clone())).unwrap_or_else(|| ANY_REGION.to_owned());
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(net)
            .region(Region::new(region))
            .force_path_style(addressing == Addressing::Path)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        config.set_endpoint_url(endpoint);
        config = match key {
            Some(key) => config.credentials_provider(Credentials::new(&key.key, key.secret.reveal(), None, None, "flyloft")),
            None => config.allow_no_auth(),
        };
        Ok(Self { client: Client::from_conf(config.build()), bucket, key: name, what: what.into(), credential })
    }

    pub(super) fn what(&self) -> &Arc<str> {
        &self.what
    }

    /// Finds out which object it is. By its first byte, as the answer to `HEAD` does not say why it is refused.
    pub(super) async fn look(&self, patience: Duration) -> Result<Version, Failure> {
        let answer = self.ask(&(0..1), None, patience).await?;
        let size = answer::total(&self.what, answer.content_range())?;
        let version = Version { size, tag: answer.e_tag().map(str::to_owned) };
        answer::drain(answer.body.into_inner(), 1, patience, |_| {}).await?;
        Ok(version)
    }

    /// Reads a range of what it was when it was opened, and gives the bytes to `take` as they come; fewer than were asked for when the
    /// answer ends early.
    pub(super) async fn fetch(
        &self,
        range: Range<u64>,
        version: &Version,
        patience: Duration,
        take: impl FnMut(Bytes),
    ) -> Result<(), Failure> {
        let answer = self.ask(&range, version.tag.clone(), patience).await?;
        let length = answer::agrees(&self.what, &range, version, answer.content_range(), answer.e_tag())?;
        answer::drain(answer.body.into_inner(), length, patience, take).await
    }

    async fn ask(&self, range: &Range<u64>, tag: Option<String>, patience: Duration) -> Result<GetObjectOutput, Failure> {
        let request = self.client.get_object().bucket(&self.bucket).key(&self.key).range(answer::range(range)).set_if_match(tag);
        let sent = tokio::time::timeout(patience, request.send()).await;
        sent.map_err(|_| answer::silent(patience))?.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &SdkError<GetObjectError, HttpResponse>) -> Failure {
        match error {
            SdkError::ServiceError(refused) => {
                let (meta, raw) = (refused.err().meta(), refused.raw());
                let header = |name| raw.headers().get(name);
                let ranges = (header("retry-after"), header("content-range"));
                self.refused(raw.status().as_u16(), meta.code(), meta.message(), ranges)
            }
            SdkError::DispatchFailure(failed) => match failed.as_connector_error() {
                Some(error) => net::failure(error),
                None => Failure::passing("the store can't be reached"),
            },
            SdkError::TimeoutError(_) => Failure::passing("the store did not answer in time"),
            SdkError::ResponseError(failed) => {
                Failure::passing(format!("{}: its store's answer can't be understood ({})", self.what, failed.raw().status()))
            }
            other => Failure::invalid(format!("{} can't be asked for: {}", self.what, shown(&other.to_string()))),
        }
    }

    /// What a store's refusal means.
    fn refused(&self, status: u16, code: Option<&str>, message: Option<&str>, headers: (Option<&str>, Option<&str>)) -> Failure {
        let what = &self.what;
        let (retry_after, content_range) = headers;
        let said = match (code, message) {
            (Some(code), Some(message)) => format!("{}: {}", shown(code), shown(message)),
            (Some(text), None) | (None, Some(text)) => shown(text),
            (None, None) => format!("status {status}"),
        };
        let with = match &self.credential {
            Some(name) => format!("with the credentials {name}"),
            None => "without credentials".to_owned(),
        };
        let denied =
            |why: &str| Failure::Lasting(ReadError::Denied { reason: format!("{what} may not be read {with}: {why} ({said})") });
        match (status, code.unwrap_or_default()) {
            (_, "NoSuchBucket") => {
                Failure::Lasting(ReadError::NotFound { what: format!("{what}, as there is no bucket {}", self.bucket) })
            }
            (404, _) | (_, "NoSuchKey") => Failure::Lasting(ReadError::NotFound { what: what.to_string() }),
            (412, _) | (_, "PreconditionFailed") => Failure::Lasting(ReadError::Changed { what: what.to_string() }),
            (416, _) => answer::out_of_range(what, content_range),
            (_, "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable") => answer::passing(said, retry_after),
            (_, "SignatureDoesNotMatch") => denied("their secret is not the right one"),
            (_, "InvalidAccessKeyId") => denied("the store does not know their key"),
            (_, "RequestTimeTooSkewed") => denied("the clock of this machine is wrong"),
            (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") | (301 | 307, _) => {
                Failure::invalid(format!("{what} is in another region: name it as the zone of the credentials ({said})"))
            }
            (401 | 403, _) => denied("the store refuses it; a store may say so too when there is no such file"),
            (status, _) if answer::passes(status) => answer::passing(format!("{what}: its store answers {said}"), retry_after),
            _ => Failure::invalid(format!("{what} can't be read: its store answers {said}")),
        }
    }
}
