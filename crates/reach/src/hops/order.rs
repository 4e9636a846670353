//! In which order records are used: NAPTR by order and preference (RFC 3403 §4.1), SRV by priority
//! and weight (RFC 2782).

use duolog_sip::Transport;

use super::{Naptr, Srv};

/// Random numbers of one search: the same salt gives the same order every time it is gone through.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(salt: u64) -> Self {
        Self(salt)
    }

    /// A number from 0 to `most`, all equally likely.
    fn up_to(&mut self, most: u32) -> u32 {
        // SplitMix64, and the high half of a product instead of a remainder.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = (z ^ (z >> 31)) >> 32;
        u32::try_from((high * (u64::from(most) + 1)) >> 32).unwrap_or(most)
    }
}

/// A service that a NAPTR record leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service<'a> {
    pub(super) order: u16,
    pub(super) transport: Transport,
    /// Where its SRV records are.
    pub(super) name: &'a str,
}

/// The records that lead to a SIP service over a transport of ours, best first (RFC 3263 §4.1).
pub(super) fn services(records: &[Naptr], is_ours: impl Fn(Transport) -> bool) -> Vec<Service<'_>> {
    let mut records: Vec<&Naptr> = records.iter().collect();
    records.sort_by_key(|record| (record.order, record.preference));
    let service = |record: &&'_ Naptr| transport_of(record).filter(|t| is_ours(*t));
    records
        .iter()
        .filter_map(|record| {
            Some(Service {
                order: record.order,
                transport: service(record)?,
                name: record.replacement.trim_end_matches('.'),
            })
        })
        .filter(|service| !service.name.is_empty())
        .collect()
}

fn transport_of(record: &Naptr) -> Option<Transport> {
    if !record.flags.eq_ignore_ascii_case("s") || !record.regexp.is_empty() {
        return None;
    }
    let known = [
        ("SIPS+D2T", Transport::Tls),
        ("SIP+D2T", Transport::Tcp),
        ("SIP+D2U", Transport::Udp),
    ];
    let is_it = |(service, _): &&(&str, Transport)| record.service.eq_ignore_ascii_case(service);
    known.iter().find(is_it).map(|(_, transport)| *transport)
}

/// Every record in the order in which its host is to be tried (RFC 2782, "Weight").
pub(super) fn targets<'a>(records: &'a [Srv], dice: &mut Dice) -> Vec<&'a Srv> {
    let mut left: Vec<&Srv> = records.iter().collect();
    // Within a priority those of weight 0 stand first, so that they have a very small chance.
    left.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let priority = first.priority;
        let equals = left.iter().take_while(|record| record.priority == priority);
        let sum = equals.clone().map(|record| u32::from(record.weight)).sum();
        let chosen = dice.up_to(sum);
        let mut running = 0;
        let at = equals.copied().position(|record| {
            running += u32::from(record.weight);
            running >= chosen
        });
        ordered.push(left.remove(at.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16) -> Srv {
        let target = format!("p{priority}w{weight}.example.net");
        Srv {
            priority,
            weight,
            port: 5060,
            target,
        }
    }

    /// How often each record comes first, of `rounds`.
    fn firsts(records: &[Srv], rounds: u64) -> Vec<f64> {
        let mut counts = vec![0_u32; records.len()];
        for salt in 0..rounds {
            let ordered = targets(
                records,
                &mut Dice::new(salt.wrapping_mul(0x51_7cc1_b727_220a)),
            );
            let at = records.iter().position(|r| std::ptr::eq(r, ordered[0]));
            counts[at.expect("one of them")] += 1;
        }
        let share = |count| f64::from(count) / rounds as f64;
        counts.into_iter().map(share).collect()
    }

    #[test]
    fn weights_are_shares() {
        let cases: &[(&[u16], &[f64])] = &[
            (&[1, 1], &[2.0 / 3.0, 1.0 / 3.0]), // RFC 2782 counts 0 to the sum inclusive
            (&[100, 300], &[101.0 / 401.0, 300.0 / 401.0]),
            (&[60, 20, 20], &[0.6, 0.2, 0.2]),
            (&[0, 99], &[1.0 / 100.0, 99.0 / 100.0]),
            (&[65_535, 65_535, 0], &[0.5, 0.5, 0.0]),
        ];
        for (weights, shares) in cases {
            let records: Vec<Srv> = weights.iter().map(|weight| srv(10, *weight)).collect();
            let found = firsts(&records, 40_000);
            for (found, share) in found.iter().zip(*shares) {
                assert!(
                    (found - share).abs() < 0.012,
                    "{weights:?}: {found} {share}"
                );
            }
        }
    }

    #[test]
    fn every_order_keeps_priorities_and_loses_nothing() {
        let records: Vec<Srv> = [(20, 0), (10, 5), (10, 0), (30, 7), (10, 5), (20, 1)]
            .map(|(priority, weight)| srv(priority, weight))
            .into();
        for salt in 0..2_000 {
            let ordered = targets(&records, &mut Dice::new(salt));
            let priorities: Vec<u16> = ordered.iter().map(|record| record.priority).collect();
            assert_eq!(priorities, [10, 10, 10, 20, 20, 30]);
            for record in &records {
                assert!(ordered.iter().any(|other| std::ptr::eq(*other, record)));
            }
        }
        assert!(targets(&[], &mut Dice::new(1)).is_empty());
        let again = |salt| -> Vec<u16> {
            let ordered = targets(&records, &mut Dice::new(salt));
            ordered.iter().map(|record| record.weight).collect()
        };
        assert_eq!(again(7), again(7));
    }

    #[test]
    fn numbers_reach_both_ends() {
        let mut dice = Dice::new(3);
        let rolled: Vec<u32> = (0..200).map(|_| dice.up_to(3)).collect();
        for number in 0..=3 {
            assert!(rolled.contains(&number), "{number}");
        }
        assert!(rolled.iter().all(|number| *number <= 3));
        assert_eq!(dice.up_to(0), 0);
    }

    fn naptr(order: u16, preference: u16, flags: &str, service: &str, to: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: flags.into(),
            service: service.into(),
            regexp: String::new(),
            replacement: to.into(),
        }
    }

    #[test]
    fn services_are_ordered_and_those_we_cannot_use_passed_over() {
        let mut with_regexp = naptr(1, 1, "s", "SIP+D2U", "regexp.example.com");
        with_regexp.regexp = "!^.*$!sip:info@example.com!".into();
        let records = [
            naptr(100, 50, "s", "SIP+D2U", "_sip._udp.example.com."),
            naptr(50, 60, "S", "sips+d2t", "_sips._tcp.example.com"),
            naptr(50, 50, "s", "SIP+D2T", "_sip._tcp.example.com"),
            naptr(1, 1, "s", "SIP+D2S", "_sip._sctp.example.com"),
            naptr(1, 1, "s", "SIPS+D2U", "_sips._udp.example.com"),
            naptr(1, 1, "u", "E2U+sip", "enum.example.com"),
            naptr(1, 1, "a", "SIP+D2U", "a.example.com"),
            naptr(1, 1, "s", "SIP+D2U", "."),
            with_regexp,
        ];
        let check = |ours: &[Transport], expected: &[(u16, &str)]| {
            let found = services(&records, |transport| ours.contains(&transport));
            let found: Vec<(u16, &str)> = found.iter().map(|s| (s.order, s.name)).collect();
            assert_eq!(found, expected, "{ours:?}");
        };
        let (tls, tcp) = ("_sips._tcp.example.com", "_sip._tcp.example.com");
        let udp = (100, "_sip._udp.example.com");
        use Transport::{Tcp, Tls, Udp};
        check(&[Udp, Tcp, Tls], &[(50, tcp), (50, tls), udp]);
        check(&[Udp, Tcp], &[(50, tcp), udp]);
        check(&[Udp, Tls], &[(50, tls), udp]);
        check(&[Udp], &[udp]);
        check(&[], &[]);
    }
}
