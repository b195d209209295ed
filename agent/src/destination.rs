//! Destination constraints: for which hosts, reached through which others, a key may be listed and used (OpenSSH
//! PROTOCOL.agent § 2; `identity_permitted` and `permitted_by_dest_constraints` in ssh-agent.c).

use ssh_encoding::Encode;
use ssh_key::public::KeyData;

use crate::pattern::wildcard;
use crate::session_binding::{SessionBinding, SessionBindings};

/// One permitted step: from a host, or from where the agent runs, to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationConstraint {
    /// Where the step begins; None where the agent runs.
    pub from: Option<Hop>,
    /// Where it leads.
    pub to: Hop,
    /// As whom one may log in there, with wildcards; None as anybody.
    pub user: Option<String>,
}

/// A host of a constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its name, which a host certificate has to name.
    pub hostname: String,
    /// Its keys, or those of the authorities that certify them.
    pub keys: Vec<HopKey>,
}

/// A key of a constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopKey {
    /// The key.
    pub key: KeyData,
    /// Whether it is an authority's.
    pub is_authority: bool,
}

impl Hop {
    /// A plain host key equals one of the plain keys; a host certificate was issued by one of the authorities, for this
    /// name, and is good now (`match_key_hop`).
    fn is(&self, host: &SessionBinding, wall_clock: u64) -> bool {
        match &host.certificate {
            Some(certificate) => {
                let certified = certificate.names_host(&self.hostname, wall_clock);
                certified && self.keys.iter().any(|key| key.is_authority && key.key == certificate.authority)
            }
            None => self.keys.iter().any(|key| !key.is_authority && key.key == host.host_public_key),
        }
    }
}

/// Whether the constraints let a key be listed over this connection, and, with `user`, be used to log in as them at its
/// end. `wall_clock` is in seconds since 1970. A key without constraints may go anywhere.
#[must_use]
pub fn permitted(
    constraints: &[DestinationConstraint],
    bindings: &SessionBindings,
    user: Option<&[u8]>,
    wall_clock: u64,
) -> bool {
    if constraints.is_empty() {
        return true;
    }
    // Who was on the way is not known for certain. OpenSSH takes what was bound later as if it came first.
    if bindings.attempt_failed() {
        return false;
    }
    let Some(last) = bindings.last() else {
        return user.is_none();
    };
    let step = |from: Option<&SessionBinding>, to: Option<&SessionBinding>, user: Option<&[u8]>| {
        constraints.iter().any(|constraint| constraint.permits(from, to, user, wall_clock))
    };
    let mut from = None;
    for host in bindings.iter() {
        let at_the_end = std::ptr::eq(host, last);
        let may_end_here = if at_the_end { !(host.is_forwarding && user.is_some()) } else { host.is_forwarding };
        if !may_end_here || !step(from, Some(host), user.filter(|_| at_the_end)) {
            return false;
        }
        from = Some(host);
    }
    // A key that may be used at a forwarding host, and nowhere behind it, is not shown to it.
    !(last.is_forwarding && user.is_none()) || step(Some(last), None, None)
}

impl DestinationConstraint {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let of_hop = |hop: &Hop| {
            let keys = hop.keys.iter().map(|key| size_of::<HopKey>() + key.key.encoded_len().unwrap_or_default());
            hop.hostname.len() + keys.sum::<usize>()
        };
        let user = self.user.as_ref().map_or(0, String::len);
        size_of::<Self>() + of_hop(&self.to) + self.from.as_ref().map_or(0, of_hop) + user
    }

    /// `to` is None where any destination will do.
    fn permits(
        &self,
        from: Option<&SessionBinding>,
        to: Option<&SessionBinding>,
        user: Option<&[u8]>,
        wall_clock: u64,
    ) -> bool {
        let from_fits = match (&self.from, from) {
            (None, None) => true,
            (Some(hop), Some(host)) => hop.is(host, wall_clock),
            _ => false,
        };
        let user_fits = match (&self.user, user) {
            (Some(pattern), Some(user)) => wildcard(pattern, user),
            _ => true,
        };
        from_fits && user_fits && to.is_none_or(|host| self.to.is(host, wall_clock))
    }
}

#[cfg(test)]
mod tests;
