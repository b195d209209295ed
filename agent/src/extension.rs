//! The agent protocol's extensions (RFC 9987 § 3.8).

use crate::denial::{Code, Denial};
use crate::session_binding::SessionBindings;
use crate::upstream::OWN_KEYS_ONLY;
use crate::wire;

/// session-bind@openssh.com.
const SESSION_BIND: &str = "session-bind@openssh.com";
/// query.
const QUERY: &str = "query";

/// SSH_AGENT_FAILURE.
const FAILURE: u8 = 5;
/// SSH_AGENT_SUCCESS.
const SUCCESS: u8 = 6;
/// SSH_AGENT_EXTENSION_FAILURE.
const EXTENSION_FAILURE: u8 = 28;

/// What a client has said of its connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Which SSH sessions it serves.
    pub(crate) bindings: SessionBindings,
    /// Whether it is another agent's, which wants no keys of our upstreams.
    pub(crate) own_keys_only: bool,
}

/// Serves an extension request and gives the answer's bytes. An unknown extension fails like a known one
/// (PROTOCOL.agent), since a client can't act on the difference. A locked agent takes bindings still, since connections that
/// are made meanwhile outlast the lock (ssh-agent.c, `process_extension`). Beside the answer: why a binding was refused.
pub(crate) fn serve(name: &str, body: &[u8], connection: &mut Connection, locked: bool) -> (Vec<u8>, Option<Denial>) {
    let answer = match name {
        SESSION_BIND => {
            return match bind(body, &mut connection.bindings) {
                Ok(()) => (vec![SUCCESS], None),
                Err(denial) => (vec![EXTENSION_FAILURE], Some(denial)),
            };
        }
        OWN_KEYS_ONLY => {
            connection.own_keys_only = true;
            Some(vec![SUCCESS])
        }
        _ if locked => Some(vec![FAILURE]),
        QUERY if body.is_empty() => wire::encode_query_answer(&[QUERY, SESSION_BIND, OWN_KEYS_ONLY]).ok(),
        _ => None,
    };
    (answer.unwrap_or_else(|| vec![EXTENSION_FAILURE]), None)
}

fn bind(body: &[u8], bindings: &mut SessionBindings) -> Result<(), Denial> {
    let bound = match wire::decode_bind(body) {
        Ok(bind) => bindings
            .bind(&bind.host_key, &bind.session_id, &bind.signature, bind.is_forwarding)
            .map_err(|error| error.to_string()),
        Err(error) => {
            // An attempt counts before it is understood (ssh-agent.c, process_ext_session_bind).
            bindings.note_failure();
            Err(error.to_string())
        }
    };
    bound.map_err(|error| Denial::new(Code::BindingRefused, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_malformed_fails_as_an_extension() {
        let mut connection = Connection::default();
        for (name, body) in [("no-such@example.com", &b""[..]), (QUERY, b"x"), (SESSION_BIND, b"rubbish")] {
            let (answer, refused) = serve(name, body, &mut connection, false);
            assert_eq!(answer, [EXTENSION_FAILURE], "{name}");
            assert_eq!(refused.is_some(), name == SESSION_BIND, "{name}");
        }
        assert!(connection.bindings.attempt_failed());
    }

    /// Connections that are made while it is locked outlast the lock (ssh-agent.c, `process_extension`).
    #[test]
    fn a_locked_agent_takes_bindings_and_nothing_else() {
        use signature::Signer;
        use ssh_key::rand_core::OsRng;
        use ssh_key::{Algorithm, PrivateKey, Signature};
        let string = crate::made_by_openssh::string;
        let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let signature: Signature = host.try_sign(b"session").unwrap();
        let signature = Vec::try_from(signature).unwrap();
        let key = host.public_key().to_bytes().unwrap();
        let good = [string(&key), string(b"session"), string(&signature), vec![0]].concat();
        for (locked, query) in [(false, 29), (true, FAILURE)] {
            let mut connection = Connection::default();
            assert_eq!(serve(QUERY, b"", &mut connection, locked).0[0], query, "locked: {locked}");
            let unknown = if locked { FAILURE } else { EXTENSION_FAILURE };
            assert_eq!(serve("no-such@example.com", b"", &mut connection, locked).0, [unknown], "locked: {locked}");
            assert_eq!(
                serve(SESSION_BIND, b"rubbish", &mut connection, locked).0,
                [EXTENSION_FAILURE],
                "locked: {locked}"
            );
            assert_eq!(serve(SESSION_BIND, &good, &mut connection, locked).0, [SUCCESS], "locked: {locked}");
            assert!(connection.bindings.last().is_some_and(|binding| binding.session_id == b"session"));
        }
    }
}
