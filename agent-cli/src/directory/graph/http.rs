//! Requests over HTTPS: the only place in which this program opens a network connection.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use ureq::http::{HeaderValue, Method, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error, Timeout};
use zeroize::Zeroizing;

/// How long a request may take in all, and how long a connection to be there.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// The longest answer that is read. What is asked for here has a few KiB.
const LONGEST_ANSWER: u64 = 256 * 1024;

/// Requests to one server, each on a connection of its own: a person may take their time between two.
#[derive(Debug)]
pub(super) struct Http {
    agent: Agent,
    base: String,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// When to come again, as the server has it.
    pub(super) retry_after: Option<String>,
    /// What it has against the access token.
    pub(super) challenge: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// What happened.
    pub(super) what: String,
    /// Whether the request may have arrived all the same.
    pub(super) may_have_arrived: bool,
}

impl Http {
    /// Requests to this server. To `http://`, which is this machine, no proxy is asked.
    ///
    /// # Errors
    /// Where the system has no certificates to know a server by.
    pub(super) fn to(base: &str) -> Result<Self, String> {
        let encrypted = base.starts_with("https://");
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Whoever answers may not send the access token on to somebody else.
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_global(Some(REQUEST_LIMIT))
            .timeout_connect(Some(CONNECT_LIMIT))
            .user_agent(concat!("fido-ssh-agent/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .https_only(encrypted);
        config = if encrypted { config.tls_config(tls()?) } else { config.proxy(None) };
        Ok(Self { agent: config.build().new_agent(), base: base.to_owned() })
    }

    /// Sends a request, with this body in JSON if there is one.
    pub(super) fn send(
        &self,
        method: &Method,
        path: &str,
        token: &SecretString,
        body: Option<&str>,
    ) -> Result<Answer, Unanswered> {
        let unsent = |what: String| Unanswered { what, may_have_arrived: false };
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        let mut bearer =
            HeaderValue::from_str(&bearer).map_err(|_| unsent("the access token can't stand in a request".into()))?;
        bearer.set_sensitive(true);
        let request =
            Request::builder().method(method).uri(format!("{}{path}", self.base)).header(AUTHORIZATION, bearer);
        let answer = match body {
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body)
                .map_err(Error::from)
                .and_then(|request| self.agent.run(request)),
            None => request.body(()).map_err(Error::from).and_then(|request| self.agent.run(request)),
        };
        let mut answer = answer.map_err(|error| Unanswered::of(&error))?;
        let header = |name: HeaderName| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (retry_after, challenge) = (header(RETRY_AFTER), header(WWW_AUTHENTICATE));
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        // It has answered, so the request has arrived.
        let body = body.map_err(|error| Unanswered { may_have_arrived: true, ..Unanswered::of(&error) })?;
        Ok(Answer { status, retry_after, challenge, body })
    }
}

impl Unanswered {
    fn of(error: &Error) -> Self {
        // Where a connection was not even there, nothing went over it.
        let before = matches!(
            error,
            Error::HostNotFound
                | Error::ConnectionFailed
                | Error::ConnectProxyFailed(_)
                | Error::InvalidProxyUrl
                | Error::RequireHttpsOnly(_)
                | Error::Rustls(rustls::Error::InvalidCertificate(_))
                | Error::Tls(_)
                | Error::TlsRequired
                | Error::BadUri(_)
                | Error::Http(_)
                | Error::Timeout(Timeout::Resolve | Timeout::Connect)
        ) || matches!(error, Error::Io(error) if is_no_connection(error));
        let what = match error {
            Error::BodyExceedsLimit(_) => "its answer is far too long".into(),
            Error::Timeout(_) => "it did not answer in time".into(),
            other => other.to_string(),
        };
        Self { what, may_have_arrived: !before }
    }
}

/// Certificates are found wrong while a connection is set up, and ureq gives that as an error of input and output.
fn is_no_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    let certificate = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    certificate.is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)))
        || matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
        )
}

/// Servers are known by the system's own certificates, those of a company's included.
fn tls() -> Result<TlsConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!("this machine has no certificates to know a server by{why}"));
    }
    let certificates = found.certs.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(certificates))
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}
