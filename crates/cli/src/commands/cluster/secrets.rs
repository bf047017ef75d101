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
    CLIENT_CA, CLIENT_FILES, CLIENT_TOKEN, PEER_FILES, certified_hosts, quoted,
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
    peer: bool,
    token: bool,
}

impl Secrets {
    /// Finds out what a new member needs: what a known member has; everything if none is known and there is a CA. Sets the
    /// options for it.
    pub(super) fn needs(
        &self,
        config: &mut ServerConfig,
        known: Option<&ServerConfig>,
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
            peer: has(|known| known.peer_tls.certificate.is_some()),
            token: has(|known| known.client_token_file.is_some()),
        };
        if with_ca && !needs.client && !needs.peer {
            return Err(Failure::Input(
                "the other members have no certificates: leave --ca out".to_owned(),
            ));
        }
        let ca = has(|known| known.client_tls.ca.is_some()).then_some(CLIENT_CA);
        let client = CLIENT_FILES.into_iter().chain(ca).filter(|_| needs.client);
        let peer = PEER_FILES.into_iter().filter(|_| needs.peer);
        let token = needs.token.then_some(("client-token-file", CLIENT_TOKEN));
        for (flag, file) in client.chain(peer).chain(token) {
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
            }
            None => {
                let name = peer_certificate_name(cluster, id);
                let files = |options: [(&str, &str); 2]| options.map(|(_, file)| file).join(", ");
                let [pair @ .., (_, ca)] = PEER_FILES;
                if self.peer {
                    missing.push(format!("{} and {ca}, for the DNS name {name}", files(pair)));
                }
                if self.client {
                    missing.push(format!("{}, for the name of its endpoint", files(CLIENT_FILES)));
                }
            }
        }
        if self.token && !self.take_token(folder, known)? {
            missing.push(format!("{CLIENT_TOKEN}, as the other members have it"));
        }
        Ok(missing)
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
