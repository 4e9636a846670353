//! Real phones: a group on real sockets and the real clock, in a thread of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use duolog_audio::codec::Codec;
use duolog_sip::Transport;
use tokio::sync::mpsc;

use super::group::PhoneNo;
use super::shell::Shell;
use super::{Action, Answering, Ear, Keep, PhoneEvent, SentPacket, Voice};

/// Actions waiting; the asker waits when it is full.
const ACTIONS: usize = 1_024;
/// Events nobody has taken yet; further ones are lost, and the phones go on.
const EVENTS: usize = 65_536;

/// What real phones are made with. All have the same settings but for name, voice and seed.
#[derive(Debug, Clone)]
pub struct RealSettings {
    /// Where they listen for SIP, UDP and TCP alike; port 0 takes a free one.
    pub sip: SocketAddr,
    /// Where they send their calls.
    pub proxy: SocketAddr,
    /// Over what they send their calls.
    pub transport: Transport,
    /// The address of their media sockets.
    pub media: IpAddr,
    /// The host part of their names.
    pub domain: String,
    /// User part and voice of each phone.
    pub phones: Vec<(String, Voice)>,
    /// The codecs they offer and take, in order of preference.
    pub codecs: Vec<Codec>,
    /// Packet time, 10 to 200 ms.
    pub ptime_ms: u8,
    /// What they do with calls that come in.
    pub answering: Answering,
    /// Whether packets are kept.
    pub keep: Keep,
    /// Makes the phones' own seeds.
    pub seed: u64,
}

/// Why real phones cannot be made or reached.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// A socket cannot be opened.
    #[error("a phone's socket cannot be opened")]
    Socket(#[from] io::Error),
    /// Their thread has ended.
    #[error("the phones are gone")]
    Gone,
}

/// An event of one of the phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// When it happened.
    pub at: Instant,
    /// Whose it is.
    pub phone: PhoneNo,
    /// What happened.
    pub event: PhoneEvent,
}

/// What one phone has heard and sent so far.
#[derive(Debug, Clone)]
pub struct Look {
    /// Its ear.
    pub ear: Ear,
    /// The packets it sent, if they are kept.
    pub sent: Vec<SentPacket>,
    /// The Call-ID of its call or last call.
    pub call_id: Option<String>,
}

/// What the phones' thread is asked.
pub(super) enum Order {
    Do(PhoneNo, Box<Action>),
    Look(PhoneNo, std_mpsc::SyncSender<Look>),
}

/// Phones on real sockets. They hang up nothing when this is dropped; they are just gone.
#[derive(Debug)]
pub struct RealPhones {
    sip: SocketAddr,
    count: usize,
    orders: Option<mpsc::Sender<Order>>,
    events: std_mpsc::Receiver<Told>,
    thread: Option<JoinHandle<()>>,
}

impl RealPhones {
    /// Opens the sockets and starts the phones' thread.
    ///
    /// # Errors
    /// When a socket, the thread or its runtime cannot be had.
    ///
    /// # Panics
    /// When there is no phone, no law, or the packet time is not 10 to 200 ms.
    pub fn spawn(settings: RealSettings) -> Result<Self, RealError> {
        let count = settings.phones.len();
        let (orders, order_queue) = mpsc::channel(ACTIONS);
        let (events_in, events) = std_mpsc::sync_channel(EVENTS);
        let (ready, began) = std_mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("phones".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    match Shell::open(settings, events_in).await {
                        Ok(shell) => {
                            // The asker waits for this one message.
                            let _ = ready.send(Ok(shell.sip));
                            shell.run(order_queue).await;
                        }
                        Err(error) => {
                            let _ = ready.send(Err(error));
                        }
                    }
                });
            })?;
        let sip = began.recv().map_err(|_| RealError::Gone)??;
        Ok(Self {
            sip,
            count,
            orders: Some(orders),
            events,
            thread: Some(thread),
        })
    }

    /// Where they listen for SIP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Lets a phone do something. Not to be called from within an asynchronous task.
    ///
    /// # Errors
    /// [`RealError::Gone`] when the phones' thread has ended.
    pub fn act(&self, phone: PhoneNo, action: Action) -> Result<(), RealError> {
        self.order(Order::Do(phone, Box::new(action)))
    }

    /// The next event, waited for at most `timeout`.
    #[must_use]
    pub fn next_event(&self, timeout: Duration) -> Option<Told> {
        self.events.recv_timeout(timeout).ok()
    }

    /// Throws events away until one of `phone` fits; `None` after `timeout`.
    pub fn wait_for(
        &self,
        phone: PhoneNo,
        timeout: Duration,
        fits: impl Fn(PhoneEvent) -> bool,
    ) -> Option<Told> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let told = self.next_event(left)?;
            if told.phone == phone && fits(told.event) {
                return Some(told);
            }
        }
    }

    /// What a phone has heard and sent so far. Not to be called from within an asynchronous task.
    ///
    /// # Errors
    /// [`RealError::Gone`] when the phones' thread has ended.
    pub fn look(&self, phone: PhoneNo) -> Result<Look, RealError> {
        let (answer, answered) = std_mpsc::sync_channel(1);
        self.order(Order::Look(phone, answer))?;
        answered.recv().map_err(|_| RealError::Gone)
    }

    fn order(&self, order: Order) -> Result<(), RealError> {
        let orders = self.orders.as_ref().ok_or(RealError::Gone)?;
        orders.blocking_send(order).map_err(|_| RealError::Gone)
    }
}

impl Drop for RealPhones {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was printed when it happened.
            let _ = thread.join();
        }
    }
}
