//! An application of your own with typed payloads, on three members, whose leader is killed meanwhile.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::io::Write;

use serde::{Deserialize, Serialize};
use zraft_client::{Json, RaftClient, TypedClient};
use zraft_test_server::{
    AppSnapshot, Application, Command, Context, KillLoss, Payload, QueryContext, Rejected,
    RestoreError, SnapshotInput, TestCluster,
};

#[derive(Serialize, Deserialize)]
struct Add {
    add: u64,
}

#[derive(Serialize, Deserialize)]
struct Sum {}

/// Commands and queries are answered by the sum.
type Counting = Json<Add, u64, Sum, u64>;

/// The state machine: the cluster applies each command once on every member.
#[derive(Clone, Default)]
struct Counter {
    sum: u64,
}

impl Application for Counter {
    fn apply(&mut self, _: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
        // Never panic: what comes from a client may be anything.
        let Ok(Add { add }) = serde_json::from_slice(command.payload()) else {
            return Err(Rejected::with_answer(text("not a number to add")));
        };
        self.sum = self.sum.wrapping_add(add);
        Ok(text(self.sum))
    }

    fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
        Ok(text(self.sum))
    }

    fn snapshot(&self) -> AppSnapshot {
        let sum = self.sum;
        AppSnapshot::new(move |out| out.write_all(&sum.to_be_bytes()))
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self { sum: u64::from_be_bytes(input.read_array()?) })
    }
}

fn text(value: impl ToString) -> Payload {
    Payload::new(value.to_string()).unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = TestCluster::builder().members(3).app(Counter::default()).start().await?;
    let client =
        RaftClient::builder().members(cluster.endpoints()).capability("role", "example").build()?;
    client.connect().await?;
    let counter = TypedClient::<Counting>::new(client.clone());

    let adds: Vec<Add> = (1..=1_000).map(|add| Add { add }).collect();
    let mut outcomes = counter.submit_commands(&adds)?;
    // The leader executes everything that it has, answers nothing of it, and dies.
    let leader = cluster.leader_elected().await;
    outcomes.next().await.ok_or("a first outcome")??;
    cluster.kill(leader.as_str(), KillLoss::Unanswered).await?;
    while let Some(outcome) = outcomes.next().await {
        outcome?;
    }
    let sum = counter.submit_query(&Sum {}).await?;
    println!("the sum of 1 to 1,000 is {sum}: each command ran once, though {leader} was killed");
    assert_eq!(sum, 500_500);

    client.disconnect().await;
    cluster.shutdown().await;
    Ok(())
}
