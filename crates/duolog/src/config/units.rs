//! Values that carry their unit: `20s`, `1h`, `128MiB`, `20000-29999`, `udp:127.0.0.1:5060`.

use std::net::SocketAddr;
use std::time::Duration;

use duolog_reach::limits::Rate;
use duolog_sip::Transport;

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

/// A size in bytes: a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A range of ports, both ends included, even start, at least four ports.
pub(super) fn ports(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-')?;
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse::<u16>().ok()?);
    (low >= 1024 && low % 2 == 0 && high >= low + 3).then_some((low, high))
}

/// `udp:HOST:PORT`, `tcp:HOST:PORT` or `tls:HOST:PORT` with a numeric address.
pub(super) fn transport_address(text: &str) -> Option<(Transport, SocketAddr)> {
    let (word, address) = text.split_once(':')?;
    Some((transport(word)?, address.parse().ok()?))
}

/// `udp`, `tcp` or `tls`.
pub(super) fn transport(word: &str) -> Option<Transport> {
    match word {
        "udp" => Some(Transport::Udp),
        "tcp" => Some(Transport::Tcp),
        "tls" => Some(Transport::Tls),
        _ => None,
    }
}

/// `5/s`, or `5/s burst 20`: without a burst twice the rate, and at least ten.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (each, burst) = match text.split_once(" burst ") {
        Some((each, burst)) => (each, Some(burst.trim().parse::<u32>().ok()?)),
        None => (text, None),
    };
    let per_s: u32 = each.strip_suffix("/s")?.trim().parse().ok()?;
    let burst = burst.unwrap_or((per_s.saturating_mul(2)).max(10));
    let range = 1..=100_000;
    (range.contains(&per_s) && burst >= per_s && burst <= 1_000_000).then_some(Rate {
        per_s: per_s as f32,
        burst: burst as f32,
    })
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text, ms: Option<u64>| {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text}");
        };
        check("20s", Some(20_000));
        check("250ms", Some(250));
        check("4h", Some(14_400_000));
        check("30d", Some(2_592_000_000));
        for bad in [
            "20",
            "s",
            "",
            "-1s",
            "1.5s",
            "20 parsecs",
            "99999999999999999999s",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("128MiB"), Some(128 << 20));
        assert_eq!(size("0B"), Some(0));
        for bad in ["10GB", "MiB", "9999999999TiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(ports("20000-29999"), Some((20000, 29999)));
        for bad in [
            "20001-29999",
            "20000-20002",
            "80-5000",
            "20000",
            "20000-70000",
        ] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses() {
        let (transport, address) = transport_address("tcp:[::1]:5060").expect("IPv6 is allowed");
        assert_eq!((transport, address.port()), (Transport::Tcp, 5060));
        for bad in ["sctp:127.0.0.1:1", "udp:example.net:5060", "127.0.0.1:5060"] {
            assert!(transport_address(bad).is_none(), "{bad}");
        }
    }
}
