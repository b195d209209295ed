//! What ssh-agent-lib 0.6 and ssh-key 0.6 get wrong, and this program therefore does itself. A test fails once a library has
//! been mended: then what is done here in its place may go.
//!
//! That ours is right is shown elsewhere:
//!
//! | what the library does | where ours is tested |
//! |---|---|
//! | waits for a frame of any length | `tests/protocol.rs`, `a_message_of_256_kib_is_the_longest` |
//! | ends the connection at an unknown message | `tests/protocol.rs`, `what_can_not_be_parsed_is_a_failure_and_no_more` |
//! | reads on behind a frame | `wire.rs`, `a_message_ends_where_its_frame_ends` |
//! | ends when no connection can be accepted | `tests/limits.rs`, `a_process_that_opens_all_it_can_takes_nothing_from_others` |
//! | has passwords in its log | `wire.rs`: a password is a secret |
//! | does not see that a client went away | `tests/waiting.rs`, `a_client_that_goes_away_cancels_the_token` |
//! | refuses certificates of FIDO keys, and those that are good for ever | `wire/addition/tests.rs` |
//! | refuses bytes that are not UTF-8 | `wire/addition/tests.rs`, `a_comment_is_any_bytes` |
//! | refuses session bindings of host certificates | `tests/statements/bindings.rs`, `hosts_with_certificates` |
//! | refuses certificates of smartcards | `tests/statements/additions.rs`, `no_library_is_loaded` |
//! | passes over reserved fields | `wire/constraints/tests.rs`, `a_destination_is_complete_and_consistent` |
//! | gives the answer to `query` a length too many | `tests/protocol.rs`, `query_names_the_extensions` |
//! | misplaces flags and counter of FIDO signatures | `tests/login.rs`: OpenSSH accepts them |
//! | takes a FIDO signature under any name | `verify/tests.rs`, `a_signature_says_how_it_was_made` |
//! | refuses P-521 keys with a short scalar | `software_key/tests.rs`, `keys_of_every_type_sign` |
//! | can't sign with RSA, nor verify all sizes | `software_key/tests.rs`, `verify/tests.rs` |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::BytesMut;
use signature::{Signer, Verifier};
use ssh_agent_lib::agent::{Agent, ListeningSocket, Session, listen};
use ssh_agent_lib::codec::Codec;
use ssh_agent_lib::error::AgentError;
use ssh_agent_lib::proto::extension::{QueryResponse, RestrictDestination, SessionBind};
use ssh_agent_lib::proto::{Identity, Request, Response};
use ssh_encoding::{Decode, Encode};
use ssh_key::private::KeypairData;
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, Certificate, Mpint, PrivateKey, Signature};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::Decoder;

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes.encode(&mut out).unwrap();
    out
}

/// A line of `fixtures/keys`: its name, and what it is the name of.
fn made_by_openssh(file: &str, name: &str) -> Vec<u8> {
    let mut lines = file.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let words = lines.find(|words| words[0] == name).expect(name);
    base64::engine::general_purpose::STANDARD.decode(words[words.len() - 1]).unwrap()
}

/// What `ssh-add` sends.
fn addition(name: &str) -> Vec<u8> {
    made_by_openssh(include_str!("../../fixtures/keys/additions"), name)
}

/// What `ssh-keygen` makes.
fn certificate(name: &str) -> Vec<u8> {
    made_by_openssh(include_str!("../../fixtures/keys/certificates"), name)
}

mod frames {
    use super::*;

    fn codec() -> Codec<Request, Response> {
        Codec::default()
    }

    /// One client took it to 529 MB.
    #[test]
    fn any_length_is_waited_for() {
        let mut gibibyte = BytesMut::from(&[0x40, 0, 0, 0, 11][..]);
        assert!(matches!(codec().decode(&mut gibibyte), Ok(None)));
    }

    /// An error of the decoder is the end of the connection.
    #[test]
    fn an_unknown_message_is_an_error() {
        for message in [&[99][..], &[13, 0, 0]] {
            let mut frame = BytesMut::from(&string(message)[..]);
            assert!(codec().decode(&mut frame).is_err());
        }
    }

    #[test]
    fn the_next_frame_is_read_as_part_of_this_one() {
        let lock_with_a_password_that_is_missing = [22, 0, 0, 0, 5];
        let list = [11];
        let mut frames = BytesMut::from(&[string(&lock_with_a_password_that_is_missing), string(&list)].concat()[..]);
        let Ok(Some(Request::Lock(password))) = codec().decode(&mut frames) else { panic!("it has been mended") };
        assert_eq!(password.as_bytes(), [0, 0, 0, 1, 11]);
    }
}

mod listening {
    use super::*;

    #[derive(Debug)]
    struct OutOfDescriptors;

    #[ssh_agent_lib::async_trait]
    impl ListeningSocket for OutOfDescriptors {
        type Stream = UnixStream;

        async fn accept(&mut self) -> std::io::Result<UnixStream> {
            Err(rustix::io::Errno::MFILE.into())
        }
    }

    #[derive(Clone)]
    struct NoKeys;

    impl Session for NoKeys {}

    impl Agent<OutOfDescriptors> for NoKeys {
        fn new_session(&mut self, _socket: &UnixStream) -> impl Session {
            Self
        }
    }

    #[tokio::test]
    async fn it_ends_when_no_descriptor_is_free() {
        let ended = tokio::time::timeout(Duration::from_secs(1), listen(OutOfDescriptors, NoKeys)).await;
        assert!(ended.expect("it has been mended").is_err());
    }

    /// `listen` logs each request so.
    #[test]
    fn a_password_is_printed() {
        assert!(format!("{:?}", Request::Lock("secret".into())).contains("secret"));
    }

    /// Its request never ends, and says when it is dropped.
    #[derive(Clone, Default)]
    struct Waiting {
        begun: Arc<tokio::sync::Notify>,
        dropped: Arc<AtomicBool>,
    }

    #[ssh_agent_lib::async_trait]
    impl Session for Waiting {
        async fn request_identities(&mut self) -> Result<Vec<Identity>, AgentError> {
            struct Drops(Arc<AtomicBool>);
            impl Drop for Drops {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::SeqCst);
                }
            }
            let _drops = Drops(self.dropped.clone());
            self.begun.notify_one();
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_request_goes_on_whose_client_went_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let waiting = Waiting::default();
        let listening = tokio::spawn(listen(UnixListener::bind(&path).unwrap(), waiting.clone()));
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(&string(&[11])).await.unwrap();
        waiting.begun.notified().await;
        drop(client);
        // Nothing is to be waited for: what should happen does not.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.dropped.load(Ordering::SeqCst));
        listening.abort();
    }
}

mod messages {
    use super::*;

    fn decodes(frame: &[u8]) -> bool {
        Request::decode(&mut &*frame).is_ok()
    }

    #[test]
    fn certificates_that_are_good_for_ever_are_refused() {
        for name in ["ed25519", "ecdsa256", "rsa", "sk-ed25519", "sk-ecdsa"] {
            assert!(decodes(&addition(name)), "{name}");
            assert!(!decodes(&addition(&format!("{name}-certificate"))), "{name}");
        }
    }

    /// Even where they end one day.
    #[test]
    fn certificates_of_keys_on_tokens_are_refused() {
        let host_of_the_2020s = certificate("host-2020s");
        assert!(Certificate::from_bytes(&host_of_the_2020s).is_ok(), "this one can be read");
        for (name, algorithm) in [("sk-ed25519", "sk-ssh-ed25519"), ("sk-ecdsa", "sk-ecdsa-sha2-nistp256")] {
            let frame = addition(&format!("{name}-certificate"));
            let mut rest = &frame[1..];
            let [_name, mut blob] = std::array::from_fn(|_| Vec::<u8>::decode(&mut rest).unwrap());
            // Its end, in the place of "for ever".
            let for_ever = blob.windows(8).position(|bytes| bytes == [0xff; 8]).unwrap();
            blob[for_ever..for_ever + 8].copy_from_slice(&1_900_000_000_u64.to_be_bytes());
            assert!(Certificate::from_bytes(&blob).is_ok(), "{name}: the certificate can be read");
            let type_name = format!("{algorithm}-cert-v01@openssh.com");
            let ends = [&frame[..1], &string(type_name.as_bytes()), &string(&blob), rest].concat();
            assert!(!decodes(&ends), "{name}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        let mut frame = addition("ed25519");
        assert!(frame.ends_with(&string(b"ed25519")));
        *frame.last_mut().unwrap() = 0xe9;
        assert!(!decodes(&frame), "a comment");
        assert!(!decodes(&[&[22][..], &string(b"caf\xe9")].concat()), "a password");
    }

    #[test]
    fn session_bindings_of_host_certificates_are_refused() {
        let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let signature = Vec::try_from(host.try_sign(b"session").unwrap()).unwrap();
        let bind = |host_key: &[u8]| {
            let body = [&string(host_key)[..], &string(b"session"), &string(&signature), &[0]].concat();
            SessionBind::decode(&mut body.as_slice()).is_ok()
        };
        assert!(bind(&host.public_key().to_bytes().unwrap()));
        assert!(!bind(&certificate("host-2020s")));
    }

    /// What a later version restricts there would be lost.
    #[test]
    fn reserved_fields_are_passed_over() {
        let key = string(&PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap().public_key().to_bytes().unwrap());
        let end = |host: &[u8], reserved: &[u8], keys: &[u8]| {
            [&string(b"")[..], &string(host), &string(reserved), keys].concat()
        };
        let to = end(b"leaf", b"later", &[&key[..], &[0]].concat());
        let constraint = [end(b"", b"later", b""), to, b"later".to_vec()].map(|part| string(&part)).concat();
        assert!(RestrictDestination::decode(&mut string(&constraint).as_slice()).is_ok());
    }

    /// As `ssh-add -s MODULE -C CERTIFICATE` sends them: the constraint's body is taken for one string.
    #[test]
    fn certificates_of_smartcards_are_refused() {
        let frame = |constraint: &[u8]| [&[26][..], &string(b"module.so"), &string(b"1234"), constraint].concat();
        assert!(decodes(&frame(&[])) && decodes(&frame(&[1, 0, 0, 0, 60])));
        let certificates = string(&string(&certificate("user")));
        for only_certificates in [0, 1] {
            let name = string(b"associated-certs-v00@openssh.com");
            let constraint = [&[255][..], &name, &[only_certificates], &certificates].concat();
            assert!(!decodes(&frame(&constraint)), "{only_certificates}");
        }
    }

    #[test]
    fn the_answer_to_query_has_a_length_too_many() {
        let mut answer = Vec::new();
        QueryResponse { extensions: vec!["query".into()] }.encode(&mut answer).unwrap();
        assert_eq!(answer, string(&string(b"query")));
    }
}

mod keys {
    use super::*;

    fn key(name: &str) -> Result<KeypairData, ssh_key::Error> {
        KeypairData::decode(&mut &addition(name)[1..])
    }

    #[test]
    fn certificates_that_are_good_for_ever_are_refused() {
        assert!(Certificate::from_bytes(&certificate("host-2020s")).is_ok());
        assert!(Certificate::from_bytes(&certificate("host")).is_err());
    }

    #[test]
    fn flags_and_counter_of_an_ecdsa_signature_are_misplaced() {
        let (integers, trailer) = ([string(&[1; 32]), string(&[2; 32])].concat(), [5, 0, 0, 0, 7]);
        let signature = Signature::new(Algorithm::SkEcdsaSha2NistP256, [&integers[..], &trailer].concat()).unwrap();
        let mut encoded = Vec::new();
        signature.encode(&mut encoded).unwrap();
        let name = string(b"sk-ecdsa-sha2-nistp256@openssh.com");
        assert_ne!(encoded, [&name[..], &string(&integers), &trailer].concat());
        assert_eq!(encoded, [&name[..], &string(&[&integers[..], &trailer].concat())].concat());
    }

    #[test]
    fn a_token_s_signature_is_taken_under_any_name() {
        let signed = certificate("ca-sk-ed25519");
        let name = b"sk-ssh-ed25519@openssh.com";
        let at = signed.windows(name.len()).rposition(|bytes| bytes == name).unwrap() - 4;
        let (message, blob) = (&signed[..at - 4], &signed[at..]);
        let mut rest = &blob[4 + name.len()..];
        let signature = Vec::<u8>::decode(&mut rest).unwrap();
        let key = signed.windows(name.len()).position(|bytes| bytes == name).unwrap() - 4;
        let key = KeyData::decode(&mut &signed[key..]).unwrap();
        let other = Algorithm::new("made-up@example.com").unwrap();
        let renamed = Signature::new(other, [&signature[..], rest].concat()).unwrap();
        assert!(key.verify(message, &renamed).is_ok());
    }

    /// As every other one is written: in half of them the first byte is zero, and left out.
    #[test]
    fn a_short_scalar_is_refused() {
        assert!(key("ecdsa521").is_ok());
        assert!(key("short521").is_err());
    }

    #[test]
    fn rsa_keys_do_not_sign() {
        let key = key("rsa").unwrap();
        assert!(Signer::<Signature>::try_sign(&key, b"data").is_err());
    }

    #[test]
    fn a_signature_with_sha1_can_not_be_written() {
        assert!(Signature::new(Algorithm::Rsa { hash: None }, vec![1; 256]).is_err());
    }

    #[test]
    fn rsa_keys_under_2048_or_over_4096_bits_verify_nothing() {
        for (name, verifies) in [("ca-rsa", true), ("ca-rsa1024", false), ("ca-rsa8192", false)] {
            let signed = certificate(name);
            let at = |name: &[u8]| signed.windows(name.len()).rposition(|bytes| bytes == name).unwrap() - 4;
            let (key_at, signature_at) = (at(b"ssh-rsa"), at(b"rsa-sha2-512"));
            let mut key = &signed[key_at + 4 + b"ssh-rsa".len()..];
            let [e, n] = std::array::from_fn(|_| Mpint::decode(&mut key).unwrap());
            let key = KeyData::Rsa(RsaPublicKey { e, n });
            let signature = Signature::try_from(&signed[signature_at..]).unwrap();
            assert_eq!(key.verify(&signed[..signature_at - 4], &signature).is_ok(), verifies, "{name}");
        }
    }
}
