//! A listener and its connections: how many there may be, and how long one may stay that asks nothing.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tower::ServiceExt;

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Connections.
    all: usize,
    /// Those of one source: an IPv4 address, or an IPv6 /64.
    of_one: usize,
    /// How long a connection may be without a request that is worked on: before the first is there whole,
    /// between two, and while an answer is taken.
    quiet: Duration,
}

const BOUNDS: Bounds = Bounds {
    all: 256,
    of_one: 64,
    quiet: Duration::from_secs(10),
};

/// Wait after a failed accept: there may be no file descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Serves for ever.
pub(crate) async fn open(listener: TcpListener, router: Router) {
    bounded(listener, router, BOUNDS).await;
}

async fn bounded(listener: TcpListener, router: Router, bounds: Bounds) {
    let mut crowd = Crowd {
        bounds,
        guests: Vec::new(),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => crowd.receive(stream, source(peer.ip()), &router),
            // Whoever knocked is gone.
            Err(error) if is_of_one(error.kind()) => {}
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be taken");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn is_of_one(error: ErrorKind) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error,
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// The connections of a listener.
struct Crowd {
    bounds: Bounds,
    guests: Vec<Guest>,
}

struct Guest {
    source: IpAddr,
    quiet: Arc<Quiet>,
    task: AbortHandle,
}

impl Crowd {
    /// Attends to a connection, or closes it where all others are worked for.
    fn receive(&mut self, stream: TcpStream, source: IpAddr, router: &Router) {
        if !self.has_room(source) {
            tracing::debug!("an HTTP connection too many");
            return;
        }
        let quiet = Arc::new(Quiet::new());
        let attending = attend(
            stream,
            router.clone(),
            Arc::clone(&quiet),
            self.bounds.quiet,
        );
        let task = tokio::spawn(attending).abort_handle();
        self.guests.push(Guest {
            source,
            quiet,
            task,
        });
    }

    /// Where there is none, whoever has been quiet for longest leaves: nobody keeps others out by asking
    /// nothing.
    fn has_room(&mut self, source: IpAddr) -> bool {
        self.guests.retain(|guest| !guest.task.is_finished());
        let own = |guest: &&Guest| guest.source == source;
        let of_one = self.guests.iter().filter(own).count() >= self.bounds.of_one;
        if !of_one && self.guests.len() < self.bounds.all {
            return true;
        }
        let may_leave = self.guests.iter().enumerate();
        let may_leave = may_leave.filter(|(_, guest)| !of_one || guest.source == source);
        let quiet = may_leave.filter_map(|(at, guest)| Some((guest.quiet.since()?, at)));
        let Some((_, at)) = quiet.min() else {
            return false;
        };
        self.guests.swap_remove(at).task.abort();
        true
    }
}

/// Whose share a connection is counted in.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Since when a connection has had no request that is worked on; `None` while there is one.
struct Quiet(Mutex<Option<Instant>>);

impl Quiet {
    fn new() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Resolves when it has been quiet for so long.
    async fn for_long(&self, limit: Duration) {
        loop {
            let quiet = self.since().map_or(Duration::ZERO, |since| since.elapsed());
            let left = limit.saturating_sub(quiet);
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

/// A request that is worked on, until it is dropped.
struct Working(Arc<Quiet>);

impl Working {
    fn on(quiet: &Arc<Quiet>) -> Self {
        quiet.set(None);
        Self(Arc::clone(quiet))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.set(Some(Instant::now()));
    }
}

async fn attend(stream: TcpStream, router: Router, quiet: Arc<Quiet>, limit: Duration) {
    let watched = Arc::clone(&quiet);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, working) = (router.clone(), Working::on(&quiet));
        async move {
            let answer = router.oneshot(request).await;
            drop(working);
            answer
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What breaks a connection is its peer's.
        _ = connection => {}
        () = watched.for_long(limit) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;

    const ASKED: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    const SLOWNESS: Duration = Duration::from_millis(900);
    /// Longest wait for what is due at once on a busy machine.
    const SOON: Duration = Duration::from_secs(10);

    /// A listener with these bounds; one of its answers takes a while.
    async fn opened(bounds: Bounds) -> SocketAddr {
        let slow = async || {
            sleep(SLOWNESS).await;
            "slow"
        };
        let router = Router::new()
            .route("/healthz", get(async || "well"))
            .route("/slow", get(slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("it is bound");
        tokio::spawn(bounded(listener, router, bounds));
        at
    }

    async fn connected(to: SocketAddr, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from = SocketAddr::from((from, 0));
        socket.bind(from).expect("every address of 127/8 is here");
        socket.connect(to).await.expect("it is listened on")
    }

    /// The next bytes of an answer; none where the connection was closed.
    async fn read(stream: &mut TcpStream) -> String {
        let mut bytes = [0; 1_024];
        let read = timeout(SOON, stream.read(&mut bytes)).await;
        // A reset is an end too.
        let read = read.expect("an answer or an end").unwrap_or(0);
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    async fn answered(stream: &mut TcpStream, asked: &[u8]) -> String {
        // Of a connection that was closed the read tells.
        let _ = stream.write_all(asked).await;
        read(stream).await
    }

    #[tokio::test]
    async fn three_hundred_that_ask_nothing_keep_nobody_out_and_are_closed() {
        let quiet = Duration::from_millis(1_500);
        for sources in [1, 6] {
            let at = opened(Bounds { quiet, ..BOUNDS }).await;
            let mut silent = Vec::new();
            for n in 0..300_usize {
                let from = [127, 0, 1, 1 + (n % sources) as u8];
                silent.push(connected(at, from).await);
            }
            for from in [[127, 0, 1, 1], [127, 0, 2, 1]] {
                let mut asker = connected(at, from).await;
                let answer = answered(&mut asker, ASKED).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{sources}: {answer}");
            }
            let began = Instant::now();
            for stream in &mut silent {
                assert_eq!(read(stream).await, "");
            }
            assert!(began.elapsed() < quiet + SOON);
        }
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_not_waited_for() {
        let quiet = Duration::from_millis(300);
        let at = opened(Bounds { quiet, ..BOUNDS }).await;
        let mut stream = connected(at, [127, 0, 0, 1]).await;
        let began = Instant::now();
        for byte in ASKED.iter().cycle().take(20) {
            // Written into a closed connection, in the end.
            let _ = stream.write_all(&[*byte]).await;
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(read(&mut stream).await, "");
        assert!((quiet..quiet + SOON).contains(&began.elapsed()));
    }

    #[tokio::test]
    async fn who_asks_is_answered_however_long_it_takes_and_asks_again() {
        let quiet = SLOWNESS / 3;
        let at = opened(Bounds { quiet, ..BOUNDS }).await;
        let mut stream = connected(at, [127, 0, 0, 1]).await;
        for _ in 0..2 {
            let answer = answered(&mut stream, SLOW).await;
            assert!(answer.ends_with("slow"), "{answer}");
        }
        assert_eq!(read(&mut stream).await, "", "it asks no more");
    }

    #[tokio::test]
    async fn nobody_who_is_worked_for_is_put_out() {
        let bounds = Bounds {
            all: 3,
            of_one: 2,
            quiet: SOON,
        };
        let at = opened(bounds).await;
        let (one, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
        let mut working = Vec::new();
        for from in [one, one, other] {
            let mut stream = connected(at, from).await;
            stream.write_all(SLOW).await.expect("it is open");
            working.push(stream);
        }
        // The requests are read before there is room for nobody.
        sleep(SLOWNESS / 3).await;
        for from in [one, other] {
            let mut turned_away = connected(at, from).await;
            assert_eq!(answered(&mut turned_away, ASKED).await, "");
        }
        for stream in &mut working {
            assert!(read(stream).await.ends_with("slow"));
        }
        // They are quiet now: the first of them goes.
        let mut next = connected(at, one).await;
        assert!(answered(&mut next, ASKED).await.ends_with("well"));
        assert_eq!(read(&mut working[0]).await, "");
    }

    #[test]
    fn a_source_is_an_address_or_an_ipv6_network() {
        for (ip, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            let ip: IpAddr = ip.parse().expect("an address");
            assert_eq!(source(ip).to_string(), expected);
        }
    }
}
