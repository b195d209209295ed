//! A question about nothing, which shows whether a person can be asked.

use super::Management;
use crate::denial::{Code, Denial};
use crate::prompt::{Prompt, PromptError, Prompter};

impl Management<'_> {
    /// Asks where a login's questions would appear. Whether the person says yes; a no says as much of the way to them.
    pub(crate) async fn ask_person(&self) -> Result<bool, Denial> {
        let patience = self.patience();
        let _person = patience.wait(self.agent.person.lock()).await?;
        let prompt = Prompt {
            lines: vec!["agent-cli doctor asks whether you can be asked. Nothing is signed.".into()],
            question: "Do you see this?".into(),
        };
        let limit = self.agent.settings().limits.prompt;
        let asked = self.agent.prompts.confirm(&prompt);
        match patience.wait_at_most(limit, Code::PromptTimeout, asked).await? {
            Ok(()) => Ok(true),
            Err(PromptError::Refused) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
