//! `zraft set`, `get` and `watch`: the key-value store, with the output of the live tools.

use clap::Args;
use serde_json::json;
use zraft_cli::{narrator::Narrator, time::utc};
use zraft_client::RaftClient;
use zraft_kv::{Change, Error, Key, KvClient, Value};

use super::{
    endpoints::{Endpoints, Session, Wait},
    json::Json,
};
use crate::exit::{Exit, complain, say};

/// Set the value of a key
///
/// Prints OK. Gives up after 15 seconds, which include opening the session. --timeout changes this.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Key of 1 to 256 bytes
    key: String,
    /// Value of 1 byte to 1 MiB; after -- it may begin with a dash
    value: String,
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    wait: Wait,
}

/// Print the value of a key
///
/// Prints `KEY = VALUE`, or `KEY = <none>` if the key has no value. Use --json or --exit-code to tell that from the value
/// `<none>`. Gives up after 15 seconds, which include opening the session. --timeout changes this.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Key of 1 to 256 bytes
    key: String,
    /// Print one JSON object with the key and its value or null
    #[arg(long)]
    json: bool,
    /// Exit with status 4 if the key has no value
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    wait: Wait,
}

/// Print each new value of a key, until Ctrl+C
///
/// Prints the current value first, if there is one. Gives up if it cannot start within 15 seconds. --timeout changes this.
/// If it loses the connection later, it reconnects, however long that takes, and says so on standard error. If the session
/// is lost, it watches the key in a new session and prints the current value again.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Key of 1 to 256 bytes
    key: String,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) fn set(arguments: Set) -> Exit {
    let Set { endpoints, wait, key, value, json } = arguments;
    if let Some(exit) =
        refuse(Key::new(key.clone()).err()).or(refuse(Value::new(value.clone()).err()))
    {
        return exit;
    }
    once(&endpoints, wait, async move |store| {
        store.set(key.clone(), value.clone()).await?;
        Ok(json.say(&json!({ "key": key, "value": value }), "OK").err().unwrap_or(Exit::Success))
    })
}

pub(crate) fn get(arguments: Get) -> Exit {
    let Get { endpoints, wait, key, json, exit_code } = arguments;
    if let Some(exit) = refuse(Key::new(key.clone()).err()) {
        return exit;
    }
    once(&endpoints, wait, async move |store| {
        let value = store.get(key.clone()).await?;
        let value = value.as_ref().map(Value::as_str);
        let text = match json {
            true => json!({ "key": key, "value": value }).to_string(),
            false => format!("{key} = {}", value.unwrap_or("<none>")),
        };
        if let Err(exit) = say(&text) {
            return Ok(exit);
        }
        Ok(if exit_code && value.is_none() { Exit::Absent } else { Exit::Success })
    })
}

pub(crate) fn watch(arguments: Watch) -> Exit {
    let Watch { endpoints, wait, key, json } = arguments;
    if let Some(exit) = refuse(Key::new(key.clone()).err()) {
        return exit;
    }
    // To watch the key again in a new session may take as long as an outage.
    endpoints.lasting(
        wait,
        |builder| builder.request_timeout(None),
        async move |session| follow(session, key, json).await,
    )
}

fn refuse(error: Option<zraft_kv::ValueError>) -> Option<Exit> {
    complain(&error?.to_string());
    Some(Exit::BadInput)
}

/// Opens a session, runs one operation within the time that is left, and closes the session.
fn once(
    endpoints: &Endpoints,
    wait: Wait,
    operation: impl AsyncFnOnce(KvClient) -> Result<Exit, Error>,
) -> Exit {
    endpoints.once(wait, async move |session| {
        if let Err(exit) = session.connect().await {
            return exit;
        }
        let store = KvClient::new(session.client.clone()).timeout(session.left());
        match operation(store).await {
            Ok(exit) => exit,
            Err(Error::Client(error)) => session.fail(&error).await,
            Err(error) => fail(&error),
        }
    })
}

fn fail(error: &Error) -> Exit {
    complain(&error.to_string());
    match error {
        Error::Value(_) => Exit::BadInput,
        Error::Client(error) => Exit::of(error),
        _ => Exit::Failure,
    }
}

/// Prints the changes of a key until an error that a new session does not repair.
async fn follow(session: &mut Session, key: String, json: bool) -> Exit {
    let client = &session.client.clone();
    let (mut events, mut narrator) = (client.events(), Narrator::new());
    if let Err(exit) = session.connect().await {
        return exit;
    }
    let left = session.left();
    let store = KvClient::new(client.clone());
    let mut watch = match tokio::time::timeout(left, store.watch(key.clone())).await {
        Ok(Ok(watch)) => watch,
        Ok(Err(error)) => return fail(&error),
        Err(_) => {
            complain("no answer in time");
            return Exit::Connection;
        }
    };
    if !json && let Err(exit) = say(&format!("watching {key} - press Ctrl+C to stop")) {
        return exit;
    }
    let narrate = async {
        while let Some(event) = events.next().await {
            if let Some(line) = narrator.line(&event) {
                complain(&line);
            }
        }
        std::future::pending().await
    };
    let changes = async {
        loop {
            match watch.next().await {
                Some(Ok(change)) => {
                    let text = if json { object(&change).to_string() } else { line(&change) };
                    if let Err(exit) = say(&text) {
                        return exit;
                    }
                }
                Some(Err(Error::NotWatching)) => {
                    if let Err(error) = connect_again(client).await {
                        return fail(&error.into());
                    }
                }
                // The session ended while the client watched the key again. The next item tells whether a new one exists.
                Some(Err(Error::Client(zraft_client::Error::SessionExpired { .. }))) => {}
                // The next notification may decode again.
                Some(Err(error @ Error::Decode(_))) => complain(&error.to_string()),
                Some(Err(error)) => return fail(&error),
                None => return Exit::Connection,
            }
        }
    };
    tokio::select! {
        // Report what happened to the session before the changes that arrived in it.
        biased;
        exit = narrate => exit,
        exit = changes => exit,
    }
}

/// Opens a session, however long that takes. Returns an error that another attempt would meet again.
async fn connect_again(client: &RaftClient) -> Result<(), zraft_client::Error> {
    loop {
        match client.connect().await {
            // `connect` tries for half a minute before it returns this error.
            Err(error @ zraft_client::Error::Connection { .. }) => complain(&error.to_string()),
            other => return other,
        }
    }
}

fn line(change: &Change) -> String {
    let time = utc(change.created_at.as_millis());
    let (key, value) = (&change.notification.key, &change.notification.value);
    format!("[{time}] seq={} key={} value={}", change.request_id, key.as_str(), value.as_str())
}

fn object(change: &Change) -> serde_json::Value {
    json!({
        "time": utc(change.created_at.as_millis()),
        "seq": change.request_id.get(),
        "key": change.notification.key.as_str(),
        "value": change.notification.value.as_str(),
    })
}
