//! What happens in the demonstration call, and when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duolog_sip::Uri;

use crate::config::Codes;
use crate::phone::{Action, Ear, PhoneEvent, PhoneNo, RealPhones};

/// From the answer: the announcement takes two seconds, the first repeat tone follows ten later.
const PAUSE_AT: Duration = Duration::from_secs(15);
const RESUME_AT: Duration = Duration::from_secs(19);
const HANG_UP_AT: Duration = Duration::from_secs(25);

/// Longest wait for an answer on loopback.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const ONLY: PhoneNo = PhoneNo(0);

/// The two ends of the demonstration call.
pub struct Call<'a> {
    /// The trunk's end.
    pub caller: &'a RealPhones,
    /// The owner's phone.
    pub callee: &'a RealPhones,
    /// Digits that pause and resume.
    pub codes: &'a Codes,
    /// When the demonstration began.
    pub began: Instant,
}

/// What came of the call at both ends.
pub struct Heard {
    /// Call-ID of the caller's leg: the recording's.
    pub call_id: String,
    /// What the caller heard.
    pub caller: Ear,
    /// What the owner heard.
    pub callee: Ear,
}

/// Places the call, pauses and resumes it, hangs up.
///
/// # Errors
///
/// When the call is not answered or breaks.
pub fn play(call: &Call<'_>, number: &str, proxy: SocketAddr) -> Result<Heard> {
    let uri: Uri = format!("sip:{number}@{proxy}")
        .parse()
        .context("the number to call")?;
    call.say(&format!("the trunk calls {number} through duolog"));
    call.caller.act(ONLY, Action::Call { uri })?;
    call.callee
        .wait_for(ONLY, ANSWER_WITHIN, |event| event == PhoneEvent::Ringing)
        .context("the phone does not ring")?;
    call.say("the phone rings");
    let answered = call.caller.wait_for(ONLY, ANSWER_WITHIN, |event| {
        matches!(
            event,
            PhoneEvent::Answered | PhoneEvent::Refused(_) | PhoneEvent::Failed(_)
        )
    });
    let answered = answered.context("the call is not answered")?;
    if answered.event != PhoneEvent::Answered {
        bail!("the call failed: {:?}", answered.event);
    }
    let at = answered.at;
    call.say("answered; both hear that the call is recorded, then both speak");
    call.until(at + PAUSE_AT)?;
    call.say(&format!("the owner presses {}: pause", call.codes.pause));
    call.callee.act(
        ONLY,
        Action::Press {
            digits: call.codes.pause.clone(),
        },
    )?;
    call.until(at + RESUME_AT)?;
    call.say(&format!("the owner presses {}: resume", call.codes.resume));
    call.callee.act(
        ONLY,
        Action::Press {
            digits: call.codes.resume.clone(),
        },
    )?;
    call.until(at + HANG_UP_AT)?;
    call.say("the caller hangs up");
    call.caller.act(ONLY, Action::HangUp)?;
    call.callee
        .wait_for(ONLY, ANSWER_WITHIN, |event| {
            matches!(event, PhoneEvent::Ended { .. })
        })
        .context("the hang-up does not reach the phone")?;
    let caller = call.caller.look(ONLY)?;
    let callee = call.callee.look(ONLY)?;
    let call_id = caller
        .call_id
        .context("the caller's phone knows its call")?;
    Ok(Heard {
        call_id,
        caller: caller.ear,
        callee: callee.ear,
    })
}

impl Call<'_> {
    fn say(&self, what: &str) {
        println!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Waits for a moment of the script; an end of the call before it is an error.
    fn until(&self, moment: Instant) -> Result<()> {
        while let Some(left) = moment.checked_duration_since(Instant::now()) {
            if let Some(told) = self.caller.next_event(left) {
                match told.event {
                    PhoneEvent::Ended { .. } | PhoneEvent::Failed(_) => {
                        bail!("the call ended early: {:?}", told.event)
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
