use super::*;
use crate::constraint::Constraints;
use crate::identity::{Credential, KeyHandle, SkFlags};
use signature::Signer;
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey, Signature};

fn host() -> PrivateKey {
    PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
}

fn key_of(host: &PrivateKey) -> Vec<u8> {
    host.public_key().to_bytes().unwrap()
}

fn bound(path: &[(&PrivateKey, &[u8], bool)]) -> SessionBindings {
    let mut bindings = SessionBindings::default();
    for (host, session, forwarding) in path {
        let signature: Signature = host.try_sign(session).unwrap();
        let signature = Vec::try_from(signature).unwrap();
        bindings.bind(&key_of(host), session, &signature, *forwarding).unwrap();
    }
    bindings
}

fn identity(flags: u8) -> Identity {
    let public_key = KeyData::SkEd25519(SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:"));
    Identity {
        blob: identity::key_blob(&public_key),
        public_key,
        comment: String::new(),
        holder: Holder::Credential(Credential {
            application: "ssh:".into(),
            key_handle: KeyHandle::new([1; 16]),
            flags: SkFlags(flags),
        }),
        constraints: Constraints::default(),
    }
}

fn question<'a>(
    identity: &'a Identity,
    payload: &'a Payload,
    bindings: &'a SessionBindings,
    now: Duration,
) -> Question<'a> {
    Question { identity, payload, bindings, locked: false, now, wall_clock: 0 }
}

fn login(session: &[u8], host_key: Option<Vec<u8>>) -> Payload {
    Payload::Userauth(Userauth { session_id: session.to_vec(), user: "alice".into(), host_key })
}

fn decide(payload: &Payload, bindings: &SessionBindings, settings: &Settings) -> Result<Route, Code> {
    let identity = identity(0x01);
    let question = question(&identity, payload, bindings, Duration::ZERO);
    match authorize(&question, settings) {
        Authorization::Allowed(permit) => Ok(permit.route),
        Authorization::Denied(denial) => Err(denial.code),
    }
}

fn sshsig() -> Payload {
    Payload::SshSig { namespace: "git".into() }
}

/// DESIGN: what holds for each shape of path, data and setting.
#[test]
fn table_of_routes() {
    let (allow, deny) = (&Settings::default(), &Settings { unbound_hop: Rule::Deny, ..Settings::default() });
    let (jump, device) = (host(), host());
    let (jump_key, device_key) = (key_of(&jump), key_of(&device));
    let local = SessionBindings::default();
    let direct = bound(&[(&device, b"device", false)]);
    let through = bound(&[(&jump, b"jump", true), (&device, b"device", false)]);
    let mut failed = SessionBindings::default();
    failed.note_failure();
    let mut failed_then_bound = direct.clone();
    failed_then_bound.note_failure();
    let open = bound(&[(&jump, b"jump", true)]);
    let to_device = |hosts: &[Vec<u8>], unverified| {
        let through = Path { hosts: hosts.to_vec(), unverified };
        Ok(Route::Proven { host_key: device_key.clone(), through })
    };
    let not_proven =
        |hosts: &[Vec<u8>], unverified| Ok(Route::NotProven { through: Path { hosts: hosts.to_vec(), unverified } });

    let cases = [
        ("local login", login(b"any", None), &local, allow, Ok(Route::Unbound)),
        ("local signature", sshsig(), &local, deny, Ok(Route::Unbound)),
        ("bound login", login(b"device", None), &direct, allow, to_device(&[], false)),
        ("bound, hostbound", login(b"device", Some(device_key.clone())), &direct, allow, to_device(&[], false)),
        ("bound, another host", login(b"device", Some(jump_key.clone())), &direct, allow, Err(Code::HostKeyMismatch)),
        ("bound, another session", login(b"other", None), &direct, allow, Err(Code::SessionMismatch)),
        ("bound, no login", sshsig(), &direct, allow, Err(Code::SessionMismatch)),
        (
            "through a jump host",
            login(b"device", None),
            &through,
            deny,
            to_device(std::slice::from_ref(&jump_key), false),
        ),
        ("the jump host's own session, after", login(b"jump", None), &through, allow, Err(Code::SessionMismatch)),
        ("the jump host's own session", login(b"jump", None), &open, allow, Err(Code::SessionReplayed)),
        (
            "a client without session-bind",
            login(b"device", None),
            &open,
            allow,
            not_proven(std::slice::from_ref(&jump_key), false),
        ),
        ("the same, denied", login(b"device", None), &open, deny, Err(Code::UnboundHop)),
        ("signature over forwarding", sshsig(), &open, allow, not_proven(std::slice::from_ref(&jump_key), false)),
        ("the same, denied", sshsig(), &open, deny, Err(Code::UnboundHop)),
        ("a binding that failed", login(b"any", None), &failed, allow, not_proven(&[], true)),
        ("the same, denied", login(b"any", None), &failed, deny, Err(Code::UnboundHop)),
        ("failed, then bound", login(b"device", None), &failed_then_bound, deny, to_device(&[], true)),
        ("opaque", Payload::Opaque, &local, allow, Err(Code::OpaqueData)),
        ("certificate", Payload::Certificate { kind: "x".into() }, &local, allow, Err(Code::OpaqueData)),
    ];
    for (what, payload, bindings, settings, expected) in cases {
        assert_eq!(decide(&payload, bindings, settings), expected, "{what}");
    }
}

#[test]
fn a_stranger_manages_no_keys() {
    let (jump, device) = (host(), host());
    let mut failed = SessionBindings::default();
    failed.note_failure();
    for (what, bindings, allowed) in [
        ("local", SessionBindings::default(), true),
        ("bound for a login", bound(&[(&device, b"device", false)]), true),
        ("forwarded", bound(&[(&jump, b"jump", true)]), false),
        ("forwarded, then bound", bound(&[(&jump, b"jump", true), (&device, b"device", false)]), false),
        ("binding failed", failed, false),
    ] {
        assert_eq!(may_manage(&bindings, &Settings::default()).is_ok(), allowed, "{what}");
    }
}

#[test]
fn requirements_are_what_the_key_asks() {
    for (flags, presence, verification) in [
        (0x00, false, UserVerification::NotRequired),
        (0x01, true, UserVerification::NotRequired),
        (0x05, true, UserVerification::BuiltInThenPin),
        (0x25, true, UserVerification::BuiltInThenPin),
    ] {
        let required = requirements(&identity(flags));
        assert_eq!((required.user_presence, required.user_verification), (presence, verification), "{flags:#x}");
    }
}

#[test]
fn an_expired_key_is_gone() {
    let mut identity = identity(0x01);
    identity.constraints.expires_at = Some(Duration::from_secs(10));
    let (payload, bindings) = (sshsig(), SessionBindings::default());
    let at = |seconds| {
        let now = Duration::from_secs(seconds);
        authorize(&question(&identity, &payload, &bindings, now), &Settings::default())
    };
    assert!(matches!(at(9), Authorization::Allowed(_)));
    assert!(matches!(at(10), Authorization::Denied(Denial { code: Code::KeyGone, .. })));
}
