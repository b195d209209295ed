//! How far a refresh is, and what a person who is left with it has to know.

use std::path::{Path, PathBuf};

use crate::directory::Directory;
use crate::problem::Problem;
use crate::publication::Candidate;

/// What is where.
#[derive(Debug)]
pub(super) struct State {
    old: Candidate,
    new: Option<Candidate>,
    place: String,
    /// Whether the new key takes the old one's place there.
    holds_one_key: bool,
    pub(super) step: Step,
}

/// The step that is under way, or was done last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no new key yet.
    Making,
    /// It is in its files.
    Made,
    /// It may be registered.
    Publishing,
    /// It is.
    Published,
    /// Its files have the old one's names, and the old one's file has this one.
    Moved(PathBuf),
}

impl State {
    pub(super) fn of(old: &Candidate, directory: &Directory) -> Self {
        Self {
            old: old.clone(),
            new: None,
            place: directory.name(),
            holds_one_key: directory.holds_one_key(),
            step: Step::Making,
        }
    }

    /// There is a new key.
    pub(super) fn made(&mut self, new: &Candidate) {
        self.new = Some(new.clone());
        self.step = Step::Made;
    }

    /// A problem, and where everything is.
    pub(super) fn tell(&self, problem: Problem) -> Problem {
        let (old, old_file) = (&self.old.key.fingerprint, private(&self.old));
        let Some(new) = &self.new else {
            return problem.next(format!("The old key {old} is as it was, in {old_file} and in the agent."));
        };
        let (new, new_file) = (&new.key.fingerprint, private(new));
        if let Step::Moved(aside) = &self.step {
            let aside = aside.display();
            return problem
                .next(format!(
                    "The new key {new} is registered, and is in {old_file} now; the old one {old} is in {aside}."
                ))
                .next(format!("What is left to do: `agent-cli add {old_file}`, then `agent-cli remove {aside}`."));
        }
        let Self { place, .. } = self;
        let back = format!("`agent-cli publish {}` puts the old one back", self.old.file.display());
        let registered = match (&self.step, self.holds_one_key) {
            (Step::Publishing, true) => {
                format!("Which of them {place} has, `agent-cli published` tells; if it is the new one, {back}.")
            }
            (Step::Publishing, false) => {
                format!("Whether {place} has the new one as well, `agent-cli published` tells.")
            }
            (Step::Published, true) => format!("{place} has the new one in the place of the old one; {back}."),
            (Step::Published, false) => format!("{place} has the new one as well."),
            (Step::Making | Step::Made | Step::Moved(_), _) => {
                format!("{place} has not been asked to take the new one.")
            }
        };
        problem
            .next(format!("The old key {old} is as it was, in {old_file} and in the agent."))
            .next(format!("The new key {new} is in {new_file}. {registered}"))
            .next(format!("`agent-cli refresh {old_file}` goes on with it."))
    }

    /// What was done.
    pub(super) fn done(&self, aside: &Path) -> [String; 2] {
        let new = self.new.as_ref().map_or("", |new| &new.key.fingerprint);
        let (old, old_file) = (&self.old.key.fingerprint, private(&self.old));
        [
            format!("The new key {new} is in {old_file} now, and in the agent."),
            format!("The old key {old} is in no agent any more; its file is {}.", aside.display()),
        ]
    }
}

/// The name of the private file.
fn private(key: &Candidate) -> String {
    key.file.with_extension("").display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str) -> Candidate {
        let line = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAAAAAAARzc2g6 me@here";
        Candidate::of_line(line, Some(true), &PathBuf::from(format!("/home/me/.ssh/{name}.pub"))).unwrap()
    }

    fn told(step: Step, holds_one_key: bool) -> String {
        let new = (step != Step::Making).then(|| candidate("id_new"));
        let state = State { old: candidate("id"), new, place: "the place".into(), holds_one_key, step };
        state.tell(Problem::failed("it failed")).to_string()
    }

    #[test]
    fn wherever_it_ends_both_keys_are_told_of() {
        let as_it_was = "is as it was, in /home/me/.ssh/id and in the agent.";
        let back = "`agent-cli publish /home/me/.ssh/id.pub` puts the old one back";
        for holds_one_key in [true, false] {
            let told = |step| told(step, holds_one_key);
            assert!(told(Step::Making).contains(as_it_was) && !told(Step::Making).contains("new key"));
            for step in [Step::Made, Step::Publishing, Step::Published] {
                let told = told(step.clone());
                assert!(told.contains(as_it_was) && told.contains("is in /home/me/.ssh/id_new. "), "{told}");
                assert!(told.contains("`agent-cli refresh /home/me/.ssh/id` goes on with it."), "{told}");
                assert_eq!(told.contains(back), holds_one_key && step != Step::Made, "{told}");
            }
            let moved = told(Step::Moved("/home/me/.ssh/id_old".into()));
            assert!(moved.contains("is in /home/me/.ssh/id now; the old one "), "{moved}");
            assert!(
                moved.contains("`agent-cli add /home/me/.ssh/id`, then `agent-cli remove /home/me/.ssh/id_old`."),
                "{moved}"
            );
        }
    }
}
