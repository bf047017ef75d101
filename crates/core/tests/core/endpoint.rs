//! Texts that are endpoints, and texts that are not.

use zraft_core::{Endpoint, EndpointError};

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.to_owned(), port }
}

#[track_caller]
fn accepts(text: &str, endpoint: &Endpoint) {
    let parsed: Endpoint = text.parse().expect(text);
    assert_eq!(&parsed, endpoint, "{text}");
    assert_eq!(parsed.to_string().parse(), Ok(parsed), "{text}: shown and parsed again");
}

#[track_caller]
fn refuses(text: &str, why: EndpointError) {
    assert_eq!(text.parse::<Endpoint>(), Err(why), "{text}");
}

#[test]
fn names_and_ipv4_addresses_are_hosts() {
    accepts("tcp://localhost:7001", &tcp("localhost", 7001));
    accepts("tcp://node-1.example.com:1", &tcp("node-1.example.com", 1));
    accepts("tcp://node_1.compose:65535", &tcp("node_1.compose", 65535));
    accepts("tcp://example.com.:7001", &tcp("example.com.", 7001));
    accepts("tcp://127.0.0.1:7001", &tcp("127.0.0.1", 7001));
    accepts("tcp://3com.example:80", &tcp("3com.example", 80));
}

#[test]
fn ipv6_addresses_are_in_brackets() {
    accepts("tcp://[::1]:7001", &tcp("::1", 7001));
    accepts("tcp://[2001:DB8::0:1]:7001", &tcp("2001:db8::1", 7001));
    assert_eq!(tcp("::1", 7001).to_string(), "tcp://[::1]:7001");
    refuses("tcp://::1:7001", EndpointError::Ipv6);
    refuses("tcp://[::1:7001", EndpointError::Ipv6);
    refuses("tcp://[]:7001", EndpointError::Ipv6);
    refuses("tcp://[127.0.0.1]:7001", EndpointError::Ipv6);
    refuses("tcp://[fe80::1%eth0]:7001", EndpointError::Ipv6);
    refuses("tcp://[::1]7001", EndpointError::MissingPort);
    refuses("tcp://[::1]", EndpointError::MissingPort);
    refuses("tcp://[::1]:", EndpointError::MissingPort);
}

#[test]
fn tls_endpoint_has_the_form_of_a_tcp_endpoint() {
    let tls = |host: &str, port| Endpoint::Tls { host: host.to_owned(), port };
    accepts("tls://db-1.example.com:7001", &tls("db-1.example.com", 7001));
    accepts("tls://127.0.0.1:7001", &tls("127.0.0.1", 7001));
    accepts("tls://[2001:DB8::0:1]:7001", &tls("2001:db8::1", 7001));
    assert_eq!(tls("::1", 7001).to_string(), "tls://[::1]:7001");
    refuses("tls://::1:7001", EndpointError::Ipv6);
    refuses("tls://h", EndpointError::MissingPort);
    refuses("tls://:1", EndpointError::MissingHost);
    refuses("tls://h:0", EndpointError::Port);
    refuses("tls://user:secret@h:1", EndpointError::UserInfo);
    refuses("tls://h:1/path", EndpointError::AfterPort);
    refuses("TLS://h:1", EndpointError::Scheme);
    refuses("tcps://h:1", EndpointError::Scheme);
}

#[test]
fn the_scheme_is_tcp_tls_or_ipc() {
    for text in [
        "",
        "tcp",
        "tcp:/h:1",
        "h:1",
        "http://h:1",
        "TCP://h:1",
        " tcp://h:1",
        "inproc://x",
        "//h:1",
    ] {
        refuses(text, EndpointError::Scheme);
    }
}

#[test]
fn the_port_is_a_number_from_1_to_65535() {
    for text in [
        "tcp://h:0",
        "tcp://h:65536",
        "tcp://h:-1",
        "tcp://h:+1",
        "tcp://h:*",
        "tcp://h:7o01",
        "tcp://h:99999999999999999999",
    ] {
        refuses(text, EndpointError::Port);
    }
    refuses("tcp://h", EndpointError::MissingPort);
    refuses("tcp://h:", EndpointError::MissingPort);
    refuses("tcp://", EndpointError::MissingPort);
}

#[test]
fn nothing_follows_the_port() {
    for text in ["tcp://h:1/", "tcp://h:1/path", "tcp://h:1?q", "tcp://h:1#f", "tcp://h/p:1"] {
        refuses(text, EndpointError::AfterPort);
    }
}

#[test]
fn user_information_is_refused() {
    for text in ["tcp://user@h:1", "tcp://user:secret@h:1", "tcp://@h:1", "tcp://u:p@[::1]:1"] {
        refuses(text, EndpointError::UserInfo);
    }
}

#[test]
fn white_space_and_control_characters_are_refused() {
    for text in [
        "tcp://h :1",
        "tcp:// h:1",
        "tcp://h:1 ",
        "tcp://h:1\n",
        "tcp://h\t:1",
        "tcp://h\0:1",
        "tcp://h\u{a0}:1",
    ] {
        refuses(text, EndpointError::Whitespace);
    }
}

#[test]
fn a_host_has_253_letters_at_most_and_63_between_dots() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    accepts(&format!("tcp://{label}:1"), &tcp(&label, 1));
    accepts(&format!("tcp://{longest}:1"), &tcp(&longest, 1));
    refuses(&format!("tcp://{label}a:1"), EndpointError::Host);
    refuses(&format!("tcp://{longest}a:1"), EndpointError::Host);
}

#[test]
fn hosts_that_no_resolver_accepts_are_refused() {
    refuses("tcp://:1", EndpointError::MissingHost);
    let long_label = format!("tcp://{}:1", "a".repeat(64));
    let long_name = format!("tcp://{}:1", "a.".repeat(127));
    for text in [
        "tcp://*:1",
        "tcp://a..b:1",
        "tcp://.a:1",
        "tcp://-a:1",
        "tcp://a-:1",
        "tcp://é:1",
        "tcp://a%20b:1",
        &long_label,
        &long_name,
    ] {
        refuses(text, EndpointError::Host);
    }
}

#[test]
fn a_host_that_ends_in_a_number_must_be_an_ipv4_address() {
    for text in [
        "tcp://256.0.0.1:1",
        "tcp://1.2.3:1",
        "tcp://1:1",
        "tcp://010.0.0.1:1",
        "tcp://127.0.0.1.:1",
    ] {
        refuses(text, EndpointError::Host);
    }
}

#[cfg(unix)]
#[test]
fn ipc_accepts_the_path_of_a_socket_file() {
    let ipc = |path: &str| Endpoint::Ipc { path: path.to_owned() };
    accepts("ipc:///run/zraft/node-1.sock", &ipc("/run/zraft/node-1.sock"));
    accepts("ipc://relative.sock", &ipc("relative.sock"));
    accepts("ipc:///with a space/x", &ipc("/with a space/x"));
    let longest = format!("/{}", "x".repeat(102));
    accepts(&format!("ipc://{longest}"), &ipc(&longest));
    let too_long = format!("ipc://{longest}x");
    for text in ["ipc://", "ipc://*", "ipc://@abstract", &too_long] {
        refuses(text, EndpointError::IpcPath);
    }
    for text in ["ipc:///a\0b", "ipc:///a\n", "ipc:// /a"] {
        refuses(text, EndpointError::Whitespace);
    }
}

#[test]
fn errors_never_repeat_the_text() {
    let error = "tcp://admin:hunter2@host:1".parse::<Endpoint>().expect_err("user information");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("admin"), "{shown}");
}
