//! What Microsoft Graph is here: an account on this machine, as far as keys are published there, and the Azure CLI, which says
//! who may.

mod server;

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::{AgentOptions, Env};
pub use server::Answer;
use server::{Request, Server};

/// Whose account it is.
pub const ACCOUNT: &str = "alice@fabric.example";
/// The access token that opens it.
pub const TOKEN: &str = "eyJ0eXAiOiJKV1QifQ.a-Token_of~Alice+and/nobody.else==";
const EXTENSION: &str = "com.nexusidentity.keys";

/// An account. It keeps what it is given, and knows what it was asked.
pub struct Graph {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The extension, where there is one.
    extension: Option<Value>,
    asked: Vec<Asked>,
    /// What is answered to the next requests with a method, in the place of what would be.
    instead: VecDeque<(&'static str, Answer)>,
    forgetful: bool,
    /// What the hosts read that are told at once.
    told: Option<PathBuf>,
}

/// A request that came.
#[derive(Clone, PartialEq)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Where it went.
    pub path: String,
    /// In JSON; null where there is none.
    pub body: Value,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.body)
    }
}

/// A request without a body.
#[must_use]
pub fn get(path: &str) -> Asked {
    Asked { method: "GET".into(), path: path.into(), body: Value::Null }
}

/// The request by which a key is stored, as `az nexusidentity gen-keys` sends it.
#[must_use]
pub fn stores(method: &str, line: &str) -> Asked {
    let path = match method {
        "POST" => "/v1.0/me/extensions".into(),
        _ => format!("/v1.0/me/extensions/{EXTENSION}"),
    };
    let body = json!({
        "@odata.type": "microsoft.graph.openTypeExtension",
        "extensionName": "com.nexusidentity.keys",
        "publicKey": format!("{line}\n"),
    });
    Asked { method: method.into(), path, body }
}

/// The Azure CLI of this place does this, and writes down how it was called. It is in the folder `bin`.
pub fn azure_cli(env: &Env, script: &str) {
    fs::create_dir_all(env.path("bin")).expect("a folder can be made");
    let calls = env.path("az-calls");
    env.script("bin/az", &format!("#!/bin/sh\necho \"$*\" >>'{}'\n{script}\n", calls.display()));
}

/// The same where somebody is signed in.
pub fn signed_in(env: &Env) {
    azure_cli(env, &format!("echo '{{\"accessToken\": \"{TOKEN}\", \"expiresOn\": \"2026-11-22\"}}'"));
}

/// An answer that says no.
#[must_use]
pub fn refusal(status: u16, code: &str) -> Answer {
    Answer::new(status).json(&json!({"error": {
        "code": code, "message": "No, because of this.", "innerError": {"date": "2026-11-22", "request-id": "request-4711"},
    }}))
}

impl Graph {
    /// An account without a key.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let served = state.clone();
        Self { server: Server::start(move |request| served.lock().unwrap().answer(request)), state }
    }

    /// Has the agent's settings name it.
    #[must_use]
    pub fn in_settings(&self, agent: AgentOptions) -> AgentOptions {
        agent.setting(&format!("publish.graph_url = \"{}\"", self.url()))
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The same without the scheme.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// The line that is stored.
    #[must_use]
    pub fn stored(&self) -> Option<String> {
        self.state().extension.as_ref().map(|extension| extension["publicKey"].as_str().unwrap_or_default().to_owned())
    }

    /// Something stands there already.
    pub fn has(&self, extension: Value) {
        let mut whole =
            json!({"@odata.type": "#microsoft.graph.openTypeExtension", "extensionName": EXTENSION, "id": EXTENSION});
        whole.as_object_mut().unwrap().extend(extension.as_object().unwrap().clone());
        self.state().extension = Some(whole);
    }

    /// All requests since the last time this was asked.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    /// The requests of those that could have changed something.
    pub fn writes(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.method != "GET").collect()
    }

    /// Answers so to the next request with this method.
    pub fn answers(&self, method: &'static str, answer: Answer) {
        self.state().instead.push_back((method, answer));
    }

    /// Says yes from now on, and stores nothing.
    pub fn forgets(&self) {
        self.state().forgetful = true;
    }

    /// From now on its key is the only one in this file, from the moment on at which it is stored.
    pub fn tells(&self, hosts: PathBuf) {
        self.state().told = Some(hosts);
    }

    /// Whether all answers were given that were to be.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.state().instead.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let Request { method, path, body, .. } = request;
        let body = serde_json::from_slice(body).unwrap_or_default();
        self.asked.push(Asked { method: method.clone(), path: path.clone(), body });
        let instead = self.instead.iter().position(|(asked, _)| asked == method);
        if let Some((_, answer)) = instead.and_then(|at| self.instead.remove(at)) {
            return answer;
        }
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return refusal(401, "InvalidAuthenticationToken");
        }
        self.serve(method, path, request)
    }

    fn serve(&mut self, method: &str, path: &str, request: &Request) -> Answer {
        let is_json = request.header("content-type") == Some("application/json");
        let body = || serde_json::from_slice::<Value>(&request.body).ok().filter(|_| is_json);
        match (method, path.strip_prefix("/v1.0/me").unwrap_or("no such path")) {
            ("GET", "") => {
                Answer::new(200).json(&json!({"displayName": "Alice", "userPrincipalName": ACCOUNT, "id": "87d349ed"}))
            }
            ("GET", "/extensions") => {
                let another = json!({"id": "com.example.another", "publicKey": "of no concern"});
                let all: Vec<_> = [another].into_iter().chain(self.extension.clone()).collect();
                Answer::new(200).json(&json!({"@odata.context": "…", "value": all}))
            }
            ("POST", "/extensions") => match (&self.extension, body()) {
                (Some(_), _) => refusal(409, "NameAlreadyExists"),
                (None, None) => refusal(400, "BadRequest"),
                (None, Some(body)) => self.store(body, 201),
            },
            ("PATCH", "/extensions/com.nexusidentity.keys") => match (&self.extension, body()) {
                (None, _) => refusal(404, "ResourceNotFound"),
                (_, None) => refusal(400, "BadRequest"),
                // Where the reference says 200.
                (Some(_), Some(body)) => self.store(body, 204),
            },
            _ => refusal(404, "BadRequest"),
        }
    }

    fn store(&mut self, mut extension: Value, status: u16) -> Answer {
        extension["id"] = EXTENSION.into();
        if !self.forgetful {
            self.extension = Some(extension.clone());
        }
        if let (Some(hosts), Some(line)) = (&self.told, extension["publicKey"].as_str()) {
            fs::write(hosts, line).expect("the hosts' file can be written");
        }
        let answer = Answer::new(status);
        if status == 201 { answer.json(&extension) } else { answer }
    }
}
