//! Submissions from several threads, some of them dropped.

use std::{future::IntoFuture, task::Poll};

use shuttle::future;

use super::rig::{connected, ended, in_many_orders};
use crate::sync::lock;

#[test]
fn requests_of_several_threads_get_their_own_answers_and_run_once() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let tasks: Vec<_> = (0..3)
                .map(|number| {
                    let client = client.clone();
                    future::spawn(async move {
                        let command = format!("command {number}");
                        let answer = client.submit_command(command.clone()).await.unwrap();
                        assert_eq!(answer, command);
                        let query = format!("query {number}");
                        assert_eq!(client.submit_query(query.clone()).await.unwrap(), query);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            for number in 0..3 {
                assert_eq!(lock(&cluster).executed(&format!("command {number}")), 1);
            }
            drop(client);
            ended(&cluster, 1).await;
            assert_eq!(lock(&cluster).sessions(), 0, "the session is closed in order");
        });
    });
}

#[test]
fn commands_of_a_batch_get_their_own_answers_in_order_and_run_once() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let single = client.clone();
            let single = future::spawn(async move { single.submit_command("single").await });
            let commands = (0..3).map(|number| format!("command {number}"));
            let mut outcomes = client.submit_commands(commands.clone());
            for command in commands.clone() {
                assert_eq!(outcomes.next().await.unwrap().unwrap(), command);
            }
            assert!(outcomes.next().await.is_none());
            assert_eq!(single.await.unwrap().unwrap(), "single");
            for command in commands {
                assert_eq!(lock(&cluster).executed(&command), 1);
            }
            drop((client, outcomes));
            ended(&cluster, 1).await;
        });
    });
}

#[test]
fn dropped_batch_runs_each_command_at_most_once_and_disturbs_no_other() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let dropping = client.clone();
            let dropping = future::spawn(async move {
                let commands = (0..3).map(|number| format!("dropped {number}"));
                let mut outcomes = dropping.submit_commands(commands);
                let _first = outcomes.next().await;
            });
            assert_eq!(client.submit_command("kept").await.unwrap(), "kept");
            dropping.await.unwrap();
            assert_eq!(client.submit_command("last").await.unwrap(), "last");
            drop(client);
            ended(&cluster, 1).await;
            let cluster = lock(&cluster);
            assert!((0..3).all(|number| cluster.executed(&format!("dropped {number}")) <= 1));
            assert_eq!(cluster.executed("kept"), 1);
        });
    });
}

#[test]
fn dropped_request_runs_at_most_once_and_disturbs_no_other() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let dropping = client.clone();
            let dropping = future::spawn(async move {
                for number in 0..3 {
                    let mut submission =
                        dropping.submit_command(format!("dropped {number}")).into_future();
                    // The number of polls varies, so that the request is dropped at different stages.
                    let mut polls = number;
                    std::future::poll_fn(|context| {
                        let ready = std::pin::Pin::new(&mut submission).poll(context).is_ready();
                        if ready || polls == 0 {
                            return Poll::Ready(());
                        }
                        polls -= 1;
                        context.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .await;
                    drop(submission);
                }
            });
            for number in 0..2 {
                let command = format!("kept {number}");
                assert_eq!(client.submit_command(command.clone()).await.unwrap(), command);
                assert_eq!(lock(&cluster).executed(&command), 1);
            }
            dropping.await.unwrap();
            drop(client);
            ended(&cluster, 1).await;
            let cluster = lock(&cluster);
            assert!((0..3).all(|number| cluster.executed(&format!("dropped {number}")) <= 1));
        });
    });
}

#[test]
fn dropped_answer_is_not_executed_after_a_later_request() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let answer = client.try_submit_command("early").unwrap();
            let other = client.clone();
            let other = future::spawn(async move { other.submit_command("other").await });
            drop(answer);
            assert_eq!(other.await.unwrap().unwrap(), "other");
            // The other request was answered, so the driver has dealt with the dropped one, which came before.
            let before = lock(&cluster).executed("early");
            assert_eq!(client.submit_command("last").await.unwrap(), "last");
            assert_eq!(lock(&cluster).executed("early"), before);
        });
    });
}
