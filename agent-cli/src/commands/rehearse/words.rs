//! What `ssh -v` says of each hop. Its words are those of OpenSSH's own client (*reported*): hosts can put theirs between.

use std::time::Duration;

use crate::login::Line;

/// A host that `ssh` was on the way to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hop {
    /// What was connected to: a name, or an address.
    pub(super) name: Option<String>,
    /// The address that a name was found to have.
    pub(super) looked_up: Option<String>,
    /// As `ssh` names it when it logs in: `HOST:PORT`, and the user.
    pub(super) address: Option<String>,
    pub(super) user: Option<String>,
    /// What the host says that it is.
    pub(super) software: Option<String>,
    /// The fingerprint of its key.
    pub(super) host_key: Option<String>,
    /// Whether known_hosts has that key for it.
    pub(super) known: bool,
    /// Whether it offers publickey-hostbound-v00@openssh.com.
    pub(super) hostbound: bool,
    /// What it takes, when it is asked first.
    pub(super) methods: Vec<String>,
    /// The keys that it was offered, by their fingerprints.
    pub(super) offered: Vec<String>,
    /// The key that it would take.
    pub(super) accepted: Option<String>,
    /// Whether the agent was to be forwarded there.
    pub(super) forwards: bool,
    /// Whether the agent was then asked from there.
    pub(super) forwarded: bool,
    /// When it let in.
    pub(super) let_in: Option<Duration>,
}

/// All of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) hops: Vec<Hop>,
    /// How many of the hosts behind another one `ssh` goes to by a ProxyJump: of those it says so before it speaks to any.
    pub(super) behind: usize,
    /// The lines that are no course of things: what failed, and what hosts say.
    pub(super) complaints: Vec<String>,
}

/// No way has more hosts, and a host that writes of others is not listened to for ever.
const MOST_HOPS: usize = 16;

/// As many complaints, and as long ones, as are worth keeping.
const MOST_COMPLAINTS: usize = 64;
const LONGEST_COMPLAINT: usize = 300;

/// The lines beside debugging that say nothing is wrong.
const OF_COURSE: [&str; 5] = ["OpenSSH_", "Transferred: ", "Bytes per second: ", "Killed by signal", "Connection to "];

/// Whether ssh ends so since a host that it was connected to answers no longer.
fn tells_of_silence(line: &str) -> bool {
    line.starts_with("Connection to ") && line.ends_with(" timed out")
}

impl Words {
    pub(super) fn read(lines: &[Line]) -> Self {
        let mut words = Self::default();
        lines.iter().for_each(|line| words.line(line));
        words
    }

    fn line(&mut self, line: &Line) {
        if let Some(said) = line.text.strip_prefix("debug1: ") {
            self.said(said);
        } else if line.text.starts_with("Authenticated to ") {
            // The jump host lets in before the host behind it is spoken to.
            if let Some(hop) = self.hops.last_mut().filter(|hop| hop.software.is_some()) {
                hop.let_in.get_or_insert(line.at);
            }
        } else if tells_of_silence(line.text.trim_end())
            || !line.text.trim().is_empty() && !OF_COURSE.iter().any(|begin| line.text.starts_with(begin))
        {
            if self.complaints.len() >= MOST_COMPLAINTS {
                self.complaints.remove(0);
            }
            self.complaints.push(line.text.trim_end().chars().take(LONGEST_COMPLAINT).collect());
        }
    }

    /// Whether a host answered no longer once it had spoken.
    pub(super) fn fell_silent(&self) -> bool {
        self.complaints.iter().any(|line| tells_of_silence(line))
    }

    fn said(&mut self, said: &str) {
        if said.starts_with("Setting implicit ProxyCommand from ProxyJump: ") {
            self.behind += 1;
            return;
        }
        if let Some(rest) = said.strip_prefix("Connecting to ") {
            let hop = self.hop_to_begin();
            let (name, address) = rest.split_once(" [").unwrap_or((rest, ""));
            let address = address.split(']').next().unwrap_or_default();
            hop.looked_up = Some(address.to_owned()).filter(|address| !address.is_empty() && address != name);
            hop.name = Some(name.to_owned());
            return;
        }
        if let Some((_, software)) = said.split_once("remote software version ")
            && said.starts_with("Remote protocol version ")
        {
            self.hop_to_begin().software = Some(software.to_owned());
            return;
        }
        if said.contains("ctype auth-agent@openssh.com")
            && let Some(hop) = self.hops.iter_mut().rev().find(|hop| hop.forwards)
        {
            hop.forwarded = true;
            return;
        }
        let Some(hop) = self.hops.last_mut() else { return };
        if let Some((address, user)) = after(said, "Authenticating to ").and_then(|rest| rest.split_once(" as ")) {
            hop.address.get_or_insert_with(|| address.to_owned());
            hop.user.get_or_insert_with(|| user.trim_matches('\'').to_owned());
        } else if let Some(key) = after(said, "Server host key: ") {
            hop.host_key = hop.host_key.take().or_else(|| fingerprint(key));
        } else if said.starts_with("Host ") && said.contains(" is known and matches the ") {
            hop.known = true;
        } else if said.contains("publickey-hostbound@openssh.com=") {
            hop.hostbound = true;
        } else if let Some(methods) = after(said, "Authentications that can continue: ") {
            if hop.methods.is_empty() {
                hop.methods = methods.split(',').map(ToOwned::to_owned).collect();
            }
        } else if let Some(key) = after(said, "Offering public key: ") {
            hop.offered.extend(fingerprint(key).filter(|_| hop.offered.len() < MOST_COMPLAINTS));
        } else if let Some(key) = after(said, "Server accepts key: ") {
            hop.accepted = fingerprint(key).or(hop.accepted.take());
        } else if said == "Requesting authentication agent forwarding." {
            hop.forwards = true;
        }
    }

    /// A hop that has not spoken yet is tried again, at the next address of its name.
    fn hop_to_begin(&mut self) -> &mut Hop {
        if self.hops.last().is_none_or(|hop| hop.software.is_some()) && self.hops.len() < MOST_HOPS {
            self.hops.push(Hop::default());
        }
        let last = self.hops.len() - 1;
        &mut self.hops[last]
    }
}

fn after<'a>(said: &'a str, begin: &str) -> Option<&'a str> {
    said.strip_prefix(begin)
}

fn fingerprint(key: &str) -> Option<String> {
    key.split_whitespace().find(|word| word.starts_with("SHA256:")).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Words {
        let lines = (0..).zip(text.lines());
        let lines: Vec<_> =
            lines.map(|(ms, text)| Line { at: Duration::from_millis(ms), text: text.trim().to_owned() }).collect();
        Words::read(&lines)
    }

    /// As OpenSSH 9.2 says it, of which what is not read here is left out.
    const THROUGH_JUMP: &str = "OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026
        debug1: Setting implicit ProxyCommand from ProxyJump: ssh -F conf -v -W '[%h]:%p' jump
        debug1: Executing proxy command: exec ssh -F conf -v -W '[127.0.0.1]:32202' jump
        debug1: Connecting to jump.example [192.0.2.1] port 22.
        debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1 Debian-2+deb12u10
        debug1: Authenticating to jump.example:22 as 'me'
        debug1: Server host key: ssh-ed25519 SHA256:jump
        debug1: Host 'jump' is known and matches the ED25519 host key.
        debug1: kex_input_ext_info: publickey-hostbound@openssh.com=<0>
        debug1: Authentications that can continue: publickey,password
        debug1: Offering public key: me@here ED25519-SK SHA256:other authenticator agent
        debug1: Authentications that can continue: publickey
        debug1: Offering public key: me@here ED25519-SK SHA256:key authenticator agent
        debug1: Server accepts key: me@here ED25519-SK SHA256:key authenticator agent
        Authenticated to jump.example ([192.0.2.1]:22) using \"publickey\".
        debug1: channel_connect_stdio_fwd: 127.0.0.1:32202
        debug1: Remote protocol version 2.0, remote software version Old_1
        debug1: Authenticating to 127.0.0.1:32202 as 'you'
        debug1: Server host key: ssh-ed25519 SHA256:leaf
        you@127.0.0.1: Permission denied (publickey).
        debug1: Exit status 0
        Killed by signal 1.";

    #[test]
    fn each_hop_has_what_was_said_of_it() {
        let Words { hops, behind, complaints } = read(THROUGH_JUMP);
        let [jump, leaf] = &hops[..] else { panic!("{hops:#?}") };
        let expected = Hop {
            name: Some("jump.example".into()),
            looked_up: Some("192.0.2.1".into()),
            address: Some("jump.example:22".into()),
            user: Some("me".into()),
            software: Some("OpenSSH_9.2p1 Debian-2+deb12u10".into()),
            host_key: Some("SHA256:jump".into()),
            known: true,
            hostbound: true,
            methods: vec!["publickey".into(), "password".into()],
            offered: vec!["SHA256:other".into(), "SHA256:key".into()],
            accepted: Some("SHA256:key".into()),
            let_in: Some(Duration::from_millis(14)),
            ..Hop::default()
        };
        assert_eq!(*jump, expected);
        assert_eq!((leaf.user.as_deref(), leaf.host_key.as_deref()), (Some("you"), Some("SHA256:leaf")));
        assert!(!leaf.known && !leaf.hostbound && leaf.let_in.is_none());
        assert_eq!((behind, complaints), (1, vec!["you@127.0.0.1: Permission denied (publickey).".to_owned()]));
    }

    #[test]
    fn the_agent_is_asked_from_where_it_was_forwarded_to() {
        let begin = "debug1: Remote protocol version 2.0, remote software version A
            Authenticated to jump ([192.0.2.1]:22) using \"publickey\".
            debug1: Requesting authentication agent forwarding.
            debug1: Connecting to 192.0.2.2 [192.0.2.2] port 22.
            debug1: Remote protocol version 2.0, remote software version B\n";
        let asked = "debug1: client_input_channel_open: ctype auth-agent@openssh.com rchan 2 win 65536 max 16384";
        assert!(!read(begin).hops[0].forwarded);
        let hops = read(&format!("{begin}{asked}")).hops;
        assert!(hops[0].forwarded && !hops[1].forwarded);
        assert_eq!(hops[1].looked_up, None, "no name had to be found");
    }

    #[test]
    fn an_address_that_does_not_answer_is_no_hop_of_its_own() {
        let hops =
            read("debug1: Connecting to leaf [::1] port 22.\ndebug1: Connecting to leaf [127.0.0.1] port 22.").hops;
        assert_eq!((hops.len(), hops[0].looked_up.as_deref()), (1, Some("127.0.0.1")));
    }

    #[test]
    fn a_host_that_talks_without_end_is_kept_short() {
        let hops: String =
            (0..1000).map(|_| "debug1: Remote protocol version 2.0, remote software version A\n").collect();
        let lines: String = (0..1000).map(|number| format!("{number}{}\n", "x".repeat(1000))).collect();
        let words = read(&(hops + &lines));
        assert_eq!((words.hops.len(), words.complaints.len()), (MOST_HOPS, MOST_COMPLAINTS));
        assert!(words.complaints[0].starts_with("936x") && words.complaints[0].len() == LONGEST_COMPLAINT);
    }
}
