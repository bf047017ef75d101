//! Server requests while their consumers change.

use shuttle::future;

use super::rig::{client, connected, in_many_orders, push};
use crate::{AckServerRequests, sync::lock};

#[test]
fn server_requests_are_delivered_once_and_in_order_to_successive_consumers() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let pushing = cluster.clone();
            let pushing = future::spawn(async move {
                for number in 1..=4 {
                    push(&pushing, &format!("request {number}"));
                    future::yield_now().await;
                }
            });
            let mut taken = Vec::new();
            for _ in 0..2 {
                let mut requests = client.server_requests().unwrap();
                for _ in 0..2 {
                    let request = requests.next().await.unwrap();
                    taken.push((request.request_id.get(), request.payload));
                }
            }
            let expected = (1..=4).map(|number| (number, format!("request {number}").into()));
            assert_eq!(taken, expected.collect::<Vec<_>>());
            pushing.await.unwrap();
        });
    });
}

#[test]
fn unacknowledged_request_is_delivered_again_before_the_next() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) =
                client(|builder| builder.ack_server_requests(AckServerRequests::Handled));
            client.connect().await.unwrap();
            let mut requests = client.server_requests().unwrap();
            let pushing = cluster.clone();
            let pushing = future::spawn(async move {
                push(&pushing, "first");
                push(&pushing, "second");
            });
            let first = requests.next().await.unwrap();
            assert_eq!(first.request_id.get(), 1);
            let dropping = future::spawn(async move { drop(first) });
            let again = requests.next().await.unwrap();
            assert_eq!(again.request_id.get(), 1);
            again.acknowledge();
            let second = requests.next().await.unwrap();
            assert_eq!(second.request_id.get(), 2);
            second.acknowledge();
            dropping.await.unwrap();
            pushing.await.unwrap();
            assert_eq!(lock(&cluster).sessions(), 1);
        });
    });
}

#[test]
fn stream_ends_when_the_client_is_dropped() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let mut requests = client.server_requests().unwrap();
            push(&cluster, "request");
            let dropping = future::spawn(async move { drop(client) });
            // The request is delivered before the end, or lost with the client.
            while requests.next().await.is_some() {}
            dropping.await.unwrap();
        });
    });
}
