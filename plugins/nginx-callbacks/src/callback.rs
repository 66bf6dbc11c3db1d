//! The form that nginx-rtmp sends with its callbacks.

use flyloft_plugin::policy::{Connection, Context, Pair, PlayRequest, PublishRequest};
use std::fmt::Write;

/// One callback.
pub(crate) struct Call<'a> {
    client_id: &'a str,
    connection: &'a Connection,
    stream: &'a str,
    /// What belongs to this callback alone.
    own: &'static [(&'static str, &'static str)],
}

impl<'a> Call<'a> {
    pub(crate) fn publish(context: &'a Context, request: &'a PublishRequest) -> Call<'a> {
        let own = &[("call", "publish"), ("type", "live")];
        Call { client_id: &context.call_id, connection: &request.connection, stream: &request.stream, own }
    }

    pub(crate) fn play(context: &'a Context, request: &'a PlayRequest) -> Call<'a> {
        let own = &[("call", "play"), ("start", "-2000"), ("duration", "0"), ("reset", "0")];
        Call { client_id: &context.call_id, connection: &request.connection, stream: &request.stream, own }
    }

    /// As `application/x-www-form-urlencoded`. The parameters of the URL come last, and none of them can stand for one of
    /// nginx's own.
    pub(crate) fn form(&self, app: &str) -> String {
        let mut form = String::new();
        let agent = self.connection.user_agent.as_deref().unwrap_or_default();
        let common = [
            ("app", app),
            ("flashver", agent),
            ("swfurl", ""),
            ("tcurl", ""),
            ("pageurl", ""),
            ("addr", &self.connection.remote_ip),
            ("clientid", self.client_id),
            ("name", self.stream),
        ];
        let fields = common.iter().chain(self.own);
        fields.clone().for_each(|(name, value)| field(&mut form, name, value));
        for Pair { name, value } in &self.connection.parameters {
            if !fields.clone().any(|(taken, _)| taken == name) {
                field(&mut form, name, value);
            }
        }
        form
    }
}

fn field(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    encode(form, name);
    form.push('=');
    encode(form, value);
}

/// The serializer of the URL standard, section 5.2.
fn encode(form: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b' ' => form.push('+'),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_') => form.push(byte as char),
            byte => {
                // Writing to a String does not fail.
                let _ = write!(form, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::Protocol;
    use flyloft_plugin::testing;

    fn pair(name: &str, value: &str) -> Pair {
        Pair { name: name.into(), value: value.into() }
    }

    fn form(parameters: Vec<Pair>) -> String {
        let mut connection = testing::connection(Protocol::Rtmp);
        connection.user_agent = Some("FMLE/3.0 (compatible; FMSc/1.0)".into());
        connection.parameters = parameters;
        let request = PublishRequest { connection, member: testing::member("owner"), room: None, stream: "a b&c".into() };
        Call::publish(&testing::context(), &request).form("live")
    }

    #[test]
    fn a_publish_is_told_as_nginx_tells_it() {
        assert_eq!(
            form(vec![]),
            "app=live&flashver=FMLE%2F3.0+%28compatible%3B+FMSc%2F1.0%29&swfurl=&tcurl=&pageurl=&addr=192.0.2.7&clientid=call-1\
             &name=a+b%26c&call=publish&type=live"
        );
    }

    #[test]
    fn parameters_follow_and_replace_nothing() {
        let form = form(vec![pair("token", "x=é"), pair("addr", "127.0.0.1"), pair("call", "play")]);
        assert!(form.ends_with("&type=live&token=x%3D%C3%A9"), "{form}");
        assert_eq!(form.matches("addr=").count(), 1);
    }

    #[test]
    fn a_play_has_its_own_fields() {
        let request = PlayRequest {
            connection: testing::connection(Protocol::Rtmp),
            room: None,
            owner: testing::member("owner"),
            stream: "s".into(),
            token: None,
            viewers: 0,
        };
        let form = Call::play(&testing::context(), &request).form("live");
        assert!(form.ends_with("&name=s&call=play&start=-2000&duration=0&reset=0"), "{form}");
    }
}
