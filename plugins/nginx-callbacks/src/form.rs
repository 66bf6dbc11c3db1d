//! The form that nginx-rtmp sends with its callbacks.

use flyloft_callbacks::{Call, Encoding, Kind};
use flyloft_plugin::policy::Pair;

/// A callback as `application/x-www-form-urlencoded`. The parameters of the URL come last, and none of them can stand for one of
/// nginx's own.
pub(crate) fn form(call: &Call<'_>, app: &str) -> String {
    let agent = call.connection.user_agent.as_deref().unwrap_or_default();
    let common = [
        ("app", app),
        ("flashver", agent),
        ("swfurl", ""),
        ("tcurl", ""),
        ("pageurl", ""),
        ("addr", &call.connection.remote_ip),
        ("clientid", call.client_id),
        ("name", call.stream),
    ];
    let own: &[(&str, &str)] = match call.kind {
        Kind::Publish => &[("call", "publish"), ("type", "live")],
        Kind::Play => &[("call", "play"), ("start", "-2000"), ("duration", "0"), ("reset", "0")],
    };
    let (mut form, fields) = (String::new(), common.iter().chain(own));
    fields.clone().for_each(|(name, value)| field(&mut form, name, value));
    for Pair { name, value } in &call.connection.parameters {
        if !fields.clone().any(|(taken, _)| taken == name) {
            field(&mut form, name, value);
        }
    }
    form
}

fn field(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    Encoding::Form.pair(form, name, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_callbacks::testing::{play, publish};
    use flyloft_plugin::policy::Action;
    use flyloft_plugin::testing;

    fn pair(name: &str, value: &str) -> Pair {
        Pair { name: name.into(), value: value.into() }
    }

    fn told(action: &Action) -> String {
        form(&Call::of(&testing::context(), action).unwrap(), "live")
    }

    fn published(parameters: Vec<Pair>) -> String {
        let Action::Publish(mut request) = publish() else { panic!("no publish") };
        request.connection.user_agent = Some("FMLE/3.0 (compatible; FMSc/1.0)".into());
        request.connection.parameters = parameters;
        request.stream = "a b&c".into();
        told(&Action::Publish(request))
    }

    #[test]
    fn a_publish_is_told_as_nginx_tells_it() {
        assert_eq!(
            published(vec![]),
            "app=live&flashver=FMLE%2F3.0+%28compatible%3B+FMSc%2F1.0%29&swfurl=&tcurl=&pageurl=&addr=192.0.2.7&clientid=call-1\
             &name=a+b%26c&call=publish&type=live"
        );
    }

    #[test]
    fn parameters_follow_and_replace_nothing() {
        let form = published(vec![pair("token", "x=é"), pair("addr", "127.0.0.1"), pair("call", "play")]);
        assert!(form.ends_with("&type=live&token=x%3D%C3%A9"), "{form}");
        assert_eq!(form.matches("addr=").count(), 1);
    }

    #[test]
    fn a_play_has_its_own_fields() {
        let form = told(&play());
        assert!(form.ends_with("&name=stream-1&call=play&start=-2000&duration=0&reset=0"), "{form}");
    }
}
