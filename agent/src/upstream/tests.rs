//! Upstreams that misbehave in every way a socket allows.

use std::path::PathBuf;
use std::time::Instant;

use signature::Signer;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

/// SSH_AGENT_FAILURE, in a frame.
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];

/// Another agent: answers each message with the bytes that `answer` makes of it, or closes the connection.
fn serve(socket: &Path, answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Copy + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while let Some(message) = message(&mut stream).await {
                    let Some(answer) = answer(&message) else { return };
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

async fn message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; stream.read_u32().await.ok()? as usize];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// A list with these keys.
fn list(keys: &[&str]) -> Vec<u8> {
    let mut answer = [&[12][..], &u32::try_from(keys.len()).unwrap().to_be_bytes()].concat();
    for key in keys {
        answer.extend([frame(key.as_bytes()), frame(b"comment")].concat());
    }
    frame(&answer)
}

/// An agent with one key, which knows no extensions, as older ones do.
fn decent(message: &[u8]) -> Option<Vec<u8>> {
    Some(match message.first() {
        Some(11) => list(&["key"]),
        Some(13) => frame(&[&[14][..], &frame(b"signature")].concat()),
        _ => FAILURE.to_vec(),
    })
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn upstreams(&self, names: &[&str]) -> Upstreams {
        Upstreams::new(names.iter().map(|name| self.socket(name)), &self.socket("own")).unwrap()
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

async fn trouble(upstreams: &Upstreams) -> String {
    upstreams.status().await.remove(0).keys.unwrap_err()
}

fn blobs(keys: &[UpstreamKey]) -> Vec<&[u8]> {
    keys.iter().map(|key| &*key.key.blob).collect()
}

#[test]
fn keys_are_listed_in_the_order_of_the_configuration_each_once() {
    run(async {
        let place = Place::new();
        serve(&place.socket("one"), |message| if message == [11] { Some(list(&["a", "b"])) } else { decent(message) });
        serve(&place.socket("two"), |message| if message == [11] { Some(list(&["b", "c"])) } else { decent(message) });
        let upstreams = place.upstreams(&["one", "two"]);
        let keys = upstreams.list(&SessionBindings::default()).await;
        assert_eq!(blobs(&keys), [b"a", b"b", b"c"]);
        assert_eq!(keys[1].socket, place.socket("one"));
        let found = upstreams.find(b"c", &SessionBindings::default()).await.unwrap();
        assert_eq!(found.socket, place.socket("two"));
        assert_eq!(upstreams.find(b"d", &SessionBindings::default()).await, Err(Missing::default()));
    });
}

#[test]
fn each_kind_of_rubbish_is_named_and_costs_nothing_else() {
    let gibibyte = |_: &[u8]| Some((1_u32 << 30).to_be_bytes().to_vec());
    let many = |message: &[u8]| {
        let list = [&[12][..], &100_000_u32.to_be_bytes()].concat();
        if message == [11] { Some(frame(&list)) } else { decent(message) }
    };
    let cut = |message: &[u8]| {
        let list = frame(&[&[12, 0, 0, 0, 1][..], &[0xff; 4]].concat());
        if message == [11] { Some(list) } else { decent(message) }
    };
    let refusing = |_: &[u8]| Some(FAILURE.to_vec());
    let other_type = |_: &[u8]| Some(frame(&[6]));
    let short = |_: &[u8]| Some(Vec::from(&FAILURE[..3]));
    run(async {
        let place = Place::new();
        serve(&place.socket("closing"), |_| None);
        serve(&place.socket("gibibyte"), gibibyte);
        serve(&place.socket("many"), many);
        serve(&place.socket("cut"), cut);
        serve(&place.socket("empty"), |_| Some(frame(b"")));
        serve(&place.socket("refusing"), refusing);
        serve(&place.socket("other type"), other_type);
        serve(&place.socket("short"), short);
        serve(&place.socket("decent"), decent);
        std::fs::write(place.socket("file"), "").unwrap();
        drop(UnixListener::bind(place.socket("dead")).unwrap());
        for (name, expected) in [
            ("absent", "No such file"),
            ("dead", "refused"),
            ("file", "refused"),
            ("closing", "it closed the connection"),
            ("gibibyte", "an answer of 1073741824 bytes"),
            ("many", "it has 100000 keys"),
            ("cut", "its answer can't be used: it is cut short"),
            ("empty", "its answer can't be used: it is cut short"),
            ("refusing", "it refused"),
            ("other type", "its answer can't be used: it answers another question"),
            ("short", "it did not answer within 1 s"),
        ] {
            let upstreams = place.upstreams(&[name, "decent"]);
            let told = trouble(&upstreams).await;
            assert!(told.contains(expected), "{name}: {told}");
            let keys = upstreams.list(&SessionBindings::default()).await;
            assert_eq!(blobs(&keys), [b"key"], "the others are listed beside {name}");
        }
    });
}

/// All of them are waited for at once, and not for longer than one.
#[test]
fn silence_is_waited_for_once() {
    run(async {
        let place = Place::new();
        let silent = ["1", "2", "3", "4", "5", "6"];
        let _listeners = silent.map(|name| UnixListener::bind(place.socket(name)).unwrap());
        serve(&place.socket("decent"), decent);
        let upstreams = place.upstreams(&[&silent[..], &["decent"]].concat());
        let start = Instant::now();
        assert_eq!(blobs(&upstreams.list(&SessionBindings::default()).await), [b"key"]);
        assert!(start.elapsed() >= PATIENCE);
        assert!(start.elapsed() < 5 * PATIENCE, "{:?} for {} of them", start.elapsed(), silent.len());
        // Whoever has the key is not held up by those that say nothing.
        let start = Instant::now();
        assert!(upstreams.find(b"key", &SessionBindings::default()).await.is_ok());
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        assert!(trouble(&upstreams).await.contains("did not answer"));
    });
}

/// Whoever lists keys after the first does not wait at all, until it answers again.
#[test]
fn silence_is_not_waited_for_twice() {
    run(async {
        let place = Place::new();
        let listener = UnixListener::bind(place.socket("blocked")).unwrap();
        let upstreams = place.upstreams(&["blocked"]);
        assert!(trouble(&upstreams).await.contains("did not answer"));
        let start = Instant::now();
        for _ in 0..10 {
            assert!(trouble(&upstreams).await.contains("did not answer"));
        }
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());

        // The person there has answered, say: those who wait are served in turn, the last of them is the one that stayed.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some(message) = message(&mut stream).await {
                if stream.write_all(&decent(&message).unwrap()).await.is_err() {
                    break;
                }
            }
        }
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some(message) = message(&mut stream).await {
                stream.write_all(&decent(&message).unwrap()).await.unwrap();
            }
        });
        assert_eq!(upstreams.list(&SessionBindings::default()).await.len(), 1);
    });
}

/// One that sends a byte now and then does not gain time by it.
#[test]
fn a_trickle_is_waited_for_no_longer_than_silence() {
    run(async {
        let place = Place::new();
        let listener = UnixListener::bind(place.socket("trickle")).unwrap();
        let trickle = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&1000_u32.to_be_bytes()).await.unwrap();
            while stream.write_all(&[5]).await.is_ok() {
                tokio::time::sleep(PATIENCE / 20).await;
            }
        });
        assert!(trouble(&place.upstreams(&["trickle"])).await.contains("did not answer"));
        // Its connection was closed.
        trickle.await.unwrap();
    });
}

#[test]
fn a_request_that_is_given_up_is_given_up_there_too() {
    run(async {
        let place = Place::new();
        let listener = UnixListener::bind(place.socket("slow")).unwrap();
        let (report, mut reports) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some(message) = message(&mut stream).await {
                if message[0] != 13 {
                    stream.write_all(FAILURE).await.unwrap();
                }
                report.send(message).unwrap();
            }
        });
        let upstreams = place.upstreams(&["slow"]);
        let (socket, bindings) = (place.socket("slow"), SessionBindings::default());
        let signing = upstreams.sign(&socket, b"key", &bindings, b"data", 0);
        let asked = async { while reports.recv().await.unwrap()[0] != 13 {} };
        tokio::select! {
            _ = signing => panic!("nobody has signed"),
            () = asked => {}
        }
        assert_eq!(reports.recv().await, None, "the connection is closed, and nothing follows the request");
    });
}

/// What the client's connection is bound to is told before anything is asked, in order.
#[test]
fn bindings_are_replayed() {
    let (jump, device) = (host(), host());
    let mut bindings = SessionBindings::default();
    let [first, last] = [bind(&mut bindings, &jump, b"first", true), bind(&mut bindings, &device, b"last", false)];
    let mark = [&[27][..], &frame(OWN_KEYS_ONLY.as_bytes())].concat();
    let taking_all = |message: &[u8]| if message[0] == 27 { Some(frame(&[6])) } else { decent(message) };
    run(async {
        let (place, upstreams, messages) = overheard(taking_all);
        assert_eq!(upstreams.list(&bindings).await.len(), 1);
        assert_eq!(messages.await.unwrap(), [mark.clone(), first.clone(), last, vec![11]]);
        assert!(!upstreams.0[0].history().refused_bindings);
        drop(place);

        // Older agents are used all the same, but told no path that seems shorter than it is.
        let (place, upstreams, messages) = overheard(decent);
        assert_eq!(upstreams.list(&bindings).await.len(), 1);
        assert_eq!(messages.await.unwrap(), [mark.clone(), first, vec![11]]);
        assert!(upstreams.0[0].history().refused_bindings);
        drop(place);

        // Neither is anybody where a binding failed here: there may be a host on the way that is none of the bound ones.
        bindings.note_failure();
        let (_place, upstreams, messages) = overheard(taking_all);
        assert_eq!(upstreams.list(&bindings).await.len(), 1);
        let failing = [&[27][..], &frame(b"session-bind@openssh.com")].concat();
        assert_eq!(messages.await.unwrap(), [mark, failing, vec![11]]);
        assert!(!upstreams.0[0].history().refused_bindings, "it was not even asked");
    });
}

/// One upstream, and what it is sent on its first connection.
fn overheard(answer: fn(&[u8]) -> Option<Vec<u8>>) -> (Place, Upstreams, JoinHandle<Vec<Vec<u8>>>) {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket("other")).unwrap();
    let messages = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut messages = Vec::new();
        while let Some(message) = message(&mut stream).await {
            stream.write_all(&answer(&message).unwrap()).await.unwrap();
            messages.push(message);
        }
        messages
    });
    let upstreams = place.upstreams(&["other"]);
    (place, upstreams, messages)
}

fn host() -> PrivateKey {
    PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
}

/// Binds to a host, and gives the message that does the same to another agent.
fn bind(bindings: &mut SessionBindings, host: &PrivateKey, session: &[u8], forwarding: bool) -> Vec<u8> {
    let key = host.public_key().to_bytes().unwrap();
    let signature = Vec::try_from(host.try_sign(session).unwrap()).unwrap();
    bindings.bind(&key, session, &signature, forwarding).unwrap();
    let strings = [&b"session-bind@openssh.com"[..], &key, session, &signature].map(frame).concat();
    [&[27], &strings[..], &[u8::from(forwarding)]].concat()
}

#[test]
fn a_trouble_that_is_over_is_remembered() {
    run(async {
        let place = Place::new();
        let upstreams = place.upstreams(&["late"]);
        assert!(trouble(&upstreams).await.contains("No such file"));
        serve(&place.socket("late"), decent);
        let status = upstreams.status().await.remove(0);
        assert_eq!(status.keys, Ok(1));
        assert!(status.last_trouble.unwrap().what.contains("No such file"));
        let bindings = SessionBindings::default();
        let found = upstreams.find(b"key", &bindings).await.unwrap();
        assert_eq!(upstreams.sign(&found.socket, b"key", &bindings, b"data", 0).await.unwrap(), b"signature");
    });
}

#[test]
fn a_key_that_is_missing_says_who_could_not_be_asked() {
    run(async {
        let place = Place::new();
        serve(&place.socket("decent"), decent);
        let missing = place.upstreams(&["decent", "absent"]).find(b"other", &SessionBindings::default()).await;
        let told = missing.unwrap_err().to_string();
        assert!(told.contains("absent: no agent can be reached there") && !told.contains("decent"), "{told}");
    });
}

#[test]
fn a_list_has_no_more_than_its_reader_takes() {
    let key = |length: usize| OfferedKey { blob: vec![7; length], comment: "comment".into() };
    let count = |own: &[(&[u8], &str)], offered: &[OfferedKey]| beside(own, offered.iter()).count();
    assert_eq!(count(&[], &vec![key(32); MOST_LISTED + 1]), MOST_LISTED);
    assert_eq!(count(&[(b"ours", "")], &vec![key(32); MOST_LISTED]), MOST_LISTED - 1);
    let large = LONGEST_ANSWER / 4;
    assert_eq!(count(&[], &vec![key(large); 4]), 3);
    assert_eq!(count(&[(&vec![7; large], "")], &vec![key(large); 4]), 2);
    assert_eq!(count(&[(&vec![7; LONGEST_ANSWER], "")], &[key(1)]), 0);
    // With the message's number and that of the keys, the longest answer is as long as may be.
    let exact = LONGEST_ANSWER - 2 * LENGTHS - "comment".len();
    assert_eq!((count(&[], &[key(exact)]), count(&[], &[key(exact + 1)])), (1, 0));
}

/// Agents that ask each other in a circle come to an end, and not by waiting for each other.
#[test]
fn lists_of_one_upstream_are_bounded() {
    run(async {
        let place = Place::new();
        let _silent = UnixListener::bind(place.socket("silent")).unwrap();
        let upstreams = place.upstreams(&["silent"]);
        let bindings = SessionBindings::default();
        let lists = join_all((0..=MOST_LISTS).map(|_| upstreams.0[0].list(&bindings))).await;
        let busy = lists.iter().filter(|listed| matches!(listed, Err(UpstreamError::Busy))).count();
        assert_eq!(busy, 1);
    });
}

#[test]
fn an_agent_is_not_its_own_upstream_by_any_name() {
    let place = Place::new();
    let _own = std::os::unix::net::UnixListener::bind(place.socket("own")).unwrap();
    std::os::unix::fs::symlink(place.socket("own"), place.socket("link")).unwrap();
    std::fs::hard_link(place.socket("own"), place.socket("hard link")).unwrap();
    let configured = |names: &[&str]| {
        let error = Upstreams::new(names.iter().map(|name| place.socket(name)), &place.socket("own"));
        error.err().map(|error| error.to_string())
    };
    for name in ["own", "link", "hard link"] {
        let error = configured(&["other", name]).unwrap();
        assert!(error.contains("own socket"), "{error}");
    }
    assert!(configured(&["other", "other"]).unwrap().contains("twice"));
    let many: Vec<_> = (0..=MOST_UPSTREAMS).map(|n| n.to_string()).collect();
    assert!(configured(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap().contains("Name fewer"));
    assert_eq!(configured(&["one", "two"]), None);
}
