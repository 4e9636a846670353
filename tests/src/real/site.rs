//! Addresses and a directory that only one test has, and the configuration for them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

/// Where duolog hears SIP.
pub const SIP_PORT: u16 = 5060;
/// Where the callers hear SIP.
pub const CALLER_PORT: u16 = 5080;
/// Where the callees hear SIP.
pub const CALLEE_PORT: u16 = 5070;
/// Where duolog serves metrics and health.
const OPERATIONS_PORT: u16 = 9060;

static SITES: AtomicU8 = AtomicU8::new(0);

/// What of the configuration differs between tests.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// `udp` or `tcp`: how the parties are reached.
    pub transport: &'static str,
    /// `store.format`.
    pub format: &'static str,
    /// The spool's directory; none for one inside the site's.
    pub spool: Option<PathBuf>,
    /// Lines for the user's section.
    pub user: &'static str,
    /// Lines for `[log]`.
    pub log: &'static str,
}

impl Default for Wishes {
    fn default() -> Self {
        let (user, log) = ("mode = \"always-pause-resume\"", "");
        Self {
            transport: "udp",
            format: "wav-g711",
            spool: None,
            user,
            log,
        }
    }
}

/// Three loopback addresses and a directory.
#[derive(Debug)]
pub struct Site {
    directory: TempDir,
    node: IpAddr,
    caller: IpAddr,
    callee: IpAddr,
}

impl Site {
    /// A new site with its configuration written. The addresses follow from the process and a
    /// counter, so that all of 127.0.0.0/8 is there for tests that run at the same time.
    ///
    /// # Panics
    /// When the directory cannot be made or written.
    pub fn new(wishes: &Wishes) -> Self {
        let [high, low] = ((std::process::id() & 0x7fff) as u16).to_be_bytes();
        let site = SITES.fetch_add(1, Ordering::Relaxed);
        Self::at([127, 1 + high, low, 1 + 4 * (site % 62)], wishes)
    }

    /// A site at addresses of its own that are the same in every run, 127.0.`net`.1 and up: for a
    /// test whose random bytes depend on the addresses. `net` is not 0, and used by one test only.
    ///
    /// # Panics
    /// When the directory cannot be made or written.
    pub fn fixed(net: u8, wishes: &Wishes) -> Self {
        Self::at([127, 0, net, 1], wishes)
    }

    /// A site that has 127.0.0.1 for all its addresses, for parties whose media sockets are bound to no
    /// address and so send from that one. Only one at a time.
    pub fn plain(wishes: &Wishes) -> Self {
        Self::having([127, 0, 0, 1], 0, wishes)
    }

    fn at(first: [u8; 4], wishes: &Wishes) -> Self {
        Self::having(first, 1, wishes)
    }

    /// A site that has ::1 for all its addresses. Only one at a time.
    ///
    /// # Panics
    /// When the directory cannot be made or written.
    pub fn six(wishes: &Wishes) -> Self {
        Self::of([Ipv6Addr::LOCALHOST.into(); 3], wishes)
    }

    fn having([a, b, c, d]: [u8; 4], step: u8, wishes: &Wishes) -> Self {
        let address = |at: u8| IpAddr::V4(Ipv4Addr::new(a, b, c, d + at * step));
        Self::of([0, 1, 2].map(address), wishes)
    }

    fn of([node, caller, callee]: [IpAddr; 3], wishes: &Wishes) -> Self {
        let directory = TempDir::with_prefix("duolog-real-").expect("a directory for the test");
        let site = Self {
            directory,
            node,
            caller,
            callee,
        };
        fs::write(site.config(), site.text(wishes)).expect("the configuration can be written");
        site
    }

    /// Changes the configuration before a program reads it.
    ///
    /// # Panics
    /// When the file cannot be read or written, or nothing was changed.
    pub fn amend(&self, change: impl Fn(&str) -> String) {
        let text = fs::read_to_string(self.config()).expect("the configuration can be read");
        let amended = change(&text);
        assert_ne!(amended, text, "nothing was changed");
        fs::write(self.config(), amended).expect("the configuration can be written");
    }

    /// The directory of the site.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory().join("duolog.toml")
    }

    /// Where recordings end up.
    pub fn store(&self) -> PathBuf {
        self.directory().join("recordings")
    }

    /// duolog's own address.
    pub fn node(&self) -> IpAddr {
        self.node
    }

    /// The address of the callers.
    pub fn caller(&self) -> IpAddr {
        self.caller
    }

    /// The address of the callees.
    pub fn callee(&self) -> IpAddr {
        self.callee
    }

    /// An address of the site that nothing is configured for.
    pub fn stranger(&self) -> IpAddr {
        let IpAddr::V4(callee) = self.callee else {
            return self.callee;
        };
        let [a, b, c, d] = callee.octets();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d + 1))
    }

    /// Where duolog hears SIP.
    pub fn sip(&self) -> SocketAddr {
        (self.node, SIP_PORT).into()
    }

    /// Where duolog serves metrics and health.
    pub fn operations(&self) -> SocketAddr {
        (self.node, OPERATIONS_PORT).into()
    }

    fn text(&self, wishes: &Wishes) -> String {
        let node = self.node;
        let (sip, operations) = (self.sip(), self.operations());
        let caller = SocketAddr::new(self.caller, CALLER_PORT);
        let callee = SocketAddr::new(self.callee, CALLEE_PORT);
        let Wishes {
            transport,
            format,
            user,
            log,
            ..
        } = wishes;
        let here = self.directory().display();
        let spool = wishes
            .spool
            .clone()
            .unwrap_or_else(|| self.directory().join("spool"));
        let spool = spool.display();
        format!(
            "[sip]\nlisten = [\"udp:{sip}\", \"tcp:{sip}\"]\n\
             [media]\naddress = \"{node}\"\nports = \"20000-31999\"\n\
             [spool]\ndirectory = \"{spool}\"\nfloor = \"16MiB\"\n\
             [store]\ndirectory = \"{here}/recordings\"\ncatalogue = \"{here}/catalogue.sqlite\"\n\
             format = \"{format}\"\n\
             [[trunk]]\nname = \"trunk\"\naddress = \"{transport}:{caller}\"\n\
             [[user]]\nname = \"anna\"\nnumbers = [\"100\"]\n\
             contact = \"{transport}:{callee}\"\n{user}\n\
             [log]\n{log}\n\
             [operations]\nlisten = \"{operations}\"\n"
        )
    }
}
