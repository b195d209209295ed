//! Stages 4 and 11 to 13 for a key of another agent: it is asked once that is on record, and believed once it was verified.

use std::path::Path;

use super::Signing;
use super::patience::Patience;
use super::trail::{Signed, Trail};
use crate::audit::record::Signer;
use crate::constraint::Constraints;
use crate::course::{self, Phase};
use crate::denial::{Code, Denial};
use crate::identity::{Holder, Identity};
use crate::policy::Permit;
use crate::software_key::SoftwareKeyError;
use crate::{software_key, verify};

impl Signing<'_> {
    /// The key, where another agent offers it over a connection with these bindings. Which constraints it has there is that
    /// agent's to know and to hold.
    pub(super) async fn offered_upstream(&self, patience: &Patience<'_>) -> Result<Identity, Denial> {
        let upstreams = &self.agent.upstreams;
        if upstreams.is_empty() || self.request.own_keys_only {
            return Err(self.unknown_key());
        }
        if self.agent.lock.is_locked() {
            return Err(Denial::plain(Code::Locked));
        }
        let finding = async {
            let _turn = self.request.turn.take().await;
            upstreams.find(&self.request.key_blob, &self.request.bindings).await
        };
        let found = patience.wait(finding).await?;
        self.agent.note_lost_upstreams();
        let found = found.map_err(|missing| {
            let Denial { code, reason } = self.unknown_key();
            Denial::new(code, format!("{reason}{missing}"))
        })?;
        Ok(Identity {
            public_key: self.request.key.clone(),
            blob: found.key.blob,
            comment: found.key.comment,
            holder: Holder::Upstream(found.socket),
            constraints: Constraints::default(),
        })
    }

    /// Has the other agent sign. Its own person may take as long as the request may.
    pub(super) async fn by_upstream(
        &self,
        identity: &Identity,
        socket: &Path,
        permit: Permit,
        patience: &Patience<'_>,
        trail: &mut Trail<'_>,
    ) -> Result<Signed, Denial> {
        let (data, flags) = (&self.request.data, self.request.flags);
        if software_key::wants_sha1(&identity.public_key, flags) {
            return Err(Denial::new(Code::Sha1, SoftwareKeyError::Sha1.to_string()));
        }
        // 11: on record before it is asked.
        let signer = Signer::Upstream { socket: socket.display().to_string() };
        let intended = trail.intent(self.allowed(identity, &permit, None), signer).await?;

        // 12: the other agent.
        let refused = |what: &str| Denial::new(Code::UpstreamRefused, format!("upstream {}: {what}", socket.display()));
        let clock = course::clock(Phase::Upstream);
        let signing = self.agent.upstreams.sign(socket, &identity.blob, &self.request.bindings, data, flags);
        let signed = patience.wait(signing).await.map_err(|denial| match denial.code {
            Code::RequestTimeout => refused("it did not answer in time"),
            _ => denial,
        })?;
        drop(clock);
        self.agent.note_lost_upstreams();
        let signature = signed.map_err(|error| refused(&error.to_string()))?;

        // 13: believed only now. Minutes may have passed: the agent may be locked, or hold the key itself.
        if !verify::verifies(&identity.public_key, data, &signature) {
            return Err(Denial::plain(Code::UpstreamUnproven));
        }
        self.authorize(identity)?;
        if self.held().is_some() {
            return Err(Denial::plain(Code::KeyGone));
        }
        Ok(Signed::by_upstream(intended, signature))
    }
}
