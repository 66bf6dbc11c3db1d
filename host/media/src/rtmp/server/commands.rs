//! What a client may command, and how each command is answered (RTMP 1.0, section 7.2).

use super::*;

/// Of Flash Media Server, because clients look for it before they use what came with it.
const SERVER_VERSION: &str = "FMS/3,5,7,7009";
const SERVER_CAPABILITIES: f64 = 31.0;
/// Codecs that enhanced RTMP names by fourCC and that are carried on: video, audio.
const FOUR_CCS: [&[&str]; 2] = [&["avc1", "hvc1", "av01"], &["mp4a", "Opus", ".mp3"]];
/// `capsEx`: multitrack and modifiers of packets.
const CAPABILITIES: f64 = 6.0;
/// `FourCcInfoMask.CanForward`.
const CAN_FORWARD: f64 = 4.0;

impl ServerSession {
    pub(super) fn command(&mut self, stream_id: u32, command: &Command) -> Result<(), SessionError> {
        match command.name.as_str() {
            "connect" => return self.connect(command),
            // Answers to what this side sent.
            "_result" | "_error" | "onStatus" => return Ok(()),
            name if self.connected.is_none() => return Err(SessionError::NotConnected(amf0::clip(name, 64).to_owned())),
            _ => {}
        }
        match command.name.as_str() {
            "createStream" => self.create_stream(command),
            "publish" => self.publish(stream_id, command),
            "play" => self.play(stream_id, command),
            "releaseStream" | "_checkbw" => self.result(command, Value::Undefined),
            "FCPublish" => {
                self.result(command, Value::Undefined);
                self.notify("onFCPublish", "NetStream.Publish.Start", command.text(0));
            }
            "FCUnpublish" => {
                self.result(command, Value::Undefined);
                self.notify("onFCUnpublish", "NetStream.Unpublish.Success", command.text(0));
                if let Activity::Publishing { stream_id, .. } = self.activity {
                    self.stop(stream_id);
                }
            }
            "FCSubscribe" => {
                self.result(command, Value::Undefined);
                self.notify("onFCSubscribe", "NetStream.Play.Start", command.text(0));
            }
            "deleteStream" => {
                let id = command.argument(0).and_then(Value::as_number).unwrap_or_default() as u32;
                self.stop(id);
                self.streams &= !1_u32.checked_shl(id).unwrap_or(0);
            }
            "closeStream" => self.stop(stream_id),
            "pause" | "pauseRaw" => self.pause(command),
            "seek" => {
                if let Activity::Playing { stream_id, .. } = self.activity {
                    self.status(stream_id, "status", "NetStream.Seek.Failed", "A live stream has no other place to go to.");
                }
            }
            // 0 seconds: a live stream has no length.
            "getStreamLength" => self.result(command, Value::Number(0.0)),
            "receiveAudio" | "receiveVideo" => {}
            _ => self.unknown(command),
        }
        Ok(())
    }

    fn connect(&mut self, command: &Command) -> Result<(), SessionError> {
        if self.connected.is_some() {
            return Err(SessionError::ConnectedTwice);
        }
        let said = command.arguments.first().unwrap_or(&Value::Null);
        let text = |name: &str| said.get(name).and_then(Value::as_str);
        let four_ccs = match said.get("fourCcList") {
            Some(Value::StrictArray(list)) => list.iter().filter_map(Value::as_str).take(32).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let capabilities = said.get("capsEx").and_then(Value::as_number);
        let enhanced = capabilities.is_some() || !four_ccs.is_empty();
        let connected = Connected {
            app: text("app").unwrap_or_default().to_owned(),
            tc_url: text("tcUrl").map(str::to_owned),
            flash_version: text("flashVer").map(str::to_owned),
            four_ccs,
            capabilities: capabilities.unwrap_or_default() as u32,
        };
        self.connection.announce_window(self.config.window);
        self.connection.limit_peer(self.config.window);
        self.connection.raise_chunk_size();
        let mut properties = vec![
            ("fmsVer".to_owned(), SERVER_VERSION.into()),
            ("capabilities".to_owned(), SERVER_CAPABILITIES.into()),
            ("mode".to_owned(), 1.0.into()),
        ];
        if enhanced {
            properties.extend(enhanced_properties());
        }
        let info = amf0::object([
            ("level", "status".into()),
            ("code", "NetConnection.Connect.Success".into()),
            ("description", "Connection succeeded.".into()),
            ("objectEncoding", 0.0.into()),
        ]);
        let transaction = if command.transaction == 0.0 { 1.0 } else { command.transaction };
        let answer = [Value::from("_result"), transaction.into(), Value::Object(properties), info];
        self.connection.command(0, &answer);
        self.connected = Some(connected.clone());
        self.events.push_back(Event::Connected(connected));
        Ok(())
    }

    /// Gives the lowest free number, so that a client with one stream has [`PLAY_STREAM`].
    fn create_stream(&mut self, command: &Command) {
        match (1..=MAX_STREAMS).find(|id| self.streams & (1 << id) == 0) {
            Some(id) => {
                self.streams |= 1 << id;
                self.result(command, f64::from(id).into());
            }
            None => self.error(command, "Too many streams are open: delete one first."),
        }
    }

    /// Why nothing can be begun on a message stream, if so.
    fn unusable(&self, stream_id: u32) -> Option<&'static str> {
        let exists = (1..=MAX_STREAMS).contains(&stream_id) && self.streams & (1 << stream_id) != 0;
        match self.activity {
            _ if !exists => Some("There is no such message stream: send createStream and use its answer."),
            Activity::Idle => None,
            _ => Some("The connection publishes or plays already: open another one."),
        }
    }

    fn publish(&mut self, stream_id: u32, command: &Command) {
        if let Some(reason) = self.unusable(stream_id) {
            return self.status(stream_id, "error", "NetStream.Publish.Failed", reason);
        }
        let kind = match command.text(1) {
            "record" => PublishKind::Record,
            "append" | "appendWithGap" => PublishKind::Append,
            _ => PublishKind::Live,
        };
        let (id, StreamName { app, name, parameters }) = self.request(stream_id, Asked::Publish, command.text(0));
        self.events.push_back(Event::PublishRequested(PublishRequest { id, app, name, parameters, kind }));
    }

    fn play(&mut self, stream_id: u32, command: &Command) {
        let reason = match self.unusable(stream_id) {
            None if stream_id != PLAY_STREAM => Some("A connection plays on its first message stream only: open another one."),
            reason => reason,
        };
        if let Some(reason) = reason {
            return self.status(stream_id, "error", "NetStream.Play.Failed", reason);
        }
        let number = |index| command.argument(index).and_then(Value::as_number);
        let (start, duration) = (number(1).unwrap_or(-2.0), number(2).unwrap_or(-1.0));
        // A boolean, or a number in later versions.
        let reset = match command.argument(3) {
            Some(Value::Number(number)) => *number != 0.0,
            value => value.and_then(Value::as_bool).unwrap_or(true),
        };
        let (id, StreamName { app, name, parameters }) = self.request(stream_id, Asked::Play { reset }, command.text(0));
        self.events.push_back(Event::PlayRequested(PlayRequest { id, app, name, parameters, start, duration, reset }));
    }

    fn pause(&mut self, command: &Command) {
        let Activity::Playing { stream_id, .. } = self.activity else { return };
        let paused = command.argument(0).and_then(Value::as_bool).unwrap_or(true);
        let (code, description) = match paused {
            true => ("NetStream.Pause.Notify", "Paused."),
            false => ("NetStream.Unpause.Notify", "Going on at the live edge."),
        };
        self.status(stream_id, "status", code, description);
        self.events.push_back(Event::Paused(paused));
    }

    /// Ends what happens on message stream `id`.
    fn stop(&mut self, id: u32) {
        match self.activity {
            Activity::Publishing { stream_id, .. } if stream_id == id => {
                self.connection.set_wants_media(false);
                self.status(id, "status", "NetStream.Unpublish.Success", "Publishing ended.");
                self.events.push_back(Event::PublishFinished);
            }
            Activity::Playing { stream_id, .. } if stream_id == id => {
                self.status(id, "status", "NetStream.Play.Stop", "Playing ended.");
                self.events.push_back(Event::PlayFinished);
            }
            _ => return,
        }
        self.activity = Activity::Idle;
    }

    fn result(&mut self, command: &Command, value: Value) {
        if command.transaction != 0.0 {
            let answer = [Value::from("_result"), command.transaction.into(), Value::Null, value];
            self.connection.command(0, &answer);
        }
    }

    fn error(&mut self, command: &Command, description: &str) {
        if command.transaction != 0.0 {
            let info = amf0::object([
                ("level", "error".into()),
                ("code", "NetConnection.Call.Failed".into()),
                ("description", description.into()),
            ]);
            let answer = [Value::from("_error"), command.transaction.into(), Value::Null, info];
            self.connection.command(0, &answer);
        }
    }

    fn unknown(&mut self, command: &Command) {
        let description = format!("This server has no command {:?}.", amf0::clip(&command.name, 64));
        self.error(command, &description);
    }

    /// What Flash Media Server calls on the client for the `FC` commands.
    fn notify(&mut self, name: &str, code: &str, description: &str) {
        let description = amf0::clip(description, 256);
        let info = amf0::object([("level", "status".into()), ("code", code.into()), ("description", description.into())]);
        self.connection.command(0, &[Value::from(name), Value::Number(0.0), Value::Null, info]);
    }
}

/// What the answer to an enhanced `connect` has more (Enhanced RTMP v2, "Enhancing NetConnection connect Command").
fn enhanced_properties() -> [(String, Value); 4] {
    let map = |codecs: &[&str]| Value::Object(codecs.iter().map(|&codec| (codec.to_owned(), CAN_FORWARD.into())).collect());
    let [video, audio] = FOUR_CCS;
    let all = FOUR_CCS.iter().copied().flatten().map(|&codec| codec.into()).collect();
    [
        ("fourCcList".to_owned(), Value::StrictArray(all)),
        ("videoFourCcInfoMap".to_owned(), map(video)),
        ("audioFourCcInfoMap".to_owned(), map(audio)),
        ("capsEx".to_owned(), CAPABILITIES.into()),
    ]
}
