//! The options `-e`, `--timeout`, `--token-file` and `--tls-…`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use zraft_cli::{endpoints, patience};
use zraft_client::{ClientBuilder, RaftClient, Tls};
use zraft_server::TokenFile;

/// The shortest `connectionTimeout` of a long-running command, so that a member that is slow for a moment is not given up.
const LASTING: Duration = Duration::from_millis(2500);

/// The cluster to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Endpoints {
    /// Members of the cluster, as id=address, separated by commas
    #[arg(
        short = 'e',
        long,
        value_name = "ID=ADDRESS,…",
        default_value = "node-1=tcp://127.0.0.1:7001"
    )]
    endpoints: String,
    /// Seconds to wait for a session and for an answer
    ///
    /// The command asks every member in this time, so a member that hangs gets a part of it. Closing the session takes up to
    /// one second more.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    timeout: Duration,
    /// File with the token that the members ask for
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// CAs that sign the members' certificates, in PEM form; needed for addresses with tls://
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Certificate of this client, in PEM form, if the members ask for one
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// Private key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Name that the members' certificates have, in place of the host in each address
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_server_name: Option<String>,
}

/// Reads a time in seconds, up to one day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0);
    seconds.map(Duration::from_secs_f64).ok_or("must be more than 0 and at most 86400".to_owned())
}

impl Endpoints {
    /// Returns the time that the command waits.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// Returns a client for one operation, whose requests time out with the command.
    pub(crate) fn client(&self) -> Result<RaftClient, String> {
        let least = Duration::from_millis(1);
        let builder = self.builder(least)?.request_timeout(self.timeout.max(least));
        builder.build().map_err(|error| error.to_string())
    }

    /// Returns the settings of a client for a long-running command.
    pub(crate) fn lasting(&self) -> Result<ClientBuilder, String> {
        self.builder(LASTING)
    }

    fn builder(&self, least: Duration) -> Result<ClientBuilder, String> {
        let members = self.endpoints.split(',').count();
        let each = patience::connection_timeout(self.timeout, members).max(least);
        let builder = endpoints::builder(&self.endpoints)?.connection_timeout(each);
        let builder = match self.token()? {
            Some(token) => builder.capability("token", token),
            None => builder,
        };
        Ok(match self.tls() {
            Some(tls) => builder.tls(tls),
            None => builder,
        })
    }

    /// Returns the first token of the file. While tokens are exchanged, that is one that all members know.
    fn token(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let tokens = TokenFile::new(file).read().map_err(|error| error.to_string())?;
        Ok(tokens.first().map(|token| token.as_str().to_owned()))
    }

    fn tls(&self) -> Option<Tls> {
        let mut tls = Tls::new().ca_file(self.tls_ca.as_ref()?);
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.certificate_files(certificate, key);
        }
        if let Some(name) = &self.tls_server_name {
            tls = tls.server_name(name);
        }
        Some(tls)
    }
}
