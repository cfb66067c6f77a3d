//! Parsers of hosts, ports and networks.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Parsed, utf8, whole};

/// A host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Writes the form used on the command line, which [`std::net::ToSocketAddrs`] reads, with brackets
/// around an IPv6 address.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Parses networks (192.0.2.0/24) and addresses, separated by commas.
pub(in crate::config) fn networks(value: &OsStr) -> Parsed<Vec<IpNet>> {
    let one = |text: &str| {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(address).ok_or_else(|| {
            "must be networks or addresses, such as 192.0.2.0/24 or 2001:db8::7, separated by \
             commas"
                .to_owned()
        })
    };
    utf8(value)?.split(',').map(|text| one(text.trim())).collect()
}

pub(in crate::config) fn listen(value: &OsStr) -> Parsed<HostPort> {
    host_port(utf8(value)?)
}

pub(in crate::config) fn destination(value: &OsStr) -> Parsed<HostPort> {
    match host_port(utf8(value)?)? {
        HostPort { port: 0, .. } => Err("must be HOST:PORT with a port from 1 to 65535".to_owned()),
        to => Ok(to),
    }
}

pub(in crate::config) fn host(value: &OsStr) -> Parsed<String> {
    let host = utf8(value)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if is_host(bare) { Ok(bare.to_owned()) } else { Err("must be a host name or address".into()) }
}

pub(in crate::config) fn port(value: &OsStr) -> Parsed<u16> {
    whole(value, 0..=u16::MAX, "must be a port from 0 to 65535")
}

/// Returns whether the syntax is valid for a host name or an address. Does not resolve the name.
fn is_host(host: &str) -> bool {
    if host.contains(':') {
        // getaddrinfo accepts a zone, as in fe80::1%eth0.
        let address = host.split('%').next().unwrap_or(host);
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !host.is_empty() && host.bytes().all(is_allowed)
}

fn host_port(text: &str) -> Parsed<HostPort> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| "must be HOST:PORT, such as 127.0.0.1:4444".to_owned())?;
    let port = port
        .parse::<u16>()
        .map_err(|_| "must be HOST:PORT with a port from 0 to 65535".to_owned())?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(bare) => bare,
        None if host.contains(':') => {
            return Err("must have the IPv6 address in brackets, as in [::1]:4444".to_owned());
        }
        None => host,
    };
    if !is_host(host) {
        return Err("must begin with a host name or an address, as in 0.0.0.0:4444 (0.0.0.0 for \
                    all interfaces)"
            .to_owned());
    }
    Ok(HostPort { host: host.to_owned(), port })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::assert_refused;
    use super::*;

    #[test]
    fn networks_are_one_or_several_with_commas() {
        let text = |value: &str| {
            networks(OsStr::new(value)).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(text("10.0.0.0/8"), ["10.0.0.0/8"]);
        assert_eq!(text("10.1.2.3, 2001:db8::/32"), ["10.1.2.3/32", "2001:db8::/32"]);
        assert_refused(networks, &["", "10.0.0.0/33", "10.0.0", "a", "10.0.0.1,", "::1/129"]);
    }

    #[test]
    fn a_listening_address_has_a_host_and_a_port() {
        for text in ["127.0.0.1:4444", "localhost:0", "[::1]:4444", "my-host.lan:65535"] {
            assert_eq!(listen(OsStr::new(text)).unwrap().to_string(), text);
        }
        let wrong = ["4444", ":4444", "host", "host:", "host:65536", "::1:4444", "*:4444", "a b:1"];
        assert_refused(listen, &wrong);
        assert_refused(listen, &["[::g]:1", "[]:1", "http://host:1", "host:-1"]);
    }

    #[test]
    fn nothing_can_be_sent_to_port_0() {
        assert_eq!(destination(OsStr::new("localhost:4444")).unwrap().port, 4444);
        assert_refused(destination, &["localhost:0"]);
    }
}
