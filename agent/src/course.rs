//! The course of the request that is served here: which one it is, what its person was asked, and what took how long. Whoever
//! serves it notes that on the way, and the audit log keeps it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::chain::Hash;
use crate::audit::record::{self, PromptKind, Prompted, RequestId, Times};
use crate::prompt::Prompt;

tokio::task_local! {
    static CURRENT: Arc<Course>;
}

/// The most prompts that are kept: a person was asked no more in the time that a request has.
const MOST_PROMPTS: usize = 64;

/// One request's.
#[derive(Debug)]
pub(crate) struct Course {
    request: RequestId,
    begun: Instant,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    prompts: Vec<Prompted>,
    queue: Duration,
    person: Duration,
    token: Duration,
    upstream: Duration,
    disk: Duration,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its turn.
    Queue,
    /// A token.
    Token,
    /// Another agent.
    Upstream,
    /// The audit log.
    Disk,
}

impl Course {
    /// That of a request which begins now.
    pub(crate) fn begin(request: RequestId) -> Arc<Self> {
        Arc::new(Self { request, begun: Instant::now(), noted: Mutex::default() })
    }

    /// So far.
    pub(crate) fn so_far(&self) -> record::Course {
        let noted = self.noted();
        let times = Times {
            total: ms(self.begun.elapsed()),
            queue: ms(noted.queue),
            person: ms(noted.person),
            token: ms(noted.token),
            upstream: ms(noted.upstream),
            disk: ms(noted.disk),
        };
        record::Course { prompts: noted.prompts.clone(), times }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spent(&self, phase: Phase, time: Duration) {
        let mut noted = self.noted();
        let spent = match phase {
            Phase::Queue => &mut noted.queue,
            Phase::Token => &mut noted.token,
            Phase::Upstream => &mut noted.upstream,
            Phase::Disk => &mut noted.disk,
        };
        *spent = spent.saturating_add(time);
    }
}

/// Serves a request. All that is noted on the way is noted of it.
pub(crate) async fn serving<T>(course: Arc<Course>, work: impl Future<Output = T>) -> T {
    CURRENT.scope(course, work).await
}

/// That of the request which is served here; None where it is none for a signature.
pub(crate) fn current() -> Option<Arc<Course>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// The request that is served here.
pub(crate) fn request() -> Option<RequestId> {
    current().map(|course| course.request)
}

/// Runs as long as it is held: so long takes the phase, however it ends.
#[must_use]
pub(crate) struct Clock {
    course: Option<Arc<Course>>,
    phase: Phase,
    begun: Instant,
}

/// A phase begins.
pub(crate) fn clock(phase: Phase) -> Clock {
    Clock { course: current(), phase, begun: Instant::now() }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Some(course) = &self.course {
            course.spent(self.phase, self.begun.elapsed());
        }
    }
}

/// A question that a person has before them as long as this is held.
#[must_use]
pub(crate) struct Question {
    course: Option<Arc<Course>>,
    begun: Instant,
    prompted: Prompted,
}

/// A question is asked.
pub(crate) fn question(kind: PromptKind, channel: &str, prompt: &Prompt) -> Question {
    Question { course: current(), begun: Instant::now(), prompted: prompted(kind, channel, prompt) }
}

impl Question {
    /// It could not be asked there.
    pub(crate) fn was_not_asked(mut self) {
        self.course = None;
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(course) = &self.course {
            let time = self.begun.elapsed();
            let mut noted = course.noted();
            noted.person = noted.person.saturating_add(time);
            noted.keep(Prompted { ms: Some(ms(time)), ..self.prompted.clone() });
        }
    }
}

impl Course {
    /// A notice was shown.
    pub(crate) fn noticed(&self, channel: &str, prompt: &Prompt) {
        self.noted().keep(prompted(PromptKind::Notice, channel, prompt));
    }
}

impl Noted {
    fn keep(&mut self, prompted: Prompted) {
        if self.prompts.len() < MOST_PROMPTS {
            self.prompts.push(prompted);
        }
    }
}

fn prompted(kind: PromptKind, channel: &str, prompt: &Prompt) -> Prompted {
    Prompted { kind, channel: channel.into(), hash: Hash::of(prompt.text().as_bytes()), ms: None }
}

fn ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_on_the_way_is_noted_of_the_request_that_is_served() {
        let prompt = Prompt { lines: vec!["Log in as admin".into()], question: "PIN: ".into() };
        let course = Course::begin(RequestId(7));
        let work = async {
            assert_eq!(request(), Some(RequestId(7)));
            question(PromptKind::Secret, "pinentry", &prompt).was_not_asked();
            drop(question(PromptKind::Secret, "terminal", &prompt));
            let _given_up = clock(Phase::Token);
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        serving(Arc::clone(&course), work).await;
        course.noticed("terminal", &prompt);
        let record::Course { prompts, times } = course.so_far();
        let shown: Vec<_> = prompts.iter().map(|p| (p.kind, p.channel.as_str(), p.ms.is_some())).collect();
        assert_eq!(shown, [(PromptKind::Secret, "terminal", true), (PromptKind::Notice, "terminal", false)]);
        assert_eq!(prompts[0].hash, Hash::of(b"Log in as admin\nPIN: "));
        assert!(times.token >= 2 && times.total >= times.token && times.queue == 0, "{times:?}");
        assert_eq!(request(), None);
        drop(clock(Phase::Disk));
    }
}
