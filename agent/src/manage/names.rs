//! Names for tokens: given, taken back, and recognised by their markers.

use ssh_key::rand_core::{OsRng, RngCore};

use super::{Management, record, state};
use crate::audit::record::Act;
use crate::control::NamedToken;
use crate::denial::{Code, Denial};
use crate::occasion::{audit_token, describe_device};
use crate::prompt::{Prompt, Prompter, visible};
use crate::sign::Patience;
use crate::token::known::{KnownToken, KnownTokens, MARKER_APPLICATION, Marker, check_name};
use crate::token::probe::{Answer, probe_marker, recognise};
use crate::token::protocol::{Algorithm, Bytes, Command, Device, NewCredential, Pin, Reply, State, Verification};
use crate::token::{Exchange, TokenError};

impl Management<'_> {
    /// Gives a token a name, and a marker by which it is recognised; one that has a marker already keeps it.
    pub(crate) async fn name_token(&self, name: String, holding: Option<&str>) -> Result<NamedToken, Denial> {
        self.unlocked()?;
        check_name(&name)?;
        let patience = self.patience();
        let _person = patience.wait(self.agent.person.lock()).await?;
        let _tokens = patience.wait(self.agent.tokens.lock()).await?;
        let known = self.agent.change_known_tokens(KnownTokens::list).await?;
        let mut exchange = self.begin(&patience).await?;
        let exchange = exchange.as_mut();
        let question = format!("Touch the token to be called {}.", visible(&name));
        let device = self.one_token(exchange, &patience, &question).await?;
        let state = patience.wait(state(exchange, &device)).await??;
        if let Some(key) = holding {
            self.has_to_hold(exchange, &device, &state, key, &patience).await?;
        }
        self.mark(exchange, &device, &state, name.clone(), &known, &patience).await?;
        if let Some(key) = holding {
            self.agent.remember_keys(&name, vec![key.to_owned()]).await;
        }
        Ok(NamedToken { name, device })
    }

    /// Gives this token a name, and a marker where it has none.
    pub(super) async fn mark(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        state: &State,
        name: String,
        known: &[KnownToken],
        patience: &Patience<'_>,
    ) -> Result<(), Denial> {
        check_name(&name)?;
        let recognised = patience.wait(recognise(exchange, device, known)).await?;
        if known.iter().any(|other| other.name == name && recognised != Some(other)) {
            let reason = format!("another token is called {} already", visible(&name));
            return Err(Denial::new(Code::TokenName, reason));
        }
        let token = match recognised {
            Some(token) => KnownToken { name, ..token.clone() },
            None => {
                let marker = self.make_marker(exchange, device, state, &name, patience).await?;
                KnownToken {
                    name,
                    marker,
                    keys: Vec::new(),
                    product: device.product.clone(),
                    serial: device.serial.clone(),
                    aaguid: state.aaguid.clone(),
                }
            }
        };
        match patience.wait(probe_marker(exchange, device, &token)).await? {
            Ok(Answer::Proven) => {}
            Ok(Answer::No | Answer::NotSaid) => return Err(Denial::plain(Code::TokenNotRecognisable)),
            Err(failure) => return Err(Denial::from(&failure)),
        }
        record(self.agent, Act::NameToken { name: token.name.clone(), token: audit_token(device) }).await?;
        self.agent.change_known_tokens(move |known| known.name(token)).await
    }

    /// Forgets a name, its marker and what the token held. The token itself keeps nothing of a marker.
    pub(crate) async fn forget_token(&self, name: String) -> Result<(), Denial> {
        self.unlocked()?;
        let known = self.agent.change_known_tokens(KnownTokens::list).await?;
        if known.iter().any(|token| token.name == name) {
            record(self.agent, Act::ForgetToken { name: name.clone() }).await?;
        }
        self.agent.change_known_tokens(move |known| known.forget(&name)).await
    }

    /// The name of a token, if it proves to be one that has a name.
    pub(super) async fn name_of(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        patience: &Patience<'_>,
    ) -> Result<Option<String>, Denial> {
        let known = self.agent.known_tokens().await;
        let token = patience.wait(recognise(exchange, device, &known)).await?;
        Ok(token.map(|token| token.name.clone()))
    }

    /// Remembers that a token holds these keys, if it proves to be one that has a name, which is given back.
    pub(super) async fn remember_keys(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        keys: Vec<String>,
        patience: &Patience<'_>,
    ) -> Result<Option<String>, Denial> {
        let name = self.name_of(exchange, device, patience).await?;
        if let Some(name) = &name {
            self.agent.remember_keys(name, keys).await;
        }
        Ok(name)
    }

    /// Makes a marker, with a touch; with user verification only where the token makes no credential without
    /// (makeCredUvNotRqd, CTAP 2.1 § 6.4).
    async fn make_marker(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        state: &State,
        name: &str,
        patience: &Patience<'_>,
    ) -> Result<Marker, Denial> {
        let lines = vec![format!("{} is going to be called {}", describe_device(device), visible(name))];
        let prompt = |notice: &str| Prompt { lines: lines.clone(), question: notice.into() };
        let command =
            |verification| Command::MakeCredential { path: device.path.clone(), options: new_marker(), verification };
        let touch = prompt("Touch the token to name it.");
        let mut shown = None;
        let mut presence = || shown = Some(self.terminal.notify_presence(&touch));
        let first = patience.wait(exchange.call(command(Verification::None), &mut presence)).await;
        drop(shown);
        let reply = match first {
            Ok(Ok(reply)) => reply,
            Ok(Err(failure)) if failure.error == TokenError::PinRequired => {
                let sensor = state.built_in_uv == Some(true) && state.uv_retries != Some(0);
                let (verification, notice) = if sensor {
                    (Verification::BuiltIn, "Put your finger on the token's sensor to name it.")
                } else {
                    let pin = self.pin(device, state, patience).await?;
                    (Verification::Pin(Pin(pin)), "Touch the token to name it.")
                };
                self.finish(exchange, patience, command(verification), Some(&prompt(notice))).await?
            }
            failed => {
                exchange.cancel().await;
                return Err(failed?.err().map_or(Denial::plain(Code::HelperFailed), |failure| Denial::from(&failure)));
            }
        };
        match reply {
            Reply::Credential(made) => Ok(Marker { public_key: made.public_key, key_handle: made.key_handle }),
            _ => Err(Denial::plain(Code::HelperFailed)),
        }
    }
}

fn new_marker() -> NewCredential {
    let random = || {
        let mut bytes = [0; 32];
        OsRng.fill_bytes(&mut bytes);
        Bytes(bytes.to_vec())
    };
    NewCredential {
        application: MARKER_APPLICATION.into(),
        // The type that every FIDO2 token makes.
        algorithm: Algorithm::EcdsaP256,
        resident: false,
        verify_required: false,
        user_id: random(),
        user_name: "marker".into(),
        challenge: random(),
    }
}
