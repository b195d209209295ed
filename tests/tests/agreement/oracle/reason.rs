//! Where this agent and Debian's ssh-agent differ, on purpose.

/// Why one of them refuses what the other serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// DESIGN, issue of forwarded clients: keys are managed, and the agent locked, over connections of this machine alone.
    Stranger,
    /// Once bound for a login, a connection serves that login and nothing else, whatever the key.
    AnotherSession,
    /// Behind a forwarding host: its own session, once more.
    SessionReplayed,
    /// Behind a forwarding host: neither a login nor an SSHSIG message.
    OpaqueData,
    /// A binding failed, so an unknown host may be on the way. 9.2 forgets that at once, and 10.5 when another one succeeds.
    FailedBinding,
    /// ssh-rsa, which no server of the last years accepts (statement 17).
    Sha1,
    /// A certificate for nobody is one for everybody in 9.2, and one for nobody since.
    NoPrincipals,
    /// There is no session without an identifier; and 9.2 takes identifiers of any length.
    SessionLength,
    /// Bytes behind the end of a message make it none.
    LeftOver,
    /// A lock without a password ends ssh-agent (statement 16).
    MalformedLock,
    /// A private key that contradicts its public key.
    DamagedKey,
    /// Names that are not UTF-8 and have to be compared; those of a login with a NUL at the end, which OpenSSH leaves out.
    Name,
    /// A signature algorithm of another curve, which is the same type of key to ssh-agent.
    Algorithm,
    /// Numbers with more zeros in front than they need.
    Encoding,
    /// A certificate among the keys of a constraint, where nothing ever equals it.
    CertificateInConstraint,
    /// A list of destinations behind an empty one.
    Twice,
    /// `query` is of 10.x.
    Query,
    /// 9.2 takes the principals of a certificate at their word, later ones as patterns (`sshkey_cert_check_host`).
    PrincipalPatterns,
}

/// What was noticed while a request was read, by an agent that is as lenient as either of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes {
    ours: Option<Reason>,
    theirs: Option<Reason>,
}

/// By whom a request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    Both,
    Ours(Reason),
    Theirs(Reason),
    Neither,
}

impl Notes {
    /// If so, ours refuses the request.
    pub(super) fn note_if(&mut self, so: bool, reason: Reason) {
        if so {
            self.ours.get_or_insert(reason);
        }
    }

    /// If so, ssh-agent refuses it.
    pub(super) fn note_theirs_if(&mut self, so: bool, reason: Reason) {
        if so {
            self.theirs.get_or_insert(reason);
        }
    }

    pub(super) fn served(&self) -> Served {
        match (self.ours, self.theirs) {
            (None, None) => Served::Both,
            (None, Some(reason)) => Served::Ours(reason),
            (Some(reason), None) => Served::Theirs(reason),
            (Some(_), Some(_)) => Served::Neither,
        }
    }
}
