//! Every built-in rule through the real runtime. The rules' own corner cases are tested beside them in `plugins/`.

use crate::requests::*;
use flyloft_plugins::model::*;
use flyloft_plugins::{BindingChange, Grants, Interface, Plugins};

#[tokio::test]
async fn the_built_in_plugins_are_listed() {
    let plugins = plugins();
    let list = plugins.list();
    let names: Vec<&str> = list.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["local", "output-mode", "room-policy", "s3", "spaces", "webhook"]);
    use Interface::{OutputMode, RoomPolicy, VodSource, Webhook};
    for (info, interface) in list.iter().zip([VodSource, OutputMode, RoomPolicy, VodSource, VodSource, Webhook]) {
        assert!(info.built_in);
        assert_eq!((&info.component.interfaces, &info.serves), (&vec![interface], &vec![interface]));
        assert_eq!(info.component.digest.len(), "sha256:".len() + 64);
        assert_eq!(info.counters.calls, 0);
    }
    assert_eq!(plugins.get("room-policy"), Some(list[2].clone()));
    assert_eq!(plugins.get("nobody"), None);
    let json = serde_json::to_value(&list[2]).unwrap();
    assert_eq!(json["builtIn"], true);
    assert_eq!(json["interfaces"][0], "room-policy");
    assert_eq!(json["counters"]["faults"]["invalidAnswer"], 0);
    assert!(json["loadedAt"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000));
}

#[tokio::test]
async fn an_answer_names_its_plugin_and_is_counted() {
    let plugins = plugins();
    let decided = plugins.decide(&context(), &publish("stream-1")).await.unwrap();
    let info = plugins.get("room-policy").unwrap();
    assert_eq!((&*decided.plugin, &*decided.digest), ("room-policy", info.component.digest.as_str()));
    assert_eq!((info.counters.calls, info.counters.faults.total()), (1, 0));
    assert!(info.counters.p50_micros.is_some() && info.counters.max_memory > 0);
}

#[tokio::test]
async fn publish_and_push_out_are_allowed() {
    let plugins = plugins();
    assert_eq!(verdict(&plugins, publish("stream-1")).await, Ok(Grant::default()));
    let request = PushOutRequest { room: None, stream: "s".into(), target: "rtmps://live.example".into() };
    assert_eq!(verdict(&plugins, Action::PushOut(request)).await, Ok(Grant::default()));
}

#[tokio::test]
async fn play_follows_the_rooms_state_and_access() {
    let plugins = plugins();
    let ask = async |state, access, token| verdict(&plugins, play(Some(room(state, access)), token)).await.err();
    let (public, private) = (AccessLevel::Public, AccessLevel::Private);
    let not_live = Some("not-live".to_owned());
    assert_eq!(ask(RoomState::Live, public, None).await, None);
    assert_eq!(ask(RoomState::LiveInactive, public, None).await, None);
    assert_eq!(ask(RoomState::Archived, public, None).await, None, "its recording");
    assert_eq!(ask(RoomState::Archived, private, None).await.as_deref(), Some("token-needed"));
    for state in [RoomState::Scheduled, RoomState::Ended, RoomState::Archiving, RoomState::ArchiveFailed] {
        assert_eq!(ask(state, public, None).await, not_live, "{state:?}");
    }
    assert_eq!(ask(RoomState::Live, private, None).await.as_deref(), Some("token-needed"));
    let of_room = Some(token(None, Some("room-1"), Some("audience")));
    assert_eq!(ask(RoomState::Live, private, of_room).await, None);
    let of_other_room = Some(token(Some("owner"), Some("room-2"), None));
    assert_eq!(ask(RoomState::Live, private, of_other_room).await.as_deref(), Some("wrong-room"));
    assert_eq!(ask(RoomState::Live, private, Some(token(Some("owner"), None, None))).await, None);
    assert_eq!(ask(RoomState::Live, private, Some(token(Some("guest"), None, None))).await.as_deref(), Some("wrong-room"));
}

#[tokio::test]
async fn a_stream_without_a_room_is_for_its_owner_and_for_previews() {
    let plugins = plugins();
    let ask = async |token| verdict(&plugins, play(None, token)).await.err();
    assert_eq!(ask(None).await.as_deref(), Some("not-live"));
    assert_eq!(ask(Some(token(Some("owner"), None, None))).await, None);
    assert_eq!(ask(Some(token(None, None, Some("preview")))).await, None);
    assert_eq!(ask(Some(token(Some("guest"), None, Some("audience")))).await.as_deref(), Some("not-live"));
}

#[tokio::test]
async fn joining_needs_a_token_or_a_public_room() {
    let plugins = plugins();
    let ask = async |access, token, role: &str| {
        let request = JoinRequest {
            connection: connection(Protocol::Whip),
            room: room(RoomState::Live, access),
            member: None,
            token,
            role: role.into(),
        };
        verdict(&plugins, Action::Join(request)).await
    };
    let granted = ask(AccessLevel::Private, Some(token(None, Some("room-1"), Some("member"))), "member").await;
    let expected = Grant { role: Some("member".into()), permissions: vec!["promote".into()], ..Grant::default() };
    assert_eq!(granted, Ok(expected));
    assert_eq!(ask(AccessLevel::Public, None, "audience").await, Ok(Grant::default()));
    assert_eq!(ask(AccessLevel::Public, None, "member").await, Err("token-needed".into()));
    assert_eq!(ask(AccessLevel::Private, None, "audience").await, Err("token-needed".into()));
}

#[tokio::test]
async fn roles_are_changed_by_permission() {
    let plugins = plugins();
    let request = |by: &str, permissions: &[&str]| RoleChangeRequest {
        room: room(RoomState::Live, AccessLevel::Public),
        by: member(by),
        by_permissions: permissions.iter().map(|&permission| permission.to_owned()).collect(),
        target: member("other"),
        role: "member".into(),
    };
    let needed = Err("permission-needed".to_owned());
    assert!(verdict(&plugins, Action::Promote(request("guest", &["promote"]))).await.is_ok());
    assert_eq!(verdict(&plugins, Action::Promote(request("guest", &["demote"]))).await, needed);
    assert!(verdict(&plugins, Action::Demote(request("guest", &["demote"]))).await.is_ok());
    assert_eq!(verdict(&plugins, Action::Demote(request("guest", &["promote"]))).await, needed);
    assert!(verdict(&plugins, Action::Demote(request("owner", &[]))).await.is_ok());
}

#[tokio::test]
async fn rooms_are_run_by_their_owner_the_server_and_the_operator() {
    let plugins = plugins();
    let request = |caller, by: Option<&str>| RoomRequest {
        connection: connection(Protocol::Rest),
        room: room(RoomState::Scheduled, AccessLevel::Public),
        caller,
        member: by.map(member),
        forced: false,
    };
    for action in [Action::Create, Action::Start, Action::End] {
        assert!(verdict(&plugins, action(request(Caller::Server, None))).await.is_ok());
        assert!(verdict(&plugins, action(request(Caller::Operator, None))).await.is_ok());
        assert!(verdict(&plugins, action(request(Caller::Member, Some("owner")))).await.is_ok());
        let denied = verdict(&plugins, action(request(Caller::Member, Some("guest")))).await;
        assert_eq!(denied, Err("not-owner".into()));
    }
}

#[tokio::test]
async fn members_issue_audience_tokens_for_their_own_rooms() {
    let plugins = plugins();
    let ask = async |caller, by: Option<&str>, role: &str| {
        let request = IssueTokenRequest {
            connection: connection(Protocol::Rest),
            room: Some(room(RoomState::Live, AccessLevel::Private)),
            caller,
            by: by.map(member),
            subject: Some(member("other")),
            role: role.into(),
            permissions: vec![],
        };
        verdict(&plugins, Action::IssueToken(request)).await.err()
    };
    assert_eq!(ask(Caller::Server, None, "owner").await, None);
    assert_eq!(ask(Caller::Operator, None, "owner").await, None);
    assert_eq!(ask(Caller::Member, Some("owner"), "audience").await, None);
    assert_eq!(ask(Caller::Member, Some("owner"), "member").await.as_deref(), Some("role-not-granted"));
    assert_eq!(ask(Caller::Member, Some("guest"), "audience").await.as_deref(), Some("not-owner"));
}

async fn outputs(plugins: &Plugins, url: Option<&str>, key: Option<OutputMode>, app: Option<OutputMode>) -> OutputModeAnswer {
    let mut context = context();
    context.app.output_mode = app;
    plugins.resolve_output_mode(&context, &output_request(url, key)).await.unwrap().answer
}

#[tokio::test]
async fn the_output_mode_comes_from_the_url_then_the_key_then_the_app() {
    use OutputMode::{Cmaf, Rtmp, RtmpCmaf};
    let plugins = plugins();
    let uses = |mode| OutputModeAnswer::UseOutputs(Outputs { mode, transcoding_profile: Some("720p".into()) });
    assert_eq!(outputs(&plugins, Some("RTMP"), Some(Cmaf), Some(Cmaf)).await, uses(Rtmp));
    assert_eq!(outputs(&plugins, Some("cmaf"), Some(Rtmp), Some(Rtmp)).await, uses(Cmaf));
    assert_eq!(outputs(&plugins, Some("Rtmp_Cmaf"), Some(Rtmp), None).await, uses(RtmpCmaf));
    assert_eq!(outputs(&plugins, None, Some(Cmaf), Some(Rtmp)).await, uses(Cmaf));
    assert_eq!(outputs(&plugins, None, None, Some(Rtmp)).await, uses(Rtmp));
    assert_eq!(outputs(&plugins, None, None, None).await, uses(RtmpCmaf));
}

#[tokio::test]
async fn an_unknown_output_mode_is_refused_with_the_ones_that_exist() {
    let plugins = plugins();
    let OutputModeAnswer::Refuse(reason) = outputs(&plugins, Some("HLS\r\n"), Some(OutputMode::Cmaf), None).await else {
        panic!("accepted");
    };
    assert!(reason.contains("\"HLS??\""), "{reason}");
    assert!(reason.contains("?mode=RTMP, ?mode=CMAF or ?mode=RTMP_CMAF"), "{reason}");
}

/// A runtime whose built-in sources may name these credentials.
fn with_credentials(lines: &str) -> Plugins {
    let names = lines.lines().filter_map(|line| Some(line.split(';').next()?.to_owned())).collect();
    let grants = Grants { config: [("credentials".into(), lines.into())].into(), credentials: names, ..Grants::default() };
    let mut config = config();
    config.granted = [("s3".to_owned(), grants.clone()), ("spaces".to_owned(), grants)].into();
    Plugins::open(config).unwrap()
}

async fn source(plugins: &Plugins, uri: &str) -> (String, Result<SourcePlan, SourceError>) {
    let request = SourceRequest { uri: uri.into(), shared: true };
    let decided = plugins.open_source(&context(), &request).await.unwrap();
    (decided.plugin.to_string(), decided.answer)
}

#[tokio::test]
async fn each_uri_is_one_sources() {
    let plugins = with_credentials("ams3;ams3;;\neu;eu-central-1;;");
    let file = |path: &str| Ok(SourcePlan::File(LocalFile { path: path.into() }));
    assert_eq!(source(&plugins, "vod://dir/a%20film.mp4").await, ("local".into(), file("dir/a film.mp4")));
    let (by, Ok(SourcePlan::S3(object))) = source(&plugins, "vod-live://s3/bucket/a%20film.mp4").await else {
        panic!("no object")
    };
    assert_eq!((by.as_str(), object.key.as_str(), object.credential.as_deref()), ("s3", "a film.mp4", Some("eu")));
    let uri = "vod-live://s3/https://ams3.digitaloceanspaces.com/space/dir/a.mp4";
    let (by, Ok(SourcePlan::S3(object))) = source(&plugins, uri).await else { panic!("no object") };
    assert_eq!((by.as_str(), object.key.as_str(), object.credential.as_deref()), ("spaces", "dir/a.mp4", Some("ams3")));
    assert_eq!(source(&plugins, "other://a.mp4").await.1, Err(SourceError::NotMine));
    for uri in ["vod://../a.mp4", "vod://%2e%2e/a.mp4", "vod://s3/bucket/../a.mp4", "vod://s3/https://h/b/%2e%2e/a.mp4"] {
        assert!(matches!(source(&plugins, uri).await.1, Err(SourceError::Invalid(_))), "{uri}");
    }
}

#[tokio::test]
async fn what_the_configuration_grants_is_added_to_what_is_stored() {
    let plugins = with_credentials("ams3;ams3;;");
    let uri = "vod://s3/https://ams3.digitaloceanspaces.com/space/a.mp4";
    assert_eq!(plugins.binding("spaces").unwrap().grants.credentials, ["ams3"]);
    assert!(plugins.binding("local").unwrap().grants.credentials.is_empty());
    let credentials = Some(vec!["more".to_owned()]);
    let config = Some([("credentials".to_owned(), "more;ams3;;".to_owned())].into());
    let changed = plugins.change("spaces", BindingChange { credentials, config, ..BindingChange::default() }).await.unwrap();
    assert_eq!(changed.grants.credentials, ["more", "ams3"]);
    let (_, Ok(SourcePlan::S3(object))) = source(&plugins, uri).await else { panic!("no object") };
    assert_eq!(object.credential.as_deref(), Some("more"));
}
