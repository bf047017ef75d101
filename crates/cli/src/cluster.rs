//! The members of a cluster through their admin ports.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use zraft_server::{ServerConfig, Token, TokenFile};

use crate::admin::{Admin, AskError, Trust};

/// The pause before members are asked again: a part of an election timeout, and long enough to cost them nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// Members to ask.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Admin>,
    deadline: Instant,
}

/// Why a command did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The input is wrong.
    Input(String),
    /// No member, or no leader, answers in time.
    NoAnswer(String),
    /// The leader refuses, or something else went wrong.
    Other(String),
}

impl Failure {
    /// Returns what happened and what to do.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Input(text) | Self::NoAnswer(text) | Self::Other(text) => text,
        }
    }
}

/// A member's address, with its status or the reason why there is none.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The member's admin port.
    pub admin: Admin,
    /// What it said.
    pub status: Result<Value, AskError>,
}

/// A member's folder.
#[derive(Clone, Debug)]
pub struct Found {
    /// The folder.
    pub directory: PathBuf,
    /// Its configuration, without variables and flags.
    pub config: ServerConfig,
}

/// Returns the members whose folders are in `folder`, or the one whose folder it is.
///
/// # Errors
/// A text that says what is wrong with the folder or a configuration in it.
pub fn find(folder: &Path) -> Result<Vec<Found>, String> {
    let read = |directory: PathBuf| {
        let mut config = ServerConfig::default();
        config.read_directory(&directory).map_err(|error| error.to_string())?;
        Ok(Found { directory, config })
    };
    let is_member = |directory: &Path| directory.join(ServerConfig::FILE).is_file();
    if is_member(folder) {
        return read(folder.to_owned()).map(|found| vec![found]);
    }
    let failed = |error: io::Error| {
        format!(
            "{}: {error}; give the folder of a member with --dir, or addresses with --admin",
            folder.display()
        )
    };
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_member(&path) {
            folders.push(path);
        }
    }
    folders.sort();
    folders.into_iter().map(read).collect()
}

/// Returns the addresses of the admin ports in these folders.
#[must_use]
pub fn addresses(found: &[Found], reachable: impl Fn(SocketAddr) -> SocketAddr) -> Vec<SocketAddr> {
    found.iter().filter_map(|found| found.config.admin_address).map(reachable).collect()
}

/// Reads addresses that are separated by commas.
///
/// # Errors
/// A text with the first one that is wrong.
pub fn read_addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = text.split(',').map(|address| {
        let address = address.trim();
        address.parse().map_err(|_| {
            format!("{address} is not an IP address with a port, such as 127.0.0.1:7003")
        })
    });
    addresses.collect()
}

/// Reads the tokens that open the admin ports: one, or two while the token is changed.
///
/// # Errors
/// A text that names the remedy.
pub fn read_tokens(file: &Path) -> Result<Vec<Token>, String> {
    TokenFile::new(file).read().map_err(|error| error.to_string())
}

/// Reads the token to open the admin ports with.
///
/// # Errors
/// A text that names the remedy.
pub fn read_token(file: &Path) -> Result<Token, String> {
    // While the token is changed, the first one is the old one, which all members take.
    read_tokens(file)?.into_iter().next().ok_or_else(|| format!("{} is empty", file.display()))
}

impl Cluster {
    /// Returns a cluster of the members with these admin ports. Every command ends within `patience`.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>, token: &Token, patience: Duration) -> Self {
        let members = addresses.into_iter().map(|address| Admin::new(address, token.clone()));
        Self { members: members.collect(), deadline: Instant::now() + patience }
    }

    /// Lets all requests travel in TLS.
    #[must_use]
    pub fn with_tls(mut self, trust: &Trust) -> Self {
        let members = self.members.into_iter();
        self.members = members.map(|admin| admin.with_tls(trust.clone())).collect();
        self
    }

    /// Asks all members at the same time. The answers are in the order of the members.
    pub async fn ask_all(&self) -> Vec<Answer> {
        let mut asked = JoinSet::new();
        for (place, admin) in self.members.iter().cloned().enumerate() {
            asked.spawn(async move { (place, Answer { status: admin.status().await, admin }) });
        }
        // A task that panics leaves its member out.
        let mut answers: Vec<_> = asked.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Asks all members at the same time for the hashes of their histories. The answers are in the order of the members.
    pub async fn histories(&self) -> Vec<Result<Value, AskError>> {
        let asked =
            self.members.iter().cloned().map(|admin| {
                let asked = tokio::spawn(async move { admin.history().await });
                async move {
                    asked.await.unwrap_or_else(|error| Err(AskError::Strange(error.to_string())))
                }
            });
        let mut answers = Vec::new();
        for answer in asked.collect::<Vec<_>>() {
            answers.push(answer.await);
        }
        answers
    }

    /// Finds the leader: asks all members again and again until one of them serves.
    ///
    /// # Errors
    /// [`Failure::NoAnswer`] says who is missing.
    pub async fn leader(&self) -> Result<(Admin, Value), Failure> {
        loop {
            let answers = self.ask_all().await;
            if let Some(found) = serving(&answers) {
                return Ok(found);
            }
            // A token that is wrong stays wrong.
            if let Some(refused) = refusal(&answers) {
                return Err(Failure::Input(refused));
            }
            if !self.pause().await {
                return Err(Failure::NoAnswer(missing(&answers)));
            }
        }
    }

    /// Asks the leader for a change, and the next one if leadership moves meanwhile. Returns the leader's answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn change(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        loop {
            let (admin, _) = self.leader().await?;
            match admin.post(path, body).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_passing() => {
                    if !self.pause().await {
                        return Err(Failure::NoAnswer(format!(
                            "the change was refused until the time was over: {error}"
                        )));
                    }
                }
                Err(error @ AskError::Refused { .. }) => {
                    return Err(Failure::Other(error.to_string()));
                }
                Err(error) => {
                    return Err(Failure::NoAnswer(format!(
                        "{error}; the change may have begun: zraft cluster status tells"
                    )));
                }
            }
        }
    }

    /// Asks the leader until its status is as wanted, and returns that status. `pending` says what is being waited for.
    ///
    /// # Errors
    /// [`Failure::NoAnswer`] if that takes too long.
    pub async fn until(
        &self,
        pending: impl Fn(&Value) -> String,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        loop {
            let (_, status) = self.leader().await?;
            if wanted(&status) {
                return Ok(status);
            }
            if !self.pause().await {
                return Err(Failure::NoAnswer(pending(&status)));
            }
        }
    }

    /// Waits for a moment. Returns false if the time is over.
    pub async fn pause(&self) -> bool {
        if Instant::now() + PAUSE >= self.deadline {
            return false;
        }
        sleep(PAUSE).await;
        true
    }
}

/// Returns the member that serves, in the highest term if two of them say so.
#[must_use]
pub fn serving(answers: &[Answer]) -> Option<(Admin, Value)> {
    let statuses = answers.iter().filter_map(|answer| {
        let status = answer.status.as_ref().ok()?;
        (status["serving"] == true).then(|| (answer.admin.clone(), status.clone()))
    });
    statuses.max_by_key(|(_, status)| status["term"].as_u64())
}

/// Returns why all members that answer refuse to give their status.
fn refusal(answers: &[Answer]) -> Option<String> {
    let errors = answers.iter().map(|answer| answer.status.as_ref().err());
    let refused = errors.map(|error| match error {
        Some(AskError::Refused { code, message }) if code != "stuck" => Some(message.clone()),
        _ => None,
    });
    refused.collect::<Option<Vec<_>>>()?.into_iter().next()
}

/// Returns a text for the case that no member serves.
fn missing(answers: &[Answer]) -> String {
    let statuses = || answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    let hint = statuses().find_map(|status| status["leader"].as_str());
    let known = |name: &str| statuses().any(|status| status["member"] == name);
    match hint {
        Some(leader) if !known(leader) => format!(
            "{leader} leads, and was not asked: run this on its machine, or give the address of its admin port with --admin"
        ),
        _ if statuses().next().is_some() => {
            "no member leads: start the members that are down, until a majority runs".to_owned()
        }
        _ => {
            let errors = answers.iter().filter_map(|answer| answer.status.as_ref().err());
            let mut all: Vec<_> = errors.map(ToString::to_string).collect();
            if all.is_empty() {
                all.push("no member was named".to_owned());
            }
            let why = all.join("; ");
            format!("no member answers ({why}): start them, or give their addresses with --admin")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answers(statuses: Vec<Result<Value, AskError>>) -> Vec<Answer> {
        let token = Token::random().unwrap();
        let admin = Admin::new(SocketAddr::from(([127, 0, 0, 1], 1)), token);
        statuses.into_iter().map(|status| Answer { admin: admin.clone(), status }).collect()
    }

    fn status(member: &str, leader: Option<&str>, serving: bool, term: u64) -> Value {
        json!({ "member": member, "leader": leader, "serving": serving, "term": term })
    }

    fn unreachable() -> AskError {
        AskError::Unreachable("refused".to_owned())
    }

    #[test]
    fn leader_of_the_highest_term_counts() {
        let old = status("a", Some("a"), true, 3);
        let new = status("b", Some("b"), true, 4);
        let other = status("c", Some("b"), false, 4);
        let (_, found) = serving(&answers(vec![Ok(old), Ok(new), Ok(other)])).unwrap();
        assert_eq!(found["member"], "b");
        assert!(serving(&answers(vec![Ok(status("c", None, false, 4))])).is_none());
    }

    #[test]
    fn text_about_a_missing_leader_says_what_to_do() {
        let elsewhere = missing(&answers(vec![Ok(status("a", Some("b"), false, 1))]));
        assert!(elsewhere.starts_with("b leads, and was not asked"), "{elsewhere}");
        let none = missing(&answers(vec![Ok(status("a", None, false, 1)), Err(unreachable())]));
        assert!(none.starts_with("no member leads"), "{none}");
        let silent = missing(&answers(vec![Err(unreachable())]));
        assert!(silent.starts_with("no member answers (no answer: refused)"), "{silent}");
        let both =
            missing(&answers(vec![Err(unreachable()), Err(AskError::Strange("a".to_owned()))]));
        let expected = "no member answers (no answer: refused; not the answer of an admin port: a)";
        assert!(both.starts_with(expected), "{both}");
    }

    #[test]
    fn refusal_counts_only_if_no_member_gives_its_status() {
        let refused =
            || AskError::Refused { code: "token".to_owned(), message: "wrong".to_owned() };
        assert_eq!(
            refusal(&answers(vec![Err(refused()), Err(refused())])).as_deref(),
            Some("wrong")
        );
        assert_eq!(refusal(&answers(vec![Err(refused()), Err(unreachable())])), None);
        assert_eq!(refusal(&answers(vec![Err(refused()), Ok(status("a", None, false, 1))])), None);
    }

    #[test]
    fn addresses_are_read_one_by_one() {
        let read = read_addresses("127.0.0.1:1, [::1]:2").unwrap();
        assert_eq!(read.iter().map(SocketAddr::port).collect::<Vec<_>>(), [1, 2]);
        assert!(
            read_addresses("127.0.0.1:1,localhost:2").unwrap_err().starts_with("localhost:2 is")
        );
    }
}
