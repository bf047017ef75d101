//! When certificates expire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::{
    CertificateError, Error, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, UnixTime},
    server::ParsedCertificate,
};

use super::Port;

/// An operator learns of a certificate's end this long before. ACME clients renew a month before the end, so an automatic
/// renewal has failed for two weeks by then, and two weeks are enough to replace certificates by hand.
const NOTICE: Duration = Duration::from_secs(14 * 86_400);
/// A certificate that lives for weeks or hours is renewed after two thirds of its life, so the notice is no longer than the
/// last third. Otherwise the alarm would never end.
const SHARE: u32 = 3;

/// How long the certificate of a port is valid, and those of the intermediate CAs that the port shows with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateValidity {
    /// The port.
    pub port: Port,
    /// When the first of them expires.
    pub not_after: SystemTime,
    /// From when on an operator must replace one of them: 14 days before it expires, or the last third of its life if that
    /// is shorter.
    pub replace_from: SystemTime,
}

/// Returns the validity of a chain. None if no certificate of it has dates that can be read, which no peer accepts either.
pub(super) fn of(port: Port, chain: &[CertificateDer<'_>]) -> Option<CertificateValidity> {
    let validities = chain.iter().filter_map(|certificate| of_one(port, certificate));
    validities.reduce(|one, other| CertificateValidity {
        port,
        not_after: one.not_after.min(other.not_after),
        replace_from: one.replace_from.min(other.replace_from),
    })
}

/// Asks the verifier of TLS itself: it judges the dates before it looks for a CA, and names them when it refuses.
fn of_one(port: Port, certificate: &CertificateDer<'_>) -> Option<CertificateValidity> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let refusal = |now| {
        let (roots, now) = (RootCertStore::empty(), UnixTime::since_unix_epoch(now));
        match verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], now, &[]) {
            Err(Error::InvalidCertificate(refusal)) => Some(refusal),
            _ => None,
        }
    };
    let not_after = match refusal(Duration::MAX)? {
        CertificateError::ExpiredContext { not_after, .. } => seconds(not_after),
        _ => return None,
    };
    let not_before = match refusal(Duration::ZERO) {
        Some(CertificateError::NotValidYetContext { not_before, .. }) => seconds(not_before),
        // It has been valid since 1970.
        _ => Duration::ZERO,
    };
    let notice = NOTICE.min(not_after.saturating_sub(not_before) / SHARE);
    Some(CertificateValidity {
        port,
        not_after: UNIX_EPOCH.checked_add(not_after)?,
        replace_from: UNIX_EPOCH.checked_add(not_after.saturating_sub(notice))?,
    })
}

fn seconds(time: UnixTime) -> Duration {
    Duration::from_secs(time.as_secs())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// 1 January 2030.
    fn new_year() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_893_456_000)
    }

    /// A certificate that expires on 1 January 2030, after this many days.
    fn certificate(days: u32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.test".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(2030, 1, 1);
        params.not_before = params.not_after - days * DAY;
        let key = KeyPair::generate().expect("the system has random numbers");
        params.self_signed(&key).expect("it signs").der().clone()
    }

    #[test]
    fn notice_is_two_weeks_or_a_third_of_a_shorter_life() {
        for (days, notice) in [(365, 14), (43, 14), (42, 14), (30, 10), (3, 1)] {
            let validity = of(Port::Client, &[certificate(days)]).expect("it has dates");
            assert_eq!(validity.not_after, new_year(), "{days}");
            assert_eq!(validity.replace_from, new_year() - notice * DAY, "{days}");
        }
    }

    #[test]
    fn first_certificate_of_a_chain_to_expire_counts() {
        let mut params = CertificateParams::new([]).expect("no name");
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2029, 12, 31));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has random numbers");
        let ca = params.self_signed(&key).expect("it signs").der().clone();
        let validity = of(Port::Peer, &[certificate(365), ca]).expect("they have dates");
        assert_eq!(validity.not_after, new_year() - DAY);
        assert_eq!(validity.replace_from, new_year() - 15 * DAY);
        assert_eq!(of(Port::Peer, &[CertificateDer::from(&b"x"[..])]), None);
    }
}
