//! Submissions that wait for room in the queue.

use std::{future::IntoFuture, task::Poll};

use shuttle::future;

use super::rig::{client, ended, in_many_orders};
use crate::sync::lock;

#[test]
fn all_waiting_submissions_get_room_though_one_is_dropped() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = client(|builder| builder.max_queued(1).max_in_flight(1));
            client.connect().await.unwrap();
            let tasks: Vec<_> = (0..3)
                .map(|number| {
                    let client = client.clone();
                    future::spawn(async move {
                        let command = format!("command {number}");
                        assert_eq!(client.submit_command(command.clone()).await.unwrap(), command);
                    })
                })
                .collect();
            let dropping = client.clone();
            let dropping = future::spawn(async move {
                let mut submission = dropping.submit_command("dropped").into_future();
                std::future::poll_fn(|context| {
                    let _ = std::pin::Pin::new(&mut submission).poll(context);
                    Poll::Ready(())
                })
                .await;
            });
            client.ready().await;
            for task in tasks {
                task.await.unwrap();
            }
            dropping.await.unwrap();
            // All room is free again.
            client.ready().await;
            assert_eq!(client.submit_command("last").await.unwrap(), "last");
            drop(client);
            ended(&cluster, 1).await;
            let cluster = lock(&cluster);
            assert!((0..3).all(|number| cluster.executed(&format!("command {number}")) == 1));
            assert!(cluster.executed("dropped") <= 1);
        });
    });
}
