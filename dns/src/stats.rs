//! What the server counts. Plain atomics: counting must cost nothing, and a reader that sees two
//! counters from slightly different moments does no harm.

use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::ResponseCode;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one server, from its start.
        #[derive(Debug, Default)]
        pub struct Stats {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// Reads all counters.
            #[must_use]
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl StatsSnapshot {
            /// Names and values, for whoever exports them.
            #[must_use]
            pub fn pairs(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Messages that came in over UDP.
    udp_queries,
    /// Messages that came in over TCP.
    tcp_queries,
    /// Answers with NOERROR.
    noerror,
    /// Answers with NXDOMAIN.
    nxdomain,
    /// Answers with REFUSED.
    refused,
    /// Answers with FORMERR.
    formerr,
    /// Answers with NOTIMP.
    notimp,
    /// Answers with SERVFAIL: an error of ours.
    servfail,
    /// Answers with BADVERS.
    badvers,
    /// Answers that were cut to "ask over TCP" because they did not fit.
    truncated,
    /// Messages without an answer because they were not queries.
    ignored,
    /// Answers that the rate limit dropped.
    limited_dropped,
    /// Answers that the rate limit cut to "ask over TCP".
    limited_slipped,
    /// Answers that could not be sent.
    send_failed,
    /// TCP connections accepted.
    tcp_accepted,
    /// TCP connections closed at once because too many were open.
    tcp_rejected,
    /// TCP connections open now.
    tcp_open,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Stats {
    /// Counts an answer by its response code.
    pub(crate) fn count_rcode(&self, rcode: ResponseCode) {
        count(match rcode {
            ResponseCode::NoError => &self.noerror,
            ResponseCode::NXDomain => &self.nxdomain,
            ResponseCode::Refused => &self.refused,
            ResponseCode::FormErr => &self.formerr,
            ResponseCode::NotImp => &self.notimp,
            ResponseCode::BADVERS => &self.badvers,
            _ => &self.servfail,
        });
    }
}
