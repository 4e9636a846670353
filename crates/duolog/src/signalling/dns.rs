//! Questions to the DNS. What is answered is for the engine to understand and to keep; here is only how
//! it is asked: as many questions at once and for as long as is set, and always an answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use duolog_reach::hops::{Family, LookupFailure, Naptr, QueryId, Question, Records, Srv};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::sync::Semaphore;

/// Questions at once; the next one fails at once. `Hops` does not ask as many.
const QUESTIONS: usize = 512;

/// Where a zone does not say how long "there is none" may be believed.
const ABSENT_TTL: Duration = Duration::from_secs(60);

/// Asks name servers, and the system's list of hosts.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    limit: Duration,
    places: Arc<Semaphore>,
}

/// Why no questions can be asked.
#[derive(Debug, thiserror::Error)]
#[error("the resolver cannot be made")]
pub struct DnsUnusable(#[from] NetError);

impl Dns {
    /// Asks `servers`, or those of the system (`/etc/resolv.conf`; without it this machine, port 53)
    /// where there are none. A question is given up after `limit`.
    ///
    /// # Errors
    ///
    /// When the resolver refuses its configuration.
    pub fn new(servers: &[SocketAddr], limit: Duration) -> Result<Self, DnsUnusable> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match servers {
            [] => TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "no DNS configuration of the system: 127.0.0.1 is asked");
                let here = (IpAddr::V4(Ipv4Addr::LOCALHOST), 53).into();
                TokioResolver::builder_with_config(configuration(&[here]), provider)
            }),
            servers => TokioResolver::builder_with_config(configuration(servers), provider),
        };
        set(builder.options_mut(), limit);
        Ok(Self {
            resolver: builder.build()?,
            limit,
            places: Arc::new(Semaphore::new(QUESTIONS)),
        })
    }

    /// Asks, and gives the answer to `done` when it is there, on another task: once, whatever happens.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn ask(
        &self,
        id: QueryId,
        question: Question,
        done: impl FnOnce(QueryId, Result<Records, LookupFailure>) + Send + 'static,
    ) {
        let Self {
            resolver,
            limit,
            places,
        } = self.clone();
        tokio::spawn(async move {
            let Ok(_place) = places.try_acquire() else {
                return done(id, Err(LookupFailure::Failed));
            };
            let answer = tokio::time::timeout(limit, look_up(&resolver, &question)).await;
            done(id, answer.unwrap_or(Err(LookupFailure::Failed)));
        });
    }
}

fn configuration(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        let connections = connections.map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

fn set(options: &mut ResolverOpts, limit: Duration) {
    // Twice, and some time to spare for TCP where an answer is too long for UDP.
    options.timeout = limit * 2 / 5;
    options.attempts = 1;
    options.edns0 = true;
    options.try_tcp_on_error = true;
    // `Hops` keeps what was answered; a second memory would only add to its age.
    options.cache_size = 0;
}

async fn look_up(resolver: &TokioResolver, question: &Question) -> Result<Records, LookupFailure> {
    match question {
        Question::Naptr(name) => {
            let found = ask(resolver, name, RecordType::NAPTR, naptr).await?;
            Ok(Records::Naptr(found.records, found.ttl))
        }
        Question::Srv(name) => {
            let found = ask(resolver, name, RecordType::SRV, srv).await?;
            Ok(Records::Srv(found.records, found.ttl))
        }
        Question::Addresses { name, family } => {
            let v4 = ask(resolver, name, RecordType::A, address);
            let v6 = ask(resolver, name, RecordType::AAAA, address);
            let found = match family {
                Some(Family::V4) => v4.await?,
                Some(Family::V6) => v6.await?,
                None => {
                    let (v4, v6) = tokio::join!(v4, v6);
                    both(v4, v6)?
                }
            };
            Ok(Records::Addresses(found.records, found.ttl))
        }
    }
}

/// Records of one type, at least one, and how long they may be kept.
#[derive(Debug, PartialEq, Eq)]
struct Found<T> {
    records: Vec<T>,
    ttl: Duration,
}

/// The records of one type under an absolute name.
async fn ask<T>(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    read: fn(&RData) -> Option<T>,
) -> Result<Found<T>, LookupFailure> {
    let name = Name::from_ascii(format!("{name}.")).map_err(|_| LookupFailure::Failed)?;
    let answer = resolver.lookup(name, kind).await;
    let lookup = answer.map_err(|error| failure(&error))?;
    let of_kind = |record: &&Record| record.record_type() == kind;
    let records = lookup.answers().iter().filter(of_kind);
    let ttl_s = records.clone().map(|record| record.ttl).min();
    let records: Vec<T> = records.filter_map(|record| read(&record.data)).collect();
    match (records.is_empty(), ttl_s) {
        (false, Some(ttl_s)) => Ok(Found {
            records,
            ttl: Duration::from_secs(ttl_s.into()),
        }),
        _ => Err(LookupFailure::Absent { ttl: ABSENT_TTL }),
    }
}

/// Both families, or the one that there is.
fn both<T>(
    v4: Result<Found<T>, LookupFailure>,
    v6: Result<Found<T>, LookupFailure>,
) -> Result<Found<T>, LookupFailure> {
    use LookupFailure::{Absent, Failed};
    match (v4, v6) {
        (Ok(mut found), Ok(other)) => {
            found.records.extend(other.records);
            found.ttl = found.ttl.min(other.ttl);
            Ok(found)
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(Absent { ttl }), Err(Absent { ttl: other })) => Err(Absent {
            ttl: ttl.min(other),
        }),
        (Err(Failed), Err(_)) | (Err(_), Err(Failed)) => Err(Failed),
    }
}

fn failure(error: &NetError) -> LookupFailure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let ttl_s = none.negative_ttl.map(u64::from);
            LookupFailure::Absent {
                ttl: ttl_s.map_or(ABSENT_TTL, Duration::from_secs),
            }
        }
        _ => LookupFailure::Failed,
    }
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else {
        return None;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: text(&naptr.flags),
        service: text(&naptr.services),
        regexp: text(&naptr.regexp),
        replacement: naptr.replacement.to_ascii(),
    })
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else {
        return None;
    };
    Some(Srv {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: srv.target.to_ascii(),
    })
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_is_enough_and_a_failure_is_no_absence() {
        let seconds = Duration::from_secs;
        let there = |records: &[u8], ttl_s| {
            Ok(Found {
                records: records.to_vec(),
                ttl: seconds(ttl_s),
            })
        };
        let absent = |ttl_s| {
            Err(LookupFailure::Absent {
                ttl: seconds(ttl_s),
            })
        };
        let failed = || Err(LookupFailure::Failed);
        for (v4, v6, expected) in [
            (there(&[4], 9), there(&[6], 7), there(&[4, 6], 7)),
            (there(&[4], 9), absent(1), there(&[4], 9)),
            (failed(), there(&[6], 7), there(&[6], 7)),
            (absent(5), absent(3), absent(3)),
            (absent(5), failed(), failed()),
            (failed(), absent(5), failed()),
            (failed(), failed(), failed()),
        ] {
            assert_eq!(both(v4, v6), expected);
        }
    }
}
