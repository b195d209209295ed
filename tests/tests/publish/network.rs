//! What lies between here and the account.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use tests::graph::{Answer, Graph, stores};
use tests::{Ended, TokenKind};

use crate::fabric::Fabric;

/// Publishes by way of another address.
fn publish_by(fabric: &Fabric, url: &str) -> Ended {
    let path = fabric.env.path("config/fido-ssh-agent/config.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = settings.split_once("publish.graph_url = \"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    std::fs::write(&path, format!("{before}publish.graph_url = \"{url}\"{after}")).unwrap();
    fabric.publish()
}

/// A way to a server on which no answer to a request with this method comes back.
fn way_that_loses_answers_to(method: &'static str, server: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || pass_on(method, client, TcpStream::connect(server).unwrap()));
        }
    });
    url
}

fn pass_on(method: &str, client: TcpStream, server: TcpStream) {
    let mut begin = [0; 8];
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    if from_client.read_exact(&mut begin).and_then(|()| to_server.write_all(&begin)).is_err() {
        return;
    }
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    if begin.starts_with(method.as_bytes()) {
        // The first byte of the answer: the request has been served.
        let _ = from_server.read_exact(&mut [0]);
    } else {
        let _ = std::io::copy(&mut from_server, &mut to_client);
    }
    let _ = to_client.shutdown(Shutdown::Both);
}

/// The key was stored, and nobody here could know; the way back is to look.
#[test]
fn an_answer_that_is_lost_leaves_it_open_what_was_stored() {
    let fabric = Fabric::ready();
    let url = way_that_loses_answers_to("POST", fabric.graph.address());
    let lost = publish_by(&fabric, &url).code(1);
    assert!(lost.stderr.contains("It may or may not have been stored"), "{}", lost.stderr);
    assert!(lost.stderr.contains("`agent-cli published`"), "{}", lost.stderr);
    assert_eq!(fabric.graph.writes(), [stores("POST", &fabric.key.public_line())]);
    let compared = fabric.cli(&["published"], "").arg(fabric.key.public_path()).run().success();
    assert!(compared.stdout.contains("All of them agree."), "{}", compared.stdout);
    let again = publish_by(&fabric, &url).success();
    assert!(again.stdout.starts_with("Published already"), "{}", again.stdout);

    let fabric = Fabric::ready();
    let url = way_that_loses_answers_to("GET", fabric.graph.address());
    let lost = publish_by(&fabric, &url).code(1);
    assert!(lost.stderr.contains("Nothing was changed there"), "{}", lost.stderr);
    assert!(fabric.graph.writes().is_empty());
}

/// An address where nobody listens; it stays taken for as long as the socket is there.
#[test]
fn nobody_is_there() {
    let fabric = Fabric::ready();
    let taken = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&taken, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(getsockname(&taken).unwrap()).unwrap();
    let ended = publish_by(&fabric, &format!("http://{address}")).code(1);
    assert!(
        ended.stderr.contains("could not be asked") && ended.stderr.contains("Connection refused"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("Nothing was changed there"), "{}", ended.stderr);
    assert_eq!(fabric.signatures(), 0);
}

/// Neither to another host nor to the same.
#[test]
fn an_access_token_is_not_sent_on() {
    let fabric = Fabric::ready();
    let other = Graph::start();
    let (elsewhere, other_host) = (format!("{}/elsewhere", fabric.graph.url()), format!("{}/v1.0/me", other.url()));
    for (method, status, to) in [
        ("GET", 301, &other_host),
        ("GET", 302, &elsewhere),
        ("GET", 307, &"/elsewhere".into()),
        ("POST", 302, &other_host),
        ("POST", 308, &other_host),
    ] {
        fabric.graph.answers(method, Answer::new(status).header("Location", to));
        let ended = fabric.publish().code(1);
        assert!(ended.stderr.contains("sends us on to another address"), "{}", ended.stderr);
    }
    assert!(other.asked().is_empty() && fabric.graph.stored().is_none());
    assert!(!fabric.graph.asked().iter().any(|asked| asked.path == "/elsewhere"));
}

/// What is plain on this machine is not shown to a proxy elsewhere.
#[test]
fn no_proxy_sees_a_plain_access_token() {
    let fabric = Fabric::ready();
    let proxy = Graph::start();
    let publish = fabric.cli(&["publish"], "y\n").arg(fabric.key.public_path());
    let with_proxy =
        ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].iter().fold(publish, |it, name| it.env(name, proxy.url()));
    with_proxy.run().success();
    assert!(proxy.asked().is_empty());
}

/// A server with this certificate authority's certificate, for whom it is nobody's account.
struct Stranger {
    _server: tests::Running,
    url: String,
}

impl Stranger {
    fn start(fabric: &Fabric) -> Self {
        let folder = fabric.env.path("tls");
        std::fs::create_dir(&folder).unwrap();
        let openssl = |words: &str| {
            let program = fabric.env.program("openssl").args(words.split(' ')).current_dir(&folder);
            program.run().success();
        };
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!("req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
        openssl(&format!("req {new_key} -keyout key.pem -out request.pem -subj /CN=127.0.0.1"));
        std::fs::write(folder.join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
        openssl(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem",
        );
        let server = fabric.env.program("openssl").current_dir(&folder);
        let server = server.args("s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem -www".split(' ')).start();
        server.stdout().wait_for("ACCEPT ");
        let text = server.stdout().text();
        let address = text.split("ACCEPT ").nth(1).unwrap().lines().next().unwrap().to_owned();
        Self { _server: server, url: format!("https://{address}") }
    }
}

/// Over TLS, to whom the system's certificates vouch for.
#[test]
fn a_server_is_known_by_the_system_s_certificates() {
    let fabric = Fabric::with(TokenKind::Fingerprint, |agent| agent);
    let stranger = Stranger::start(&fabric);
    let unknown = publish_by(&fabric, &stranger.url).code(1);
    assert!(unknown.stderr.contains("certificate"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("Nothing was changed there"), "{}", unknown.stderr);

    let known = fabric.cli(&["publish"], "y\n").arg(fabric.key.public_path());
    let known = known.env("SSL_CERT_FILE", fabric.env.path("tls/ca.pem")).run().code(1);
    assert!(known.stderr.contains("does not say who you are"), "{}", known.stderr);

    let none = fabric.cli(&["publish"], "y\n").arg(fabric.key.public_path());
    let none = none.env("SSL_CERT_FILE", fabric.env.path("nothing.pem")).run().code(1);
    assert!(none.stderr.contains("no certificates") && none.stderr.contains("ca-certificates"), "{}", none.stderr);
}
