use std::net::{Ipv4Addr, Ipv6Addr};

use zraft_core::{Config, Endpoint};

/// Any text as a member's endpoint: what parses names a place, prints as what parses to the same, and is what the
/// configuration takes.
pub fn endpoint(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = text.parse::<Endpoint>();
    let config = Config::builder().member("m", text).capability("c", "v").build();
    assert_eq!(parsed.is_ok(), config.is_ok(), "the configuration judges as the parser does");
    if let Ok(endpoint) = parsed {
        accepted(text, &endpoint);
    }
}

fn accepted(text: &str, endpoint: &Endpoint) {
    let printed = endpoint.to_string();
    assert_eq!(printed.parse::<Endpoint>().as_ref(), Ok(endpoint), "{printed}");
    assert!(!text.chars().any(char::is_control), "no control character gets through");
    match endpoint {
        Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } => {
            let scheme = if matches!(endpoint, Endpoint::Tls { .. }) { "tls://" } else { "tcp://" };
            let authority = text.strip_prefix(scheme).expect("the scheme is kept");
            assert_ne!(*port, 0);
            assert!(authority.ends_with(|last: char| last.is_ascii_digit()));
            assert!((1..=253).contains(&host.len()) && host.is_ascii(), "{host:?}");
            assert!(!host.contains(|c: char| "/?#@[] \t".contains(c)), "{host:?}");
            if host.contains(':') {
                assert!(authority.starts_with('['), "IPv6 stands in brackets");
                let address: Ipv6Addr = host.parse().expect("a host with colons is an address");
                assert_eq!(address.to_string(), *host, "in its canonical form");
            } else if host.ends_with(|last: char| last.is_ascii_digit())
                && !host.contains(|c: char| c.is_ascii_alphabetic() || c == '-' || c == '_')
            {
                host.parse::<Ipv4Addr>().expect("digits and dots are an address");
            }
        }
        Endpoint::Ipc { path } => {
            assert_eq!(text, format!("ipc://{path}"), "a path is taken as it is");
            assert!((1..=103).contains(&path.len()) && !path.starts_with('@'));
        }
    }
}
