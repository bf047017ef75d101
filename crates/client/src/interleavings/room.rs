//! Waiting for room in the queue.

use std::{future::IntoFuture, task::Poll};

use shuttle::future;

use super::rig::{client, ended, in_many_orders};
use crate::sync::lock;

#[test]
fn those_who_wait_for_room_all_get_it_though_one_gives_up() {
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
            let giving_up = client.clone();
            let giving_up = future::spawn(async move {
                let mut submission = giving_up.submit_command("given up").into_future();
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
            giving_up.await.unwrap();
            // The room is all there again.
            client.ready().await;
            assert_eq!(client.submit_command("last").await.unwrap(), "last");
            drop(client);
            ended(&cluster, 1).await;
            let cluster = lock(&cluster);
            assert!((0..3).all(|number| cluster.executed(&format!("command {number}")) == 1));
            assert!(cluster.executed("given up") <= 1);
        });
    });
}
