//! A person's account, by way of Microsoft Graph: the key stands in an open extension of it, as `az nexusidentity gen-keys`
//! stores it. There is one, so a second key takes the place of the first.

mod http;
mod retry;
mod trouble;

use std::time::Duration;

use agent::config::publish::PublishConfig;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ureq::http::Method;

use super::{Entry, Standing};
use crate::problem::Problem;
use crate::terminal::Terminal;
use http::{Answer, Http, Unanswered};

/// The extension.
const EXTENSION: &str = "com.nexusidentity.keys";

const ME: &str = "/v1.0/me";
const EXTENSIONS: &str = "/v1.0/me/extensions";

/// What every extension says of itself, and what is no loss where it is written anew.
const OF_EVERY_EXTENSION: [&str; 4] = ["@odata.type", "extensionName", "id", "publicKey"];

/// The person's account.
#[derive(Debug)]
pub(crate) struct Graph {
    http: Http,
    token: SecretString,
    /// Whether the extension was there when it was looked at last.
    is_there: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    user_principal_name: String,
}

#[derive(Deserialize)]
struct Extensions {
    value: Vec<Map<String, Value>>,
}

/// The extension as it is written, whether it is new or not: what is not named here is gone afterwards.
#[derive(Serialize)]
struct Extension<'a> {
    #[serde(rename = "@odata.type")]
    kind: &'static str,
    #[serde(rename = "extensionName")]
    name: &'static str,
    #[serde(rename = "publicKey")]
    public_key: &'a str,
}

impl Graph {
    /// The account of whom this access token was given.
    pub(super) fn of(settings: &PublishConfig, token: SecretString) -> Result<Self, Problem> {
        let http = Http::to(settings.graph_url())
            .map_err(|what| Problem::failed(what).next("Install the system's certificates (ca-certificates)."))?;
        Ok(Self { http, token, is_there: false })
    }

    /// Whose account it is, and what is there.
    pub(super) fn look(&mut self, terminal: &mut Terminal) -> Result<Standing, Problem> {
        let me = self.ask(&Method::GET, ME, None, terminal)?;
        let me: Me = serde_json::from_slice(&me.body).map_err(|_| not_graph("who you are"))?;
        let standing = self.stored(terminal)?;
        Ok(Standing { account: Some(me.user_principal_name), ..standing })
    }

    /// What is there.
    pub(super) fn stored(&mut self, terminal: &mut Terminal) -> Result<Standing, Problem> {
        let answer = self.ask(&Method::GET, EXTENSIONS, None, terminal)?;
        let extensions: Extensions =
            serde_json::from_slice(&answer.body).map_err(|_| not_graph("what stands in your account"))?;
        let ours = extensions.value.into_iter().find(|each| each.get("id").is_some_and(|id| id == EXTENSION));
        self.is_there = ours.is_some();
        let Some(ours) = ours else { return Ok(Standing::default()) };
        let text = ours.get("publicKey").and_then(Value::as_str).unwrap_or_default();
        let entries = if text.trim().is_empty() { Vec::new() } else { vec![Entry::of_line(text)] };
        let others = ours.keys().filter(|name| !OF_EVERY_EXTENSION.contains(&name.as_str()));
        // What the service says about its own answer is none of the extension's properties.
        let lost = others.filter(|name| !name.contains('@')).cloned().collect();
        Ok(Standing { account: None, entries, lost })
    }

    /// Stores this line in the place of what is there.
    pub(super) fn store(&mut self, line: &str, terminal: &mut Terminal) -> Result<(), Problem> {
        let public_key = &format!("{line}\n");
        let body = Extension { kind: "microsoft.graph.openTypeExtension", name: EXTENSION, public_key };
        let body = serde_json::to_string(&body).map_err(|error| Problem::failed(error.to_string()))?;
        let (method, path) = match self.is_there {
            true => (Method::PATCH, format!("{EXTENSIONS}/{EXTENSION}")),
            false => (Method::POST, EXTENSIONS.to_owned()),
        };
        self.ask(&method, &path, Some(&body), terminal).map(drop)
    }

    /// Sends a request until it is done, as often as the server wants to be asked again and as long as that is bearable.
    fn ask(&self, method: &Method, path: &str, body: Option<&str>, terminal: &mut Terminal) -> Result<Answer, Problem> {
        let writing = body.is_some();
        let mut left = retry::LONGEST_WAIT;
        for tries_left in (0..retry::MOST_TRIES).rev() {
            terminal.check()?;
            let answer = self.http.send(method, path, &self.token, body).map_err(|error| unanswered(error, writing))?;
            if (200..300).contains(&answer.status) {
                return Ok(answer);
            }
            let wait = match answer.status {
                429 | 503 => answer.retry_after.as_deref().and_then(|header| retry::wait(header, Timestamp::now())),
                _ => None,
            };
            match wait.filter(|wait| *wait <= left && tries_left > 0) {
                Some(wait) => {
                    left = left.saturating_sub(wait);
                    terminal.say(&format!(
                        "Microsoft Graph has too much to do and wants to be asked again in {}.",
                        said(wait)
                    ));
                    terminal.pause(wait)?;
                }
                None => return Err(trouble::problem(&answer, writing)),
            }
        }
        Err(Problem::failed("Microsoft Graph has too much to do").next("Publish again later."))
    }
}

fn said(wait: Duration) -> String {
    match wait.as_secs() {
        1 => "1 second".into(),
        seconds => format!("{seconds} seconds"),
    }
}

fn unanswered(error: Unanswered, writing: bool) -> Problem {
    let problem = Problem::failed(format!("Microsoft Graph could not be asked: {}", error.what));
    match error.may_have_arrived && writing {
        true => problem.next(trouble::LOOK),
        false => problem.next(
            "Nothing was changed there. Look at your network (and HTTPS_PROXY, where you need a proxy), and repeat it.",
        ),
    }
}

fn not_graph(what: &str) -> Problem {
    Problem::failed(format!("Microsoft Graph's answer does not say {what}"))
        .next("Nothing was changed there. Look at publish.graph_url in the settings: something else may have answered.")
}
