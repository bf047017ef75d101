//! Who may ask what at the admin port.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, HOST, HeaderName, ORIGIN},
};

use super::{ANSWER_TIME, routes::Problem};
use crate::{
    Token, TokenError, TokenFile,
    reader::Reader,
    token::{TokenSource, is_one_of},
};

/// The tokens that open the port. Their file is read at each request, so that a new token counts at once.
#[derive(Debug)]
pub(crate) struct AdminTokens {
    reader: Reader<Vec<Token>, TokenError>,
}

/// Refuses what a web page can make a browser send to a port of the same machine.
///
/// A page that has rebound its DNS name to a loopback address sends that name as the host. Other pages send their origin.
pub(super) fn check_browser(
    address: SocketAddr,
    scheme: &str,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let host = text(headers, HOST).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "host", "the request has no single Host header")
    })?;
    if address.ip().is_loopback() && !is_local(host) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "host",
            "the port listens on loopback: name it by an IP address or as localhost",
        ));
    }
    let own = |origin: &str| origin.strip_prefix(scheme) == Some(host);
    match headers.contains_key(ORIGIN) && !text(headers, ORIGIN).is_some_and(own) {
        true => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin",
            "the request comes from a page of another origin",
        )),
        false => Ok(()),
    }
}

impl AdminTokens {
    /// Reads the file, and from now on again at the interval, too.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) async fn start(file: TokenFile, interval: Duration) -> Result<Self, TokenError> {
        let source = TokenSource {
            file,
            name: "admin tokens",
            changed: "requests of operators need one of the changed admin tokens",
        };
        Ok(Self { reader: Reader::start(source, interval).await? })
    }

    pub(crate) fn reader(&self) -> &Reader<Vec<Token>, TokenError> {
        &self.reader
    }

    /// Checks the token of a request.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let refused = |why| Problem::new(StatusCode::UNAUTHORIZED, "token", why);
        let given = text(headers, AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let given = given.ok_or_else(|| {
            refused(
                "the request needs the header Authorization: Bearer with the token in admin.token",
            )
        })?;
        // A disk that hangs must not keep operators out, who look for the reason.
        let tokens = self.reader.fresh(ANSWER_TIME).await;
        match is_one_of(&tokens, given.as_bytes()) {
            true => Ok(()),
            false => Err(refused("the token is not the one in admin.token")),
        }
    }
}

/// Returns the value of a header that occurs once.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Returns true for an IP address or `localhost`, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("valid")));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn requests_that_a_page_of_another_site_makes_are_refused() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 7003));
        let public = SocketAddr::from(([10, 0, 0, 1], 7003));
        for (address, allowed, pairs) in [
            (loopback, true, &[(HOST, "127.0.0.1:7003")][..]),
            (loopback, true, &[(HOST, "localhost:7003")]),
            (loopback, true, &[(HOST, "LOCALHOST")]),
            (loopback, true, &[(HOST, "[::1]:7003")]),
            (loopback, true, &[(HOST, "localhost:7003"), (ORIGIN, "http://localhost:7003")]),
            (loopback, false, &[]),
            (loopback, false, &[(HOST, "evil.example:7003")]),
            (loopback, false, &[(HOST, "127.0.0.1.evil.example")]),
            (loopback, false, &[(HOST, "localhost:7003"), (ORIGIN, "http://evil.example")]),
            (loopback, false, &[(HOST, "localhost:7003"), (ORIGIN, "null")]),
            (loopback, false, &[(HOST, "localhost:7003"), (ORIGIN, "https://localhost:7003")]),
            (loopback, false, &[(HOST, "localhost"), (HOST, "evil.example")]),
            (public, true, &[(HOST, "node-1.example:7003")]),
            (public, false, &[(HOST, "node-1.example"), (ORIGIN, "http://evil.example")]),
        ] {
            let found = check_browser(address, "http://", &headers(pairs)).is_ok();
            assert_eq!(found, allowed, "{pairs:?} at {address}");
        }
        for (origin, allowed) in [("https://localhost", true), ("http://localhost", false)] {
            let pairs = [(HOST, "localhost"), (ORIGIN, origin)];
            let found = check_browser(loopback, "https://", &headers(&pairs)).is_ok();
            assert_eq!(found, allowed, "{origin} at a port with TLS");
        }
    }
}
