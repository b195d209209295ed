//! A conversation with both agents, request by request, held against what the oracle says.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::agents::{Agents, Line, failing_binding, for_rival};
use crate::cast::cast;
use crate::oracle::{Answer, Oracle, Patience, Theirs, Verdict};
use crate::request::{EXTENSION, SESSION_BIND, Step};
use crate::score::Score;

/// How many connections there are at a time.
pub(crate) const CONNECTIONS: usize = 3;

/// How many messages are sent before the first of them is answered: fewer than ours hangs up on a client for.
const MOST_AT_ONCE: usize = 8;

/// The longest message (statement 1).
const LONGEST_FRAME: usize = 256 * 1024;

const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION_FAILURE: u8 = 28;
const EXTENSION_RESPONSE: u8 = 29;

/// A conversation under way.
pub(crate) struct Conversation<'c> {
    agents: &'c Agents,
    oracle: Oracle,
    lines: Vec<Line>,
    /// Bindings that ssh-agent has still to be told of: 9.2 takes none while it is locked.
    kept_back: Vec<Vec<(Vec<u8>, Answer)>>,
    /// How many of the next messages ours has got already.
    ahead: usize,
    score: &'c mut Score,
    transcript: String,
}

/// What was disagreed on, behind all that went before.
#[derive(Debug)]
pub(crate) struct Disagreement(pub(crate) String);

/// Has this conversation from its beginning to its end.
pub(crate) fn converse(agents: &Agents, steps: &[Step], score: &mut Score) -> Result<(), Disagreement> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let mut conversation = Conversation {
        agents,
        oracle: Oracle::new(CONNECTIONS, now),
        lines: (0..CONNECTIONS).map(|_| agents.connect()).collect(),
        kept_back: vec![Vec::new(); CONNECTIONS],
        ahead: 0,
        score,
        transcript: String::new(),
    };
    let mut groups = steps.chunk_by(|step, next| next.goes_with(step)).flat_map(|group| group.chunks(MOST_AT_ONCE));
    let said = groups.try_for_each(|steps| conversation.steps(steps));
    let said = said.and_then(|()| agents.reset(conversation.oracle.password()));
    said.map_err(|what| Disagreement(format!("{what}, in:\n{}", conversation.transcript)))
}

impl Conversation<'_> {
    /// Steps that ours is sent at once; each of them is one message.
    fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        if let [first, _, ..] = steps {
            let bytes: Vec<u8> = steps.iter().filter_map(Step::bytes).flatten().collect();
            self.lines[first.connection].ours.send(&bytes);
            self.ahead = steps.len();
        }
        let said = steps.iter().try_for_each(|step| self.step(step));
        self.ahead = 0;
        said
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let _ = writeln!(self.transcript, "{step:?}");
        let Some(bytes) = step.bytes() else {
            self.hang_up(step.connection);
            return Ok(());
        };
        let mut rest = bytes.as_slice();
        while let Some((length, behind)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            if !(1..=LONGEST_FRAME).contains(&length) {
                return self.closes_both(step.connection, rest);
            }
            let Some((frame, behind)) = behind.split_at_checked(length) else { break };
            self.frame(step.connection, frame)?;
            rest = behind;
        }
        if !rest.is_empty() {
            // A message that was begun, and never ends.
            let line = &mut self.lines[step.connection];
            line.ours.send(rest);
            line.theirs.send(rest);
            self.hang_up(step.connection);
        }
        Ok(())
    }

    fn frame(&mut self, connection: usize, frame: &[u8]) -> Result<(), String> {
        let constrained = self.oracle.is_about_constrained_key(frame);
        let locked = self.oracle.is_locked();
        let verdict = self.oracle.judge(connection, frame);
        let ours = self.ask_ours(connection, frame, &verdict)?;
        self.score.count(frame, constrained, &verdict);
        match &verdict.theirs {
            Theirs::Same if locked && is_binding(frame, &verdict.ours) => {
                self.kept_back[connection].push((frame.to_vec(), verdict.ours.clone()));
            }
            Theirs::Same => self.ask_theirs(connection, frame, &verdict.ours)?,
            Theirs::Otherwise(_, answer) => self.ask_theirs(connection, frame, answer)?,
            Theirs::NotAsked(_) => {}
            Theirs::Locally(_) => {
                let here = std::mem::replace(&mut self.lines[connection].theirs, self.agents.connect().theirs);
                self.ask_theirs(connection, frame, &verdict.ours)?;
                self.lines[connection].theirs = here;
            }
            Theirs::FailingBinding(_) if locked => {
                self.kept_back[connection].push((failing_binding(), Answer::ExtensionFailure));
            }
            Theirs::FailingBinding(_) => {
                self.ask_theirs(connection, &failing_binding(), &Answer::ExtensionFailure)?;
            }
        }
        let _ = writeln!(self.transcript, "    {}", describe(&ours, &verdict));
        if locked && !self.oracle.is_locked() {
            self.catch_up()?;
        }
        self.patience(connection)
    }

    fn ask_ours(&mut self, connection: usize, frame: &[u8], verdict: &Verdict) -> Result<Vec<u8>, String> {
        let ours = &mut self.lines[connection].ours;
        match self.ahead {
            0 => ours.send_message(frame),
            _ => self.ahead -= 1,
        }
        let answer = ours.answer().ok_or("ours closes the connection")?;
        if is(&answer, &verdict.ours, true) {
            return Ok(answer);
        }
        Err(format!("ours answers {}, not {:?} ({:?})", short(&answer), verdict.ours, verdict.theirs))
    }

    fn ask_theirs(&mut self, connection: usize, frame: &[u8], expected: &Answer) -> Result<(), String> {
        let theirs = &mut self.lines[connection].theirs;
        theirs.send_message(&for_rival(frame));
        let answer = theirs.answer().ok_or("ssh-agent closes the connection")?;
        if is(&answer, expected, false) {
            return Ok(());
        }
        Err(format!("ssh-agent answers {}, not {expected:?}", short(&answer)))
    }

    fn catch_up(&mut self) -> Result<(), String> {
        for connection in 0..CONNECTIONS {
            for (frame, answer) in std::mem::take(&mut self.kept_back[connection]) {
                self.ask_theirs(connection, &frame, &answer)?;
            }
        }
        Ok(())
    }

    /// A message without a byte, or one that is too long, is the last one.
    fn closes_both(&mut self, connection: usize, bytes: &[u8]) -> Result<(), String> {
        let line = &mut self.lines[connection];
        line.ours.send(bytes);
        line.theirs.send(bytes);
        // ssh-agent looks at a length when there is something behind it.
        line.theirs.send(&[0]);
        match (line.ours.answer(), line.theirs.answer()) {
            (None, None) => {
                self.hang_up(connection);
                Ok(())
            }
            (ours, theirs) => Err(format!("the connection lives on; ours: {ours:?}, ssh-agent: {theirs:?}")),
        }
    }

    fn patience(&mut self, connection: usize) -> Result<(), String> {
        match self.oracle.patience(connection) {
            Patience::Left => {}
            Patience::Uncertain => self.hang_up(connection),
            Patience::Lost => {
                if self.lines[connection].ours.answer().is_some() {
                    return Err("ours goes on after that many refusals".into());
                }
                self.score.closed += 1;
                self.hang_up(connection);
            }
        }
        Ok(())
    }

    fn hang_up(&mut self, connection: usize) {
        self.lines[connection] = self.agents.connect();
        self.kept_back[connection].clear();
        self.ahead = 0;
        self.oracle.forget(connection);
    }
}

fn is_binding(frame: &[u8], answer: &Answer) -> bool {
    frame.first() == Some(&EXTENSION) && matches!(answer, Answer::Success | Answer::ExtensionFailure)
}

/// Whether an answer is the expected one.
fn is(answer: &[u8], expected: &Answer, ours: bool) -> bool {
    match expected {
        Answer::Success => answer == [SUCCESS],
        Answer::Failure => answer == [FAILURE],
        Answer::ExtensionFailure => answer == [if ours { EXTENSION_FAILURE } else { FAILURE }],
        Answer::List(keys) => list(answer).is_some_and(|listed| {
            let shown = |comment: &[u8]| if ours { readable(comment) } else { comment.to_vec() };
            let expected: Vec<_> = keys.iter().map(|(key, comment)| (key.clone(), shown(comment))).collect();
            listed == expected
        }),
        Answer::Signature { key, algorithm, data } => signature(answer).is_some_and(|(name, signature)| {
            name == algorithm.as_bytes() && cast().key(*key).signed(data, algorithm, &signature)
        }),
        Answer::Extensions => extensions(answer)
            .is_some_and(|names| ["query", SESSION_BIND].iter().all(|name| names.contains(&name.as_bytes().to_vec()))),
    }
}

/// Ours keeps comments as text, and no more of them than fits into a list a thousand times.
fn readable(comment: &[u8]) -> Vec<u8> {
    const LONGEST_COMMENT: usize = 512;
    String::from_utf8_lossy(comment).chars().take(LONGEST_COMMENT).collect::<String>().into_bytes()
}

fn list(answer: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let (kind, rest) = answer.split_first()?;
    let (number, mut rest) = rest.split_first_chunk()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*number) {
        keys.push((string(&mut rest)?, string(&mut rest)?));
    }
    (*kind == IDENTITIES_ANSWER && rest.is_empty()).then_some(keys)
}

/// Statement 4.
fn extensions(answer: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = answer.strip_prefix(&[EXTENSION_RESPONSE])?;
    string(&mut rest).filter(|name| name == b"query")?;
    let mut names = Vec::new();
    while !rest.is_empty() {
        names.push(string(&mut rest)?);
    }
    Some(names)
}

fn signature(answer: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut rest = answer.strip_prefix(&[SIGN_RESPONSE])?;
    let whole = string(&mut rest)?;
    let mut inner = whole.as_slice();
    let parts = (string(&mut inner)?, string(&mut inner)?);
    (rest.is_empty() && inner.is_empty()).then_some(parts)
}

fn string(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(string.to_vec())
}

fn describe(answer: &[u8], verdict: &Verdict) -> String {
    match &verdict.theirs {
        Theirs::Same => short(answer),
        Theirs::Otherwise(reason, _) => format!("{} (ssh-agent answers otherwise: {reason:?})", short(answer)),
        Theirs::NotAsked(reason) | Theirs::FailingBinding(reason) | Theirs::Locally(reason) => {
            format!("{} (ssh-agent is not asked this: {reason:?})", short(answer))
        }
    }
}

fn short(answer: &[u8]) -> String {
    match answer {
        [SUCCESS] => "SUCCESS".into(),
        [FAILURE] => "FAILURE".into(),
        [EXTENSION_FAILURE] => "EXTENSION_FAILURE".into(),
        [SIGN_RESPONSE, ..] => "a signature".into(),
        _ => match list(answer) {
            Some(keys) => {
                let keys: Vec<_> = keys.iter().map(|(key, _)| cast().identity(key)).collect();
                format!("{keys:?}")
            }
            None => format!("{}", answer.escape_ascii()),
        },
    }
}

/// The same conversation without all that the disagreement does without.
pub(crate) fn shorten(mut steps: Vec<Step>, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut place = steps.len();
    while place > 0 {
        place -= 1;
        let without = [&steps[..place], &steps[place + 1..]].concat();
        if fails(&without) {
            steps = without;
        }
    }
    for place in 0..steps.len() {
        let whole = |step: &mut Step| step.damage.take().is_some();
        let in_turn = |step: &mut Step| std::mem::take(&mut step.ahead);
        for simplify in [whole, in_turn] {
            let mut simpler = steps.clone();
            if simplify(&mut simpler[place]) && fails(&simpler) {
                steps = simpler;
            }
        }
    }
    steps
}
