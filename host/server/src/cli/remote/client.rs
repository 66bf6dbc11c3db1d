//! A client of the REST API for the command line: one server, one token, errors in words.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use super::Target;

/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 << 20;
/// How long the server may take for an answer; compiling a large component takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

pub struct Client {
    agent: Agent,
    base: String,
    token: String,
}

impl Client {
    pub fn new(target: &Target) -> Result<Self> {
        let base = match &target.server {
            Some(server) if server.starts_with("http://") || server.starts_with("https://") => server.clone(),
            Some(server) => bail!("--server {server} is no address: write it as http://HOST:PORT or https://HOST"),
            None => local_base(&target.data)?,
        };
        let token = match &target.token {
            Some(token) => token.clone(),
            None => local_token(&target.data)?,
        };
        // There may be one already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build();
        Ok(Self { agent: config.into(), base: base.trim_end_matches('/').to_owned(), token })
    }

    pub fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        let request = self.request("GET", path, query).header("accept", "application/json");
        self.answer(self.agent.run(request.body(())?))
    }

    pub fn post(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.json("POST", path, body)
    }

    pub fn patch(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.json("PATCH", path, body)
    }

    pub fn delete(&self, path: &[&str]) -> Result<Value> {
        self.answer(self.agent.run(self.request("DELETE", path, &[]).body(())?))
    }

    /// Sends a component.
    pub fn upload(&self, path: &[&str], component: &[u8]) -> Result<Value> {
        let request = self.request("POST", path, &[]).header("content-type", "application/wasm");
        self.answer(self.agent.run(request.body(component)?))
    }

    /// Reads server-sent events (HTML standard, section 9.2) until the server ends them.
    pub fn follow(&self, path: &[&str], event: impl Fn(&Value) -> Result<()>) -> Result<()> {
        let request = self.request("GET", path, &[]).header("accept", "text/event-stream").body(())?;
        let response = self.sent(self.agent.run(request))?;
        let lines = BufReader::new(response.into_body().into_with_config().limit(u64::MAX).reader());
        for line in lines.lines() {
            let line = line.context("the connection to the server was lost")?;
            if let Some(data) = line.strip_prefix("data:") {
                event(&serde_json::from_str(data).context("the server sent something that is not JSON")?)?;
            }
        }
        Ok(())
    }

    /// The id of a binding that is given by its id or by the name of a plugin with one binding.
    pub fn binding_id(&self, given: &str) -> Result<String> {
        let bindings = self.get(&["v1", "bindings"], &[])?;
        let ids = |property: &str| -> Vec<&str> {
            let all = bindings["items"].as_array().into_iter().flatten();
            all.filter(|binding| binding[property] == given).filter_map(|binding| binding["id"].as_str()).collect()
        };
        match (ids("id").as_slice(), ids("plugin").as_slice()) {
            ([id], _) | ([], [id]) => Ok((*id).to_owned()),
            (_, []) => bail!("there is no binding {given} and no plugin of that name is bound: see `flyloft plugin list`"),
            (_, several) => bail!("{given} is bound more than once: name one of {}", several.join(", ")),
        }
    }

    fn json(&self, method: &str, path: &[&str], body: &Value) -> Result<Value> {
        let request = self.request(method, path, &[]).header("content-type", "application/json");
        self.answer(self.agent.run(request.body(body.to_string())?))
    }

    fn request(&self, method: &str, path: &[&str], query: &[(&str, &str)]) -> ureq::http::request::Builder {
        let mut url = self.base.clone();
        for part in path {
            url.push('/');
            // A name with a slash must not become another path.
            url.extend(form_urlencoded::byte_serialize(part.as_bytes()).map(|piece| if piece == "+" { "%20" } else { piece }));
        }
        if !query.is_empty() {
            url.push('?');
            url.push_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish());
        }
        Request::builder().method(method).uri(url).header("authorization", format!("Bearer {}", self.token))
    }

    fn sent(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>> {
        let mut response = sent.with_context(|| format!("cannot reach the server at {}", self.base))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: Value = serde_json::from_slice(&read(&mut response)?).unwrap_or_default();
        match problem["detail"].as_str() {
            Some(detail) => bail!("{detail}"),
            None => bail!("{} answers {status}: is it a Flyloft server?", self.base),
        }
    }

    fn answer(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Value> {
        let body = read(&mut self.sent(sent)?)?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).context("the server sent something that is not JSON")
    }
}

fn read(response: &mut Response<Body>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut bytes).context("the connection to the server was lost")?;
    Ok(bytes)
}

fn local(data: &Path, file: &str, instead: &str) -> Result<Value> {
    let path = data.join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}: give {instead}, or the server's --data", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

fn local_base(data: &Path) -> Result<String> {
    let addresses = local(data, "addresses.json", "--server")?;
    let address = addresses["http"].as_str().context("the server on this machine has no HTTP address: give --server")?;
    let mut address: SocketAddr = address.parse().with_context(|| format!("{address:?} in addresses.json is no address"))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("http://{address}"))
}

fn local_token(data: &Path) -> Result<String> {
    let credentials = local(data, "credentials.json", "--token")?;
    Ok(credentials["operatorToken"].as_str().context("credentials.json has no operatorToken: give --token")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_this_machine_is_found_by_its_data() {
        let dir = tempfile::tempdir().unwrap();
        let target = |server: Option<&str>| Target {
            server: server.map(str::to_owned),
            token: None,
            data: dir.path().to_owned(),
            json: false,
        };
        let error = |server| Client::new(&target(server)).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error(None).contains("--server"));
        std::fs::write(dir.path().join("addresses.json"), "{\"http\":\"0.0.0.0:8080\"}").unwrap();
        assert!(error(None).contains("--token"));
        std::fs::write(dir.path().join("credentials.json"), "{\"operatorToken\":\"hush\"}").unwrap();
        let client = Client::new(&target(None)).unwrap();
        assert_eq!((client.base.as_str(), client.token.as_str()), ("http://127.0.0.1:8080", "hush"));
        assert_eq!(Client::new(&target(Some("https://v.example/"))).unwrap().base, "https://v.example");
        assert!(error(Some("v.example")).contains("http://HOST:PORT"));
    }

    #[test]
    fn names_stay_within_their_part_of_the_address() {
        let client = Client { agent: Agent::new_with_defaults(), base: "http://h".into(), token: "t".into() };
        let request = client.request("GET", &["v1", "plugins", "a/../b c?"], &[("since", "2026-11-21T10:00:00+01:00")]);
        let uri = request.body(()).unwrap().uri().to_string();
        assert_eq!(uri, "http://h/v1/plugins/a%2F..%2Fb%20c%3F?since=2026-11-21T10%3A00%3A00%2B01%3A00");
    }
}
