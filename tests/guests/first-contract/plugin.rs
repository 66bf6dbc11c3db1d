//! A component as its author left it when the contract was at 0.1.0: all four interfaces, all imports, and the first contract's own
//! files instead of the SDK, which goes on. Servers with later contracts have to serve it as it is.

wit_bindgen::generate!({
    path: "first-contract/wit",
    inline: "
        package test:first-contract;

        world plugin {
            include flyloft:plugin/imports@0.1.0;
            export flyloft:plugin/room-policy@0.1.0;
            export flyloft:plugin/output-mode@0.1.0;
            export flyloft:plugin/webhook@0.1.0;
            export flyloft:plugin/vod-source@0.1.0;
        }
    ",
    generate_all,
});

use exports::flyloft::plugin::{output_mode, room_policy, vod_source, webhook};
use flyloft::plugin::types::{Context, OutputMode, Pair};
use wasi::http::{outgoing_handler, types as http};
use wasi::logging::logging::{Level, log};

struct Plugin;

export!(Plugin);

fn pair(name: &str, value: impl Into<String>) -> Pair {
    Pair { name: name.into(), value: value.into() }
}

impl room_policy::Guest for Plugin {
    fn decide(context: Context, action: room_policy::Action) -> room_policy::Decision {
        use room_policy::{Action, Decision, Denial, Grant, Limits};
        let request = match action {
            Action::Publish(request) => request,
            Action::Play(request) => {
                let reason = format!("{} has {} viewers already.", request.owner.app_user_id, request.viewers);
                return Decision::Deny(Denial { code: "full".into(), reason });
            }
            Action::IssueToken(request) => {
                let reason = format!("No tokens for {}, says the first contract.", request.role);
                return Decision::Deny(Denial { code: "first-contract".into(), reason });
            }
            _ => return Decision::Abstain,
        };
        log(Level::Info, "first-contract", &format!("{} publishes {}", request.member.id, request.stream));
        let limits = Limits {
            max_bitrate: Some(6_000_000),
            max_duration: Some(3_600_000),
            max_viewers: Some(1_000),
            max_width: Some(1_920),
            max_height: Some(1_080),
        };
        Decision::Allow(Grant {
            role: Some("owner".into()),
            permissions: vec!["stream:publish".into()],
            limits,
            record: Some(true),
            labels: vec![
                pair("app", context.app.id),
                pair("greeting", wasi::config::store::get("greeting").ok().flatten().unwrap_or_default()),
                pair("count", count().map_or_else(|error| format!("{error:?}"), |count| count.to_string())),
                pair("outside", outside()),
            ],
        })
    }
}

/// Counts the calls for which there is a store.
fn count() -> Result<i64, wasi::keyvalue::store::Error> {
    use wasi::keyvalue::{atomics, batch, store};
    let bucket = store::open("default")?;
    let count = atomics::increment(&bucket, "calls", 1)?;
    batch::set_many(&bucket, &[("last".into(), count.to_string().into_bytes())])?;
    Ok(count)
}

/// Whether a request to a host that is not granted is let out.
fn outside() -> &'static str {
    let request = http::OutgoingRequest::new(http::Fields::new());
    let named = request
        .set_scheme(Some(&http::Scheme::Https))
        .and_then(|()| request.set_authority(Some("not-granted.example")))
        .and_then(|()| request.set_path_with_query(Some("/")));
    if named.is_err() {
        return "not a request";
    }
    match outgoing_handler::handle(request, None) {
        Err(http::ErrorCode::HttpRequestDenied) => "denied",
        Err(_) => "failed",
        Ok(answer) => {
            answer.subscribe().block();
            match answer.get() {
                Some(Ok(Err(http::ErrorCode::HttpRequestDenied))) => "denied",
                Some(Ok(Err(_))) => "failed",
                _ => "answered",
            }
        }
    }
}

impl output_mode::Guest for Plugin {
    fn resolve(_context: Context, request: output_mode::Request) -> output_mode::Answer {
        use output_mode::{Answer, Outputs};
        match request.url_mode.as_deref() {
            None => Answer::Abstain,
            Some("cmaf-only") => {
                Answer::UseOutputs(Outputs { mode: OutputMode::Cmaf, transcoding_profile: request.transcoding_profile })
            }
            Some(other) => Answer::Refuse(format!("The mode {other} is not known to the first contract.")),
        }
    }
}

impl webhook::Guest for Plugin {
    fn deliver(_context: Context, event: webhook::Event) -> webhook::Answer {
        use webhook::{Answer, Delivery, Method};
        if event.kind != "videoRoom.live" {
            return Answer::Abstain;
        }
        Answer::Deliver(vec![Delivery {
            method: Method::Put,
            url: "https://receiver.example/first".into(),
            headers: vec![pair("x-room", event.room_id.unwrap_or_default())],
            body: event.data.into_bytes(),
            sign: true,
            timeout: Some(2_000),
        }])
    }

    fn attempted(
        _context: Context,
        _event: webhook::Event,
        delivery: webhook::Delivery,
        attempt: webhook::Attempt,
    ) -> webhook::Verdict {
        use webhook::{Outcome, Verdict};
        match attempt.outcome {
            Outcome::Response(response) if response.status < 300 => Verdict::Done,
            Outcome::Response(response) => Verdict::RetryAfter(response.retry_after),
            Outcome::Failed(reason) => Verdict::GiveUp(format!("{}: {reason}", delivery.url)),
        }
    }
}

impl vod_source::Guest for Plugin {
    fn open(_context: Context, request: vod_source::Request) -> Result<vod_source::Plan, vod_source::Error> {
        use vod_source::{Addressing, Error, HttpSource, LocalFile, OwnBytes, Plan, S3Object};
        match request.uri.strip_prefix("first://").ok_or(Error::NotMine)? {
            "file" => Ok(Plan::File(LocalFile { path: "first.mp4".into() })),
            "http" => {
                Ok(Plan::Http(HttpSource { url: "https://media.example/first.mp4".into(), headers: vec![pair("x-a", "b")] }))
            }
            "s3" => Ok(Plan::S3(S3Object {
                bucket: "first".into(),
                key: "first.mp4".into(),
                endpoint: Some("https://s3.example".into()),
                region: Some("eu-1".into()),
                addressing: Addressing::VirtualHost,
                credential: Some("archive".into()),
            })),
            "own" => Ok(Plan::Own(OwnBytes { handle: "first".into(), size: 10 })),
            "missing" => Err(Error::NotFound("There is no such file.".into())),
            "denied" => Err(Error::Denied("You may not.".into())),
            "busy" => Err(Error::Unavailable("Not now.".into())),
            other => Err(Error::Invalid(format!("{other} is none of mine."))),
        }
    }

    fn stat(_context: Context, request: vod_source::Request) -> Result<Option<vod_source::FileInfo>, vod_source::Error> {
        let info =
            vod_source::FileInfo { size: Some(10), modified: Some(1_800_000_000_000), media_type: Some("video/mp4".into()) };
        Ok((request.uri == "first://own").then_some(info))
    }

    fn list(_context: Context, request: vod_source::ListRequest) -> Result<vod_source::Listing, vod_source::Error> {
        use vod_source::{Entry, FileInfo, Listing, LocalFile, Page, Plan};
        if request.uri == "first://" {
            return Ok(Listing::Place(Plan::File(LocalFile { path: "first".into() })));
        }
        let info = FileInfo { size: None, modified: None, media_type: None };
        let entries = vec![Entry { uri: "first://own".into(), info }];
        Ok(Listing::Entries(Page { entries, cursor: Some(format!("{}-{}", request.cursor.unwrap_or_default(), request.limit)) }))
    }

    fn read(_context: Context, range: vod_source::ByteRange) -> Result<Vec<u8>, vod_source::Error> {
        Ok((b'0'..=b'9').skip(range.offset as usize).take(range.length as usize).collect())
    }
}
