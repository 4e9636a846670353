//! A phone that registers, against the registrar of the house.

use duolog_reach::digest::{Credentials, Secret};
use duolog_reach::registrar::{
    Authentication, Directory, Entry, Outcome, Registrar, RegistrarSettings,
};
use duolog_sip::Request;

use super::*;

struct OnlyAnna(Secret);

impl Directory for OnlyAnna {
    fn entry(&self, user: &str) -> Option<Entry<'_>> {
        (user == "anna").then_some(Entry {
            name: "anna",
            secret: Some(&self.0),
            certificate: None,
        })
    }
}

struct Bench {
    phone: Phone,
    registrar: Registrar,
    now: Instant,
    outcomes: Vec<Outcome>,
    events: Vec<PhoneEvent>,
}

impl Bench {
    fn new(password: &str) -> Self {
        let mut settings = settings(0);
        settings.ways.credentials = Some(Credentials {
            user: "anna".into(),
            secret: Secret::new(password.into()),
            realm: None,
        });
        Self {
            phone: Phone::new(settings),
            registrar: Registrar::new(RegistrarSettings::default(), [7; 32]),
            now: Instant::now(),
            outcomes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Gives the phone an input, and its requests to the registrar until neither says more.
    fn give(&mut self, input: Input) {
        let directory = OnlyAnna(Secret::new("geheim".into()));
        let mut waiting = self.phone.handle(self.now, input);
        while !waiting.is_empty() {
            let output = waiting.remove(0);
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Send { flow, bytes } => {
                    let Ok(Message::Request(request)) = Message::parse(bytes) else {
                        panic!("a request")
                    };
                    let flow = Flow {
                        local: flow.peer,
                        peer: flow.local,
                        ..flow
                    };
                    let response = self.answered(&request, &flow, &directory);
                    let bytes = Message::Response(response).write();
                    let back = Flow {
                        local: flow.peer,
                        peer: flow.local,
                        ..flow
                    };
                    waiting.extend(
                        self.phone
                            .handle(self.now, Input::Sip { flow: back, bytes }),
                    );
                }
                _ => {}
            }
        }
    }

    fn answered(
        &mut self,
        request: &Request,
        flow: &Flow,
        directory: &OnlyAnna,
    ) -> duolog_sip::Response {
        let (registrar, now) = (&mut self.registrar, self.now);
        if request.method == Method::Register {
            let registered = registrar.register(now, flow, &[], request, directory);
            self.outcomes.push(registered.outcome);
            return registered.response;
        }
        use duolog_reach::digest::Scheme;
        match registrar.authenticate(now, flow, &[], request, directory, Scheme::Proxy) {
            Authentication::Challenge(response) => response,
            Authentication::Known(name) => {
                assert_eq!(name, "anna");
                duolog_sip::Response::to(request, StatusCode::BUSY_HERE)
            }
            Authentication::Refused(response, _) => response,
        }
    }
}

#[test]
fn a_phone_registers_and_refreshes() {
    let mut bench = Bench::new("geheim");
    bench.give(Input::Do(Action::Register { expires_s: 600 }));
    assert_eq!(
        bench.events,
        [PhoneEvent::Registered],
        "{:?}",
        bench.outcomes
    );
    assert!(matches!(
        bench.outcomes[..],
        [Outcome::Challenged, Outcome::Bound(_)]
    ));
    // At four fifths of the time once more, with the nonce that is known.
    let due = bench.phone.deadline().expect("a refresh");
    let after = due - bench.now;
    assert!(
        (470..=481).contains(&after.as_secs()) || after.as_secs() < 40,
        "{after:?}"
    );
    for _ in 0..40 {
        let Some(due) = bench.phone.deadline() else {
            break;
        };
        if due > bench.now + Duration::from_secs(500) || bench.outcomes.len() > 3 {
            break;
        }
        bench.now = due;
        bench.give(Input::Deadline);
    }
    let bound = |outcome: &&Outcome| matches!(outcome, Outcome::Bound(_));
    assert!(
        bench.outcomes.iter().filter(bound).count() >= 2,
        "{:?}",
        bench.outcomes
    );
    bench.give(Input::Do(Action::Register { expires_s: 0 }));
    assert_eq!(bench.events.last(), Some(&PhoneEvent::Unregistered));
    assert_eq!(bench.registrar.bound(), 0);
}

#[test]
fn a_wrong_password_is_refused_once() {
    let mut bench = Bench::new("wrong");
    bench.give(Input::Do(Action::Register { expires_s: 600 }));
    assert!(
        matches!(bench.events[..], [PhoneEvent::RegisterRefused(_)]),
        "{:?}",
        bench.events
    );
    assert_eq!(bench.registrar.bound(), 0);
}

#[test]
fn a_call_that_is_challenged_goes_out_once_more() {
    let mut bench = Bench::new("geheim");
    for _ in 0..2 {
        let uri: Uri = "sip:bert@example.org".parse().expect("a URI");
        bench.give(Input::Do(Action::Call { uri }));
        let busy = PhoneEvent::Refused(StatusCode::BUSY_HERE);
        assert_eq!(bench.events.pop(), Some(busy), "{:?}", bench.events);
    }
    let mut bench = Bench::new("wrong");
    let uri: Uri = "sip:bert@example.org".parse().expect("a URI");
    bench.give(Input::Do(Action::Call { uri }));
    assert!(
        matches!(bench.events[..], [PhoneEvent::Refused(_)]),
        "{:?}",
        bench.events
    );
}
