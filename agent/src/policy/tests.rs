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
    Payload::Userauth(Userauth {
        session_id: session.to_vec(),
        user: b"alice".to_vec(),
        host_key,
        by_certificate: false,
    })
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
        ("certificate", Payload::Certificate { kind: "x".into(), claims: None }, &local, allow, Err(Code::OpaqueData)),
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
        let required = requirements(&identity(flags), &Settings::default());
        assert_eq!((required.user_presence, required.user_verification), (presence, verification), "{flags:#x}");
    }
}

/// A configured mode holds for keys that ask for nothing too, and a key's own entry goes before the general one.
#[test]
fn table_of_verification_modes() {
    use UserVerification as Required;
    use VerificationMode as Mode;
    let (plain, verify) = (identity(0x01), identity(0x05));
    let fingerprint = identity::fingerprint(&plain.public_key);
    let cases = [
        (Mode::AsKeyAsks, None, [Required::NotRequired, Required::BuiltInThenPin]),
        (Mode::Pin, None, [Required::Pin; 2]),
        (Mode::BuiltIn, None, [Required::BuiltIn; 2]),
        (Mode::BuiltInThenPin, None, [Required::BuiltInThenPin; 2]),
        (Mode::PinAndBuiltIn, None, [Required::PinAndBuiltIn; 2]),
        (Mode::AsKeyAsks, Some(Mode::PinAndBuiltIn), [Required::PinAndBuiltIn; 2]),
        (Mode::PinAndBuiltIn, Some(Mode::Pin), [Required::Pin; 2]),
        (Mode::Pin, Some(Mode::AsKeyAsks), [Required::NotRequired, Required::BuiltInThenPin]),
    ];
    for (general, own, expected) in cases {
        let own_entry = own.map(|mode| (fingerprint.clone(), mode));
        let settings = Settings {
            user_verification: general,
            key_verification: own_entry.into_iter().collect(),
            ..Settings::default()
        };
        for (identity, expected) in [&plain, &verify].into_iter().zip(expected) {
            let found = requirements(identity, &settings).user_verification;
            assert_eq!(found, expected, "{general:?}, the key {own:?}");
        }
        let software = requirements(&software(1), &settings).user_verification;
        assert_eq!(software, Required::NotRequired, "a key in memory has no token to verify anybody");
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

/// An Ed25519 key in the agent's memory.
fn software(seed: u8) -> Identity {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    let public_key = KeyData::from(pair.public);
    let key = crate::software_key::SoftwareKey::ed25519(&[seed; 32], &pair.public.0).unwrap();
    Identity {
        blob: identity::key_blob(&public_key),
        public_key,
        comment: String::new(),
        holder: Holder::Software(key),
        constraints: Constraints::default(),
    }
}

/// Statement 10 and DESIGN: what each kind of key signs, on this machine and elsewhere.
#[test]
fn table_of_meanings() {
    let (on_token, mut website, plain, authority) = (identity(0x01), identity(0x01), software(1), software(2));
    website.public_key = KeyData::SkEd25519(SkEd25519::new(Ed25519PublicKey([7; 32]), "example.com"));
    let allow =
        Settings { authorities: BTreeSet::from([identity::fingerprint(&authority.public_key)]), ..Settings::default() };
    let deny = Settings { opaque: Rule::Deny, ..allow.clone() };
    let (local, device) = (SessionBindings::default(), host());
    let (forwarded, direct) = (bound(&[(&device, b"hop", true)]), bound(&[(&device, b"device", false)]));
    let certificate = || Payload::Certificate { kind: "x".into(), claims: None };
    let (ok, opaque, ca, session) =
        (None, Some(Code::OpaqueData), Some(Code::AuthorityKey), Some(Code::SessionMismatch));

    for (what, identity, bindings, settings, [userauth, signature, issue, other]) in [
        ("a token's key", &on_token, &local, &allow, [ok, ok, opaque, opaque]),
        ("a token's key of a website", &website, &local, &allow, [ok, ok, opaque, opaque]),
        ("a token's key, elsewhere", &on_token, &forwarded, &allow, [ok, ok, opaque, opaque]),
        ("a software key", &plain, &local, &allow, [ok, ok, ok, ok]),
        ("a software key, denied", &plain, &local, &deny, [ok, ok, opaque, opaque]),
        ("a software key, elsewhere", &plain, &forwarded, &allow, [ok, ok, opaque, opaque]),
        ("a software key, bound for a login", &plain, &direct, &allow, [ok, session, session, session]),
        ("an authority", &authority, &local, &allow, [ca, ca, ok, ca]),
        ("an authority, opaque denied", &authority, &local, &deny, [ca, ca, ok, ca]),
        ("an authority, elsewhere", &authority, &forwarded, &allow, [ca, ca, ca, ca]),
    ] {
        let session: &[u8] = if bindings == &direct { b"device" } else { b"any" };
        for (payload, expected) in
            [(login(session, None), userauth), (sshsig(), signature), (certificate(), issue), (Payload::Opaque, other)]
        {
            let question = question(identity, &payload, bindings, Duration::ZERO);
            let found = match authorize(&question, settings) {
                Authorization::Allowed(_) => None,
                Authorization::Denied(denial) => Some(denial.code),
            };
            assert_eq!(found, expected, "{what} and {payload:?}");
        }
    }
}

/// What a permit rests on: the narrowest of the rules.
#[test]
fn table_of_grounds() {
    let (jump, device) = (host(), host());
    let (local, direct) = (SessionBindings::default(), bound(&[(&device, b"device", false)]));
    let open = bound(&[(&jump, b"jump", true)]);
    let (plain, authority) = (software(1), software(2));
    let settings =
        Settings { authorities: BTreeSet::from([identity::fingerprint(&authority.public_key)]), ..Settings::default() };
    let certificate = || Payload::Certificate { kind: "x".into(), claims: None };
    for (identity, payload, bindings, expected) in [
        (&plain, login(b"any", None), &local, Ground::ThisMachine),
        (&plain, login(b"device", None), &direct, Ground::ProvenRoute),
        (&plain, login(b"device", None), &open, Ground::UnboundHop),
        (&plain, Payload::Opaque, &local, Ground::Opaque),
        (&plain, certificate(), &local, Ground::Opaque),
        (&authority, certificate(), &local, Ground::Authority),
    ] {
        let question = question(identity, &payload, bindings, Duration::ZERO);
        match authorize(&question, &settings) {
            Authorization::Allowed(permit) => assert_eq!(permit.ground(), expected, "{payload:?}"),
            Authorization::Denied(denial) => panic!("{payload:?}: {denial}"),
        }
    }
}

/// Statement 8: a constrained key logs in where the last binding leads, and signs nothing else. The session and the host
/// key have to be that binding's; behind another host, the host key has to be there.
#[test]
fn table_of_constrained_logins() {
    let (jump, device, other) = (host(), host(), host());
    let hop = |host: &PrivateKey| destination::Hop {
        hostname: "name".into(),
        keys: vec![destination::HopKey { key: host.public_key().key_data().clone(), is_authority: false }],
    };
    let mut constrained = software(1);
    constrained.constraints.destinations = [
        destination::DestinationConstraint { from: None, to: hop(&jump), user: None },
        destination::DestinationConstraint { from: Some(hop(&jump)), to: hop(&device), user: Some("al*".into()) },
    ]
    .into();
    let local = SessionBindings::default();
    let at_jump = bound(&[(&jump, b"jump", false)]);
    let forwarded = bound(&[(&jump, b"jump", true)]);
    let through = bound(&[(&jump, b"jump", true), (&device, b"device", false)]);
    let elsewhere = bound(&[(&jump, b"jump", true), (&other, b"other", false)]);
    let (jump_key, device_key) = (Some(key_of(&jump)), Some(key_of(&device)));
    let as_mallory = |host_key: Option<Vec<u8>>| {
        let (session_id, user) = (b"device".to_vec(), "mallory".into());
        Payload::Userauth(Userauth { session_id, user, host_key, by_certificate: false })
    };
    let by_certificate = |payload| match payload {
        Payload::Userauth(login) => Payload::Userauth(Userauth { by_certificate: true, ..login }),
        other => other,
    };
    let refused = Some(Code::DestinationNotPermitted);

    for (what, bindings, payload, expected) in [
        ("unbound", &local, login(b"any", None), refused),
        ("unbound, hostbound", &local, login(b"any", jump_key.clone()), refused),
        ("unbound, no login", &local, sshsig(), refused),
        ("unbound, opaque", &local, Payload::Opaque, refused),
        ("to the first host", &at_jump, login(b"jump", None), None),
        ("to the first host, hostbound", &at_jump, login(b"jump", jump_key.clone()), None),
        ("the same by a certificate", &at_jump, by_certificate(login(b"jump", jump_key.clone())), refused),
        ("another host key", &at_jump, login(b"jump", device_key.clone()), Some(Code::HostKeyMismatch)),
        ("another session", &at_jump, login(b"other", jump_key.clone()), Some(Code::SessionMismatch)),
        ("no login", &at_jump, sshsig(), Some(Code::SessionMismatch)),
        ("behind the first host", &through, login(b"device", device_key.clone()), None),
        ("the same, not hostbound", &through, login(b"device", None), refused),
        ("the same as somebody else", &through, as_mallory(device_key.clone()), refused),
        ("the first host's session", &through, login(b"jump", jump_key.clone()), Some(Code::SessionMismatch)),
        ("behind it, to another host", &elsewhere, login(b"other", Some(key_of(&other))), refused),
        ("at a forwarding host", &forwarded, login(b"jump", jump_key.clone()), Some(Code::SessionReplayed)),
        ("a session that is not bound", &forwarded, login(b"device", device_key.clone()), refused),
        ("a signature over forwarding", &forwarded, sshsig(), refused),
    ] {
        let question = question(&constrained, &payload, bindings, Duration::ZERO);
        let found = match authorize(&question, &Settings::default()) {
            Authorization::Allowed(permit) => {
                assert_eq!(permit.ground(), Ground::DestinationConstraints, "{what}");
                None
            }
            Authorization::Denied(denial) => Some(denial.code),
        };
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_locked_agent_signs_nothing() {
    let (payload, bindings) = (sshsig(), SessionBindings::default());
    for identity in [identity(0x01), software(1)] {
        let mut question = question(&identity, &payload, &bindings, Duration::ZERO);
        assert!(matches!(authorize(&question, &Settings::default()), Authorization::Allowed(_)));
        question.locked = true;
        let refused = authorize(&question, &Settings::default());
        assert!(matches!(refused, Authorization::Denied(Denial { code: Code::Locked, .. })));
    }
}

#[test]
fn who_is_forwarded_manages_where_the_configuration_says_so() {
    let settings = Settings { forwarded_management: Rule::Allow, ..Settings::default() };
    let jump = host();
    assert!(may_manage(&bound(&[(&jump, b"jump", true)]), &settings).is_ok());
}
