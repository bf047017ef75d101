//! `zraft ping`: finds the leader and measures round trips to it.

use clap::Args;
use serde_json::{Value, json};
use zraft_cli::latency::Latencies;

use super::endpoints::{Endpoints, Session, Wait};
use crate::exit::{Exit, complain, say};

/// Open a session, print the leader, and measure round trips with keep-alives
///
/// Gives up after 15 seconds without a session, or without an answer to a keep-alive. --timeout changes this.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Number of round trips
    #[arg(short = 'c', long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Print JSON, one object per line: the leader, each round trip, and their distribution
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    arguments.endpoints.once(arguments.wait, async |session| {
        ping(session, arguments).await.unwrap_or_else(|exit| exit)
    })
}

async fn ping(session: &mut Session, arguments: &Arguments) -> Result<Exit, Exit> {
    session.connect().await?;
    let (client, patience) = (session.client.clone(), session.patience());
    let id = client.session_id().map_or("?".to_owned(), |id| id.to_string());
    let leader = client.member_id().map_or("?".to_owned(), |id| id.to_string());
    let say =
        |object: &Value, text: String| say(&if arguments.json { object.to_string() } else { text });
    say(&json!({ "leader": leader }), format!("session {id}, leader {leader}"))?;
    let mut times = Latencies::new();
    let mut exit = Exit::Success;
    for number in 1..=arguments.count {
        match tokio::time::timeout(patience, client.ping()).await {
            Ok(Ok(time)) => {
                times.record(time);
                let millis = time.as_secs_f64() * 1e3;
                let object = json!({ "roundTrip": number, "millis": millis });
                say(&object, format!("round trip {number}: {millis:.3} ms"))?;
            }
            Ok(Err(error)) => {
                exit = session.fail(&error).await;
            }
            Err(_) => {
                complain("no answer in time");
                exit = Exit::Connection;
            }
        }
    }
    if exit == Exit::Success {
        say(&json!({ "latencyMs": times.to_json() }), times.to_text())?;
    }
    Ok(exit)
}
