//! Which tokens are plugged in, and how they are.

use super::{Management, state};
use crate::control::TokenStatus;
use crate::denial::Denial;
use crate::token::select::list;

impl Management<'_> {
    /// The tokens that are plugged in. One that is in use is shown without its state rather than waited for.
    pub(crate) async fn tokens(&self) -> Result<Vec<TokenStatus>, Denial> {
        let patience = self.patience();
        let mut exchange = self.begin(&patience).await?;
        let devices = patience.wait(list(exchange.as_mut())).await?.map_err(|f| Denial::from(&f))?;
        let Ok(_free) = self.agent.tokens.try_lock() else {
            let in_use = |device| TokenStatus { name: None, device, state: None, trouble: Some("in use".into()) };
            return Ok(devices.into_iter().map(in_use).collect());
        };
        let mut tokens = Vec::new();
        for device in devices {
            let (state, trouble) = match patience.wait(state(exchange.as_mut(), &device)).await? {
                Ok(state) => (Some(state), None),
                Err(denial) => (None, Some(denial.to_string())),
            };
            let name = self.name_of(exchange.as_mut(), &device, &patience).await?;
            tokens.push(TokenStatus { name, device, state, trouble });
        }
        Ok(tokens)
    }
}
