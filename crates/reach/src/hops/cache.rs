//! What the DNS has said, for as long as it may be believed, and what it has been asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::locating::Asker;
use super::{LookupFailure, QueryId, Question, Records};

/// Answers kept at most.
const ANSWERS: usize = 2048;

/// Questions in the air at most; what is beyond is asked when its asker looks again.
const QUERIES: usize = 256;

/// An answer is kept at least this long, whatever its TTL: a call asks several questions and must not
/// begin again at the first while it waits for the last.
const KEPT_MIN: Duration = Duration::from_secs(5);

/// And at most this long: a peer that moves is found within the hour.
const KEPT_MAX: Duration = Duration::from_secs(3600);

/// "There is none" is kept at most this long: peers are set up while somebody waits.
const ABSENT_MAX: Duration = Duration::from_secs(300);

/// A failure is kept this long (RFC 2308 §7.1 allows five minutes).
const FAILED_KEPT: Duration = Duration::from_secs(10);

/// For this long after its time an answer is better than none (RFC 8767 §5: one to three days).
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Records of one answer that are looked at: more than any real service has.
const RECORDS: usize = 32;

/// Answers and open questions, both bounded.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: BTreeMap<Question, Entry>,
    queries: BTreeMap<QueryId, Question>,
    last_query: u64,
}

#[derive(Debug, Default)]
struct Entry {
    known: Option<Known>,
    asking: Option<Asking>,
}

#[derive(Debug)]
struct Known {
    answer: Result<Records, LookupFailure>,
    until: Instant,
    /// Until when it may stand in for an answer that does not come.
    stale_until: Instant,
}

#[derive(Debug)]
struct Asking {
    id: QueryId,
    limit: Instant,
    waiting: BTreeSet<Asker>,
}

/// What the cache says to a question.
#[derive(Debug)]
pub(super) enum Look<'a> {
    /// This, until then; no records where there are none.
    Fresh(Option<&'a Records>, Instant),
    /// Nothing that may be believed; perhaps what was said before.
    Old(Option<&'a Records>),
}

/// What an answer ends.
#[derive(Debug)]
pub(super) struct Answered {
    /// When the query would have been given up.
    pub(super) limit: Instant,
    /// Who waits for it.
    pub(super) waiting: BTreeSet<Asker>,
}

impl Cache {
    /// What is known, for a search that began at `since`: what was good then is good for all of it.
    pub(super) fn look(&self, question: &Question, since: Instant) -> Look<'_> {
        let known = self.entries.get(question).and_then(|e| e.known.as_ref());
        match known {
            None => Look::Old(None),
            Some(known) if known.until > since => {
                Look::Fresh(known.answer.as_ref().ok(), known.until)
            }
            Some(known) => {
                let usable = known.stale_until > since;
                Look::Old(known.answer.as_ref().ok().filter(|_| usable))
            }
        }
    }

    /// Lets `asker` wait for a question; gives a new query if the question is not in the air yet and
    /// may be asked now.
    pub(super) fn ask(
        &mut self,
        question: &Question,
        asker: Asker,
        limit: Instant,
    ) -> Option<QueryId> {
        let asking = self.entries.get_mut(question).map(|e| &mut e.asking);
        if let Some(Some(asking)) = asking {
            asking.waiting.insert(asker);
            return None;
        }
        if self.queries.len() >= QUERIES {
            return None;
        }
        if self.entries.len() >= ANSWERS && !self.entries.contains_key(question) {
            self.forget_one();
        }
        self.last_query += 1;
        let id = QueryId(self.last_query);
        self.queries.insert(id, question.clone());
        let entry = self.entries.entry(question.clone()).or_default();
        entry.asking = Some(Asking {
            id,
            limit,
            waiting: BTreeSet::from([asker]),
        });
        Some(id)
    }

    /// Takes an answer. `None` when nobody asked, or no longer.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        id: QueryId,
        answer: Result<Records, LookupFailure>,
    ) -> Option<Answered> {
        let question = self.queries.remove(&id)?;
        let entry = self.entries.get_mut(&question)?;
        let asking = entry.asking.take_if(|asking| asking.id == id)?;
        entry.know(now, fitting(&question, answer));
        Some(Answered {
            limit: asking.limit,
            waiting: asking.waiting,
        })
    }

    /// Answers and questions together.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The answer that has been, or soonest will be, out of date goes.
    fn forget_one(&mut self) {
        let until = |entry: &Entry| entry.known.as_ref().map(|known| known.until);
        let idle = self.entries.iter().filter(|(_, e)| e.asking.is_none());
        let oldest = idle.min_by_key(|(_, entry)| until(entry));
        if let Some(question) = oldest.map(|(question, _)| question.clone()) {
            self.entries.remove(&question);
        }
    }
}

impl Entry {
    fn know(&mut self, now: Instant, answer: Result<Records, LookupFailure>) {
        if answer == Err(LookupFailure::Failed)
            && let Some(known) = &mut self.known
            && known.answer.is_ok()
            && known.stale_until > now
        {
            // RFC 8767: what was true before is better than nothing.
            known.until = known.until.max(now + FAILED_KEPT);
            return;
        }
        let kept = match &answer {
            Ok(records) => records.ttl().clamp(KEPT_MIN, KEPT_MAX),
            Err(LookupFailure::Absent { ttl }) => (*ttl).clamp(KEPT_MIN, ABSENT_MAX),
            Err(LookupFailure::Failed) => FAILED_KEPT,
        };
        self.known = Some(Known {
            answer,
            until: now + kept,
            stale_until: now + kept + STALE_MAX,
        });
    }
}

/// An answer cut to what is looked at. No records are none, and those of another kind are a failure.
fn fitting(
    question: &Question,
    answer: Result<Records, LookupFailure>,
) -> Result<Records, LookupFailure> {
    let mut records = answer?;
    let ttl = records.ttl();
    let count = match (question, &mut records) {
        (Question::Naptr(_), Records::Naptr(found, _)) => {
            found.sort_by_key(|record| (record.order, record.preference));
            found.truncate(RECORDS);
            found.len()
        }
        (Question::Srv(_), Records::Srv(found, _)) => {
            found.sort_by_key(|record| record.priority);
            found.truncate(RECORDS);
            found.len()
        }
        (Question::Addresses { .. }, Records::Addresses(found, _)) => {
            found.truncate(RECORDS);
            found.len()
        }
        _ => return Err(LookupFailure::Failed),
    };
    match count {
        0 => Err(LookupFailure::Absent { ttl }),
        _ => Ok(records),
    }
}
