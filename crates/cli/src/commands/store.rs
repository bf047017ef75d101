//! `zraft set`, `get` and `watch`: the key-value store, against any cluster, as the live tools do it.

use std::{future::Future, time::Duration};

use clap::Args;
use tokio::time::{Instant, timeout_at};
use zraft_client::RaftClient;
use zraft_kv::{Error, Key, KvClient, Value};

use crate::{
    endpoints::Endpoints,
    exit::{Exit, complain, print, run},
};

/// A single operation gives up after this long, opening the session included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Give a key a value
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    endpoints: Endpoints,
    /// 1 to 256 bytes
    key: String,
    /// 1 byte to 1 MiB
    value: String,
}

/// Print the value of a key
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    endpoints: Endpoints,
    /// 1 to 256 bytes
    key: String,
}

/// Print every value that a key gets, until Ctrl+C
#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    endpoints: Endpoints,
    /// 1 to 256 bytes
    key: String,
}

pub(crate) fn set(arguments: Set) -> Exit {
    let Set { endpoints, key, value } = arguments;
    if let Some(exit) =
        refuse(Key::new(key.clone()).err()).or(refuse(Value::new(value.clone()).err()))
    {
        return exit;
    }
    once(&endpoints, async move |store| {
        store.set(key, value).await?;
        print("OK");
        Ok(())
    })
}

pub(crate) fn get(arguments: Get) -> Exit {
    let Get { endpoints, key } = arguments;
    if let Some(exit) = refuse(Key::new(key.clone()).err()) {
        return exit;
    }
    once(&endpoints, async move |store| {
        let value = store.get(key.clone()).await?;
        print(&format!("{key} = {}", value.as_ref().map_or("<none>", Value::as_str)));
        Ok(())
    })
}

fn refuse(error: Option<zraft_kv::ValueError>) -> Option<Exit> {
    complain(&error?.to_string());
    Some(Exit::BadInput)
}

/// Opens a session, does one thing, and closes it.
fn once<F, W>(endpoints: &Endpoints, what: W) -> Exit
where
    F: Future<Output = Result<(), Error>>,
    W: FnOnce(KvClient) -> F,
{
    with_client(endpoints, PATIENCE, async |client| {
        let until = Instant::now() + PATIENCE;
        let result = match client.connect_within(PATIENCE).await {
            Ok(()) => timeout_at(until, what(KvClient::new(client.clone()))).await,
            Err(error) => Ok(Err(error.into())),
        };
        let exit = match result {
            Ok(Ok(())) => Exit::Success,
            Ok(Err(error)) => fail(&error),
            Err(_) => {
                complain("no answer in time");
                Exit::Connection
            }
        };
        client.disconnect_within(Duration::from_secs(1)).await;
        exit
    })
}

fn with_client(
    endpoints: &Endpoints,
    patience: Duration,
    command: impl AsyncFnOnce(RaftClient) -> Exit,
) -> Exit {
    match endpoints.client(patience) {
        Ok(client) => run(command(client)),
        Err(error) => {
            complain(&error);
            Exit::BadInput
        }
    }
}

fn fail(error: &Error) -> Exit {
    complain(&error.to_string());
    match error {
        Error::Value(_) => Exit::BadInput,
        Error::Client(error) => Exit::of(error),
        _ => Exit::Failure,
    }
}

pub(crate) fn watch(arguments: Watch) -> Exit {
    let Watch { endpoints, key } = arguments;
    if let Some(exit) = refuse(Key::new(key.clone()).err()) {
        return exit;
    }
    with_client(&endpoints, PATIENCE, async |client| {
        if let Err(error) = client.connect_within(PATIENCE).await {
            return fail(&error.into());
        }
        let mut watch = match KvClient::new(client.clone()).watch(key.clone()).await {
            Ok(watch) => watch,
            Err(error) => return fail(&error),
        };
        print(&format!("watching {key} - press Ctrl+C to stop"));
        loop {
            match watch.next().await {
                Some(Ok(change)) => {
                    let time = utc(change.created_at.as_millis());
                    let notification = &change.notification;
                    print(&format!(
                        "[{time}] seq={} key={} value={}",
                        change.request_id,
                        notification.key.as_str(),
                        notification.value.as_str()
                    ));
                }
                // The session has ended: a watch connects again by itself, however long that takes.
                Some(Err(Error::NotWatching)) => while client.connect().await.is_err() {},
                Some(Err(error)) => complain(&error.to_string()),
                None => return Exit::Connection,
            }
        }
    })
}

/// A time of the Unix epoch as RFC 3339 has it, in UTC, with milliseconds. Years outside 0 to 9999 are shown as they come.
fn utc(millis: i64) -> String {
    let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// The date of the proleptic Gregorian calendar, of days since 1970-01-01. Counts years from March, so that the leap day
/// comes last, in cycles of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + cycle * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_shown_in_utc_with_milliseconds() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(1_768_298_400_000), "2026-01-13T10:00:00.000Z");
        assert_eq!(utc(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(utc(4_107_542_399_001), "2100-02-28T23:59:59.001Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
