//! Where a new core listens for other cores, and where it says that they reach it.
//!
//! A core whose machine has an address that others know listens on all interfaces and tells that
//! address; one that was told of none stays on its own machine, as on a laptop.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

/// The port between cores, unless told otherwise.
const PORT: u16 = 4002;

/// As the configuration has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) listen: String,
    /// None: the address at which it listens.
    pub(super) advertise: Option<String>,
}

impl Reach {
    /// From what was given, the core's addresses, and its URL where that is a name of the platform's.
    pub(super) fn of(
        listen: Option<&str>,
        advertise: Option<&str>,
        ips: &[IpAddr],
        url: Option<&str>,
    ) -> Self {
        let known = ips.iter().find(|ip| !ip.is_loopback());
        let is_6 = known.is_some_and(IpAddr::is_ipv6);
        let host = known
            .map(|ip| match ip {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            })
            .or_else(|| host_of(url?));
        let listen = listen.map_or_else(
            || match (&host, is_6) {
                (None, _) => format!("127.0.0.1:{PORT}"),
                (Some(_), false) => format!("0.0.0.0:{PORT}"),
                (Some(_), true) => format!("[::]:{PORT}"),
            },
            str::to_owned,
        );
        // At an address of its own it is reached there; at all of them it has to say at which.
        let everywhere = listen
            .parse::<SocketAddr>()
            .ok()
            .filter(|socket| socket.ip().is_unspecified());
        let told = everywhere.and_then(|socket| Some(format!("{}:{}", host?, socket.port())));
        Self {
            listen,
            advertise: advertise.map(str::to_owned).or(told),
        }
    }
}

/// The host of a URL that is not this machine alone.
fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host()?;
    let is_here = match &host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    (!is_here).then(|| host.to_string())
}

/// Whether a host and port are of the machine that asks, whichever that is.
pub(super) fn is_loopback(address: &str) -> bool {
    host_of(&format!("http://{address}/")).is_none()
}

/// Whether a URL leads to the machine that asks.
pub(super) fn is_loopback_url(url: &str) -> bool {
    host_of(url).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_reached_where_its_machine_is() {
        let name = Some("https://core-a.example.com/");
        for (listen, advertise, ips, url, expected) in [
            // A laptop.
            (None, None, &[][..], None, ("127.0.0.1:4002", None)),
            (
                None,
                None,
                &[],
                Some("http://127.0.0.1:3000/"),
                ("127.0.0.1:4002", None),
            ),
            (None, None, &["127.0.0.1"], None, ("127.0.0.1:4002", None)),
            // A machine with an address, or at least a name.
            (
                None,
                None,
                &["192.0.2.1", "2001:db8::1"],
                name,
                ("0.0.0.0:4002", Some("192.0.2.1:4002")),
            ),
            (
                None,
                None,
                &["2001:db8::1"],
                name,
                ("[::]:4002", Some("[2001:db8::1]:4002")),
            ),
            (
                None,
                None,
                &[],
                name,
                ("0.0.0.0:4002", Some("core-a.example.com:4002")),
            ),
            // What was given counts.
            (
                Some("0.0.0.0:5"),
                None,
                &["192.0.2.1"],
                name,
                ("0.0.0.0:5", Some("192.0.2.1:5")),
            ),
            (
                Some("127.0.0.1:5"),
                None,
                &["192.0.2.1"],
                name,
                ("127.0.0.1:5", None),
            ),
            (
                None,
                Some("inside:7"),
                &["192.0.2.1"],
                name,
                ("0.0.0.0:4002", Some("inside:7")),
            ),
        ] {
            let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            let reach = Reach::of(listen, advertise, &ips, url);
            let found = (&*reach.listen, reach.advertise.as_deref());
            assert_eq!(found, expected, "{listen:?} {advertise:?} {ips:?} {url:?}");
        }
    }

    #[test]
    fn loopback_is_told_apart() {
        for (address, expected) in [
            ("127.0.0.1:4002", true),
            ("127.9.9.9:1", true),
            ("localhost:4002", true),
            ("[::1]:4002", true),
            ("192.0.2.1:4002", false),
            ("[2001:db8::1]:4002", false),
            ("core-a.example.com:4002", false),
            ("127.example.com:4002", false),
        ] {
            assert_eq!(is_loopback(address), expected, "{address}");
        }
    }
}
