//! Every setting there is, for people: what `agent-cli config` shows, and docs/settings.md and the manual page are made of.

/// A part of the file.
#[derive(Debug)]
pub struct Section {
    /// Its name; empty for what comes before the first.
    pub name: &'static str,
    /// Whether it may be there several times (`[[name]]`).
    pub many: bool,
    /// What it is for.
    pub about: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
}

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in its section.
    pub name: &'static str,
    /// What it may be, as it is written.
    pub values: &'static str,
    /// What holds where it is not given.
    pub default: Default,
    /// When a change of it holds.
    pub holds: Holds,
    /// What it does.
    pub about: &'static str,
}

/// What holds where a setting is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This, as it would be written.
    Is(&'static str),
    /// What can't be written as a value.
    Says(&'static str),
    /// There is none: it has to be given wherever its section is.
    Required,
}

/// When a change of a setting holds, once the agent has read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// For each request that comes from then on.
    AtOnce,
    /// When the agent is started the next time.
    AtNextStart,
}

impl Section {
    /// As it is written above its settings; empty for what comes before the first.
    #[must_use]
    pub fn heading(&self) -> String {
        match (self.name, self.many) {
            ("", _) => String::new(),
            (name, false) => format!("[{name}]"),
            (name, true) => format!("[[{name}]]"),
        }
    }
}

/// The section with this name.
#[must_use]
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

const VERIFICATION: &str = r#""as-key-asks", "pin", "built-in", "built-in-then-pin", "pin-and-built-in""#;
const ALLOW_OR_DENY: &str = r#""allow", "deny""#;
const FINGERPRINT: &str = r#""SHA256:…""#;

/// All of them, in the order in which they are explained.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "",
        many: false,
        about: "Before the first table.",
        settings: &[
            Setting {
                name: "helper",
                values: "a whole path",
                default: Default::Says("beside the agent's program, or in its libexec"),
                holds: Holds::AtNextStart,
                about: "The token helper's program. Nobody else may be able to change it or its folder, since it is given PINs.",
            },
            Setting {
                name: "unbound_hop",
                values: ALLOW_OR_DENY,
                default: Default::Is(r#""allow""#),
                holds: Holds::AtOnce,
                about: "What comes through a forwarding host and does not prove where it leads: an old ssh there, paramiko, \
                        libssh2. Allowed, it is labelled so.",
            },
            Setting {
                name: "software_keys",
                values: ALLOW_OR_DENY,
                default: Default::Is(r#""allow""#),
                holds: Holds::AtOnce,
                about: "Whether keys can be added that are not on a FIDO token. Those that are held already stay.",
            },
            Setting {
                name: "opaque",
                values: ALLOW_OR_DENY,
                default: Default::Is(r#""allow""#),
                holds: Holds::AtOnce,
                about: "Whether software keys sign, on this machine, what is neither a login nor an SSHSIG message: sshd's \
                        host keys and ssh-keygen -s need it. FIDO keys never do.",
            },
            Setting {
                name: "forwarded_management",
                values: ALLOW_OR_DENY,
                default: Default::Is(r#""deny""#),
                holds: Holds::AtOnce,
                about: "Adding, removing, locking and unlocking over a forwarded connection, as with ssh-agent.",
            },
            Setting {
                name: "user_verification",
                values: VERIFICATION,
                default: Default::Is(r#""as-key-asks""#),
                holds: Holds::AtOnce,
                about: "How tokens verify their user: for the keys that ask for it, by fingerprint or else by PIN; or for \
                        every signature, by PIN, by the token's own sensor alone, by that or else by PIN, or by both.",
            },
            Setting {
                name: "lock_on",
                values: r#"a list of "suspend", "screen-lock""#,
                default: Default::Is("[]"),
                holds: Holds::AtNextStart,
                about: "What locks the agent until your session is unlocked.",
            },
            Setting {
                name: "allow_root",
                values: "true, false",
                default: Default::Is("false"),
                holds: Holds::AtNextStart,
                about: "Whether root's connections are served too, with a record of each. Those of other users never are.",
            },
        ],
    },
    Section {
        name: "prompts",
        many: false,
        about: "Where you are asked.",
        settings: &[
            Setting {
                name: "channels",
                values: r#"a list of "terminal", "pinentry", "askpass""#,
                default: Default::Is(r#"["terminal", "pinentry", "askpass"]"#),
                holds: Holds::AtOnce,
                about: "The ways to ask, in the order in which they are tried. Those that are left out are not used.",
            },
            Setting {
                name: "pinentry",
                values: "a whole path",
                default: Default::Says("/usr/bin/pinentry"),
                holds: Holds::AtOnce,
                about: "The pinentry. Nobody else may be able to change it or its folder.",
            },
        ],
    },
    Section {
        name: "limits",
        many: false,
        about: "How long things may take.",
        settings: &[
            Setting {
                name: "prompt_seconds",
                values: "1 to 3600",
                default: Default::Is("60"),
                holds: Holds::AtOnce,
                about: "A question to you.",
            },
            Setting {
                name: "touch_seconds",
                values: "1 to 44",
                default: Default::Is("40"),
                holds: Holds::AtOnce,
                about: "A touch. Tokens give up by themselves at 45.",
            },
            Setting {
                name: "request_seconds",
                values: "1 to 3600",
                default: Default::Is("110"),
                holds: Holds::AtOnce,
                about: "A request in all. sshd gives a login 120.",
            },
        ],
    },
    Section {
        name: "mute",
        many: false,
        about: "A program that is refused again and again is not listened to for a while: an ssh, say, that forwards the agent \
                to a hostile host. Its keys are listed all the while.",
        settings: &[
            Setting {
                name: "refusals",
                values: "0, or at least 24",
                default: Default::Is("32"),
                holds: Holds::AtOnce,
                about: "So many refusals mute it; one by you (no, or a wrong PIN) counts as four. With 0, none is ever muted.",
            },
            Setting {
                name: "within_seconds",
                values: "1 to 3600",
                default: Default::Is("60"),
                holds: Holds::AtOnce,
                about: "If they come in this time.",
            },
            Setting {
                name: "seconds",
                values: "1 to 3600",
                default: Default::Is("60"),
                holds: Holds::AtOnce,
                about: "For so long.",
            },
        ],
    },
    Section {
        name: "audit",
        many: false,
        about: "The audit log: how much of it is kept, and who keeps its head beside it.",
        settings: &[
            Setting {
                name: "anchor",
                values: r#""journald", "syslog""#,
                default: Default::Says("nobody"),
                holds: Holds::AtNextStart,
                about: "Who is handed the heads of the chain.",
            },
            Setting {
                name: "anchor_every",
                values: "at least 1",
                default: Default::Says("1, where there is an anchor"),
                holds: Holds::AtNextStart,
                about: "Each how many records a head is handed over. It needs anchor.",
            },
            Setting {
                name: "anchor_socket",
                values: "a whole path",
                default: Default::Says("the system's"),
                holds: Holds::AtNextStart,
                about: "The socket of who keeps them. It needs anchor.",
            },
            Setting {
                name: "keep_days",
                values: "at least 1",
                default: Default::Says("all are kept"),
                holds: Holds::AtNextStart,
                about: "Older records are removed: whole files of 16 MiB, when another one is begun and when the agent starts.",
            },
            Setting {
                name: "keep_mib",
                values: "at least 64",
                default: Default::Says("all are kept"),
                holds: Holds::AtNextStart,
                about: "The oldest files are removed while there is more than this, whatever is in them: who can have the agent \
                        refuse much has it forget sooner.",
            },
        ],
    },
    Section {
        name: "key",
        many: true,
        about: "A key with settings of its own.",
        settings: &[
            Setting {
                name: "fingerprint",
                values: FINGERPRINT,
                default: Default::Required,
                holds: Holds::AtOnce,
                about: "Which key, as ssh-keygen -l prints it.",
            },
            Setting {
                name: "ca",
                values: "true, false",
                default: Default::Is("false"),
                holds: Holds::AtOnce,
                about: "Whether it issues certificates, on this machine, and does nothing else.",
            },
            Setting {
                name: "user_verification",
                values: VERIFICATION,
                default: Default::Says("what holds in general"),
                holds: Holds::AtOnce,
                about: "How the token verifies its user for this key.",
            },
        ],
    },
    Section {
        name: "host",
        many: true,
        about: "What is offered where; the first that fits holds. Each has either a name or a key.",
        settings: &[
            Setting {
                name: "name",
                values: "a name or pattern, as in known_hosts",
                default: Default::Says("none: the host is told by key"),
                holds: Holds::AtOnce,
                about: "The host's name.",
            },
            Setting {
                name: "key",
                values: FINGERPRINT,
                default: Default::Says("none: the host is told by name"),
                holds: Holds::AtOnce,
                about: "The fingerprint of the host's key.",
            },
            Setting {
                name: "offer",
                values: "a list of fingerprints and comments",
                default: Default::Required,
                holds: Holds::AtOnce,
                about: "These keys first.",
            },
            Setting {
                name: "others",
                values: "true, false",
                default: Default::Is("true"),
                holds: Holds::AtOnce,
                about: "Whether the others follow behind them.",
            },
        ],
    },
    Section {
        name: "upstream",
        many: true,
        about: "Another agent whose keys are offered after the agent's own, in this order; 16 at most.",
        settings: &[Setting {
            name: "socket",
            values: "a whole path, or one that begins with ~/",
            default: Default::Required,
            holds: Holds::AtNextStart,
            about: "Its socket.",
        }],
    },
    Section {
        name: "publish",
        many: false,
        about: "Where agent-cli publish registers public keys. The agent itself has no part in it.",
        settings: &[
            Setting {
                name: "place",
                values: r#""graph", or a path: whole, or one that begins with ~/"#,
                default: Default::Is(r#""graph""#),
                holds: Holds::AtOnce,
                about: "Your account, by way of Microsoft Graph; or a file of authorized_keys lines, or a folder with such a \
                        file for each user. Where this is given, agent-cli doctor looks there, too.",
            },
            Setting {
                name: "graph_url",
                values: "https:// and a host",
                default: Default::Is(r#""https://graph.microsoft.com""#),
                holds: Holds::AtOnce,
                about: "Where Microsoft Graph is. Only to this machine itself may it be http://.",
            },
            Setting {
                name: "token_command",
                values: "a list: a program and its arguments",
                default: Default::Is(
                    r#"["az", "account", "get-access-token", "--resource", "https://graph.microsoft.com", "--output", "json"]"#,
                ),
                holds: Holds::AtOnce,
                about: "What prints an access token for Microsoft Graph, as JSON with accessToken. No shell reads it.",
            },
            Setting {
                name: "token_seconds",
                values: "1 to 3600",
                default: Default::Is("60"),
                holds: Holds::AtOnce,
                about: "How long that may take.",
            },
        ],
    },
    Section {
        name: "rehearse",
        many: false,
        about: "How often a login is to be rehearsed. The agent itself has no part in it.",
        settings: &[Setting {
            name: "every_days",
            values: "at least 1",
            default: Default::Is("90"),
            holds: Holds::AtOnce,
            about: "After so many days agent-cli status and doctor say that the last rehearsal is old.",
        }],
    },
];
