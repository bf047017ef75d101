//! `zraft ping`: is there a leader, and how far away is it?

use std::time::Duration;

use clap::Args;

use crate::{
    endpoints::Endpoints,
    exit::{Exit, complain, print, run as run_command},
    latency::Latencies,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// Open a session, tell who leads, and measure round trips by keep-alives
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    endpoints: Endpoints,
    /// How many round trips
    #[arg(short = 'c', long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let client = match arguments.endpoints.client(PATIENCE) {
        Ok(client) => client,
        Err(error) => {
            complain(&error);
            return Exit::BadInput;
        }
    };
    run_command(async {
        if let Err(error) = client.connect_within(PATIENCE).await {
            complain(&error.to_string());
            return Exit::of(&error);
        }
        let member = client.member_id();
        let leader = member.as_ref().map_or("?", |member| member.as_str());
        print(&format!("session opened, leader {leader}"));
        let mut times = Latencies::new();
        let mut exit = Exit::Success;
        for number in 1..=arguments.count {
            match tokio::time::timeout(PATIENCE, client.ping()).await {
                Ok(Ok(time)) => {
                    times.record(time);
                    print(&format!("round trip {number}: {:.3} ms", time.as_secs_f64() * 1e3));
                }
                Ok(Err(error)) => {
                    complain(&error.to_string());
                    exit = Exit::of(&error);
                }
                Err(_) => {
                    complain("no answer in time");
                    exit = Exit::Connection;
                }
            }
        }
        if exit == Exit::Success {
            print(&times.to_text());
        }
        client.disconnect_within(Duration::from_secs(1)).await;
        exit
    })
}
