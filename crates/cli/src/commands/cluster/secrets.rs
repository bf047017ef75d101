//! Certificates and client token of a member whose folder a command makes.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use zraft_cli::{
    certificates::Authorities,
    cluster::{Failure, Found},
};
use zraft_server::{ClusterId, RaftId, ServerConfig, TokenFile, peer_certificate_name};

use crate::commands::init::{
    ADMIN_FILES, CLIENT_CA, CLIENT_FILES, CLIENT_TOKEN, PEER_FILES, certified_hosts, quoted,
};

/// Where the certificates come from.
#[derive(Debug, Args)]
pub(super) struct Secrets {
    /// Folder of the CAs that zraft init --tls has made, to make the member's certificates with
    #[arg(long, value_name = "FOLDER")]
    ca: Option<PathBuf>,
    /// Host name or address under which clients reach the member, besides localhost; may be given several times
    #[arg(long, value_name = "HOST", requires = "ca")]
    host: Vec<String>,
}

/// What a new member needs.
#[derive(Debug)]
pub(super) struct Needs {
    authorities: Option<Authorities>,
    hosts: Vec<String>,
    client: bool,
    /// The CA of the clients' certificates.
    client_ca: bool,
    peer: bool,
    admin: Admin,
    token: bool,
}

/// The certificate of the admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admin {
    None,
    /// That of the client port, which clients and operators reach under the same name.
    OfClientPort,
    Own,
}

impl Admin {
    /// Returns what a known member has.
    fn of(known: &ServerConfig) -> Self {
        match &known.admin_tls.certificate {
            None => Self::None,
            certificate if *certificate == known.client_tls.certificate => Self::OfClientPort,
            Some(_) => Self::Own,
        }
    }

    fn files(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::OfClientPort => {
                let [(_, certificate), (_, key)] = CLIENT_FILES;
                let [(certificate_flag, _), (key_flag, _)] = ADMIN_FILES;
                [(certificate_flag, certificate), (key_flag, key)]
            }
            _ => ADMIN_FILES,
        }
    }
}

impl Secrets {
    /// Finds out what a new member needs: what a known member has. If none is known and there is a CA, everything, and a
    /// certificate for the admin port if those of the others have one. Sets the options for it.
    pub(super) fn needs(
        &self,
        config: &mut ServerConfig,
        known: Option<&ServerConfig>,
        admin_ports_have_tls: bool,
    ) -> Result<Needs, Failure> {
        let input = |error: &dyn std::fmt::Display| Failure::Input(error.to_string());
        let open = |folder: &PathBuf| {
            Authorities::open(folder).map_err(|error| {
                input(&format!("{error}; give --ca the folder ca that zraft init --tls has made"))
            })
        };
        let authorities = self.ca.as_ref().map(open).transpose()?;
        let with_ca = authorities.is_some();
        let has = |part: fn(&ServerConfig) -> bool| known.map_or(with_ca, part);
        let needs = Needs {
            authorities,
            hosts: certified_hosts(&self.host),
            client: has(|known| known.client_tls.certificate.is_some()),
            client_ca: has(|known| known.client_tls.ca.is_some()),
            peer: has(|known| known.peer_tls.certificate.is_some()),
            admin: match known {
                Some(known) => Admin::of(known),
                None if admin_ports_have_tls => Admin::Own,
                None => Admin::None,
            },
            token: has(|known| known.client_token_file.is_some()),
        };
        if with_ca && !needs.client && !needs.peer && needs.admin == Admin::None {
            return Err(Failure::Input(
                "the other members have no certificates: leave --ca out".to_owned(),
            ));
        }
        let ca = needs.client_ca.then_some(CLIENT_CA);
        let client = CLIENT_FILES.into_iter().chain(ca).filter(|_| needs.client);
        let peer = PEER_FILES.into_iter().filter(|_| needs.peer);
        let token = needs.token.then_some(("client-token-file", CLIENT_TOKEN));
        let admin = needs.admin.files().into_iter().filter(|_| needs.admin != Admin::None);
        for (flag, file) in client.chain(peer).chain(admin).chain(token) {
            config.set(flag, file).map_err(|error| input(&error))?;
        }
        Ok(needs)
    }
}

impl Needs {
    /// Makes the certificates, and takes the token over from a known member. Without a CA, says what the operator has to
    /// supply.
    pub(super) fn make(
        &self,
        folder: &Path,
        (cluster, id): (ClusterId, RaftId),
        known: Option<&Found>,
    ) -> io::Result<Vec<String>> {
        let mut missing = Vec::new();
        match &self.authorities {
            Some(authorities) => {
                if self.client {
                    authorities.write_client_port(folder, id, &self.hosts)?;
                }
                if self.peer {
                    authorities.write_peer_port(folder, cluster, id)?;
                }
                if self.admin == Admin::Own {
                    authorities.write_admin_port(folder, id, &self.hosts)?;
                }
            }
            None => self.name_certificates(&peer_certificate_name(cluster, id), &mut missing),
        }
        if self.token && !self.take_token(folder, known)? {
            missing.push(format!("{CLIENT_TOKEN}, as the other members have it"));
        }
        Ok(missing)
    }

    /// Names the certificates that the operator has to supply, and what they must be for.
    fn name_certificates(&self, peer_name: &str, missing: &mut Vec<String>) {
        if self.peer {
            let [(_, certificate), (_, key), (_, ca)] = PEER_FILES;
            missing.push(format!("{certificate}, {key} and {ca}, for the DNS name {peer_name}"));
        }
        if self.client {
            let [(_, certificate), (_, key)] = CLIENT_FILES;
            let operators = match self.admin {
                Admin::OfClientPort => " and the one under which operators reach it",
                _ => "",
            };
            missing
                .push(format!("{certificate} and {key}, for the name of its endpoint{operators}"));
        }
        if self.client && self.client_ca {
            missing.push(format!("{}, as the other members have it", CLIENT_CA.1));
        }
        if self.admin == Admin::Own {
            let [(_, certificate), (_, key)] = ADMIN_FILES;
            missing.push(format!(
                "{certificate} and {key}, for the name under which operators reach it"
            ));
        }
    }

    /// Returns true if a known member had a token file.
    fn take_token(&self, folder: &Path, known: Option<&Found>) -> io::Result<bool> {
        let file = known
            .and_then(|known| Some(known.directory.join(known.config.client_token_file.as_ref()?)));
        let Some(file) = file else { return Ok(false) };
        let tokens = TokenFile::new(file).read().map_err(io::Error::other)?;
        // While tokens are exchanged, both are valid.
        let new = TokenFile::new(folder.join(CLIENT_TOKEN));
        new.create_all(&tokens).map_err(io::Error::other)?;
        Ok(true)
    }
}

/// Returns the line that names what is missing; none if nothing is.
pub(super) fn remark(folder: &Path, missing: &[String]) -> Option<String> {
    let missing = (!missing.is_empty()).then(|| missing.join("; "));
    missing.map(|missing| format!("before that, put into {}: {missing}", quoted(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration of a known member with these options.
    fn known(options: &[(&str, &str)]) -> ServerConfig {
        let mut config = ServerConfig::default();
        options.iter().for_each(|(flag, value)| config.set(flag, value).unwrap());
        config
    }

    fn id() -> (ClusterId, RaftId) {
        (ClusterId::new([7; 16]), RaftId::new(4).unwrap())
    }

    const ADMIN: [(&str, &str); 2] =
        [("admin-certificate", "/etc/admin.pem"), ("admin-key", "/etc/admin.key")];
    const CLIENT: [(&str, &str); 2] =
        [("client-certificate", "/etc/client.pem"), ("client-key", "/etc/client.key")];

    #[test]
    fn certificates_that_the_operator_supplies_are_those_of_a_known_member() {
        let none = Secrets { ca: None, host: Vec::new() };
        let shared = [("admin-certificate", "/etc/client.pem"), ("admin-key", "/etc/client.key")];
        let client_ca = [("client-ca", "/etc/ca.pem")];
        let endpoint = "client.pem and client.key, for the name of its endpoint";
        let of_admin = "admin.pem and admin.key, for the name under which operators reach it";
        let both = format!("{endpoint} and the one under which operators reach it");
        for (options, expected) in [
            (&[][..], &[][..]),
            (&ADMIN, &[of_admin]),
            (&CLIENT, &[endpoint]),
            (&[&CLIENT[..], &ADMIN].concat(), &[endpoint, of_admin]),
            (&[CLIENT, shared].concat(), &[both.as_str()]),
            (
                &[&CLIENT[..], &client_ca].concat(),
                &[endpoint, "client-ca.pem, as the other members have it"],
            ),
        ] {
            let mut config = ServerConfig::default();
            let needs = none.needs(&mut config, Some(&known(options)), false).unwrap();
            let missing = needs.make(Path::new("unused"), id(), None).unwrap();
            assert_eq!(missing, expected, "{options:?}");
            for (flag, _) in options {
                assert!(config.is_set(flag), "{flag}");
            }
        }
    }

    #[test]
    fn certificate_of_the_admin_port_is_made_if_the_others_have_one() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        Authorities::new().unwrap().create_in(&ca).unwrap();
        let secrets = Secrets { ca: Some(ca), host: Vec::new() };
        for (name, known, expected) in [
            ("known", Some(known(&ADMIN)), &["admin.key", "admin.pem"][..]),
            ("unknown", None, &["admin.key", "admin.pem", "client-ca.pem", "client.key"]),
        ] {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let mut config = ServerConfig::default();
            let needs = secrets.needs(&mut config, known.as_ref(), true).unwrap();
            needs.make(&folder, id(), None).unwrap();
            let entries = std::fs::read_dir(&folder).unwrap();
            let mut made: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            made.sort();
            assert_eq!(made[..expected.len()], *expected);
            assert_eq!(config.admin_tls.certificate, Some("admin.pem".into()));
        }
    }
}
