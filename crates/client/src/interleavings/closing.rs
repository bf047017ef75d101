//! Disconnecting while other tasks submit, connect and drop their handles.

use shuttle::future;

use super::rig::{client, connected, ended, in_many_orders, stop};
use crate::{Error, StateName, sync::lock};

#[test]
fn submission_during_disconnect_is_answered_or_fails_and_a_failed_one_never_runs() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let other = client.clone();
            let other = future::spawn(async move {
                let mut results = Vec::new();
                for number in 0..3 {
                    let command = format!("command {number}");
                    results.push((command.clone(), other.submit_command(command).await));
                }
                results
            });
            client.disconnect().await;
            for (command, result) in other.await.unwrap() {
                let executed = lock(&cluster).executed(&command);
                match result {
                    Ok(answer) => assert_eq!((answer, executed), (command.into(), 1)),
                    Err(error) if !error.maybe_executed() => assert_eq!(executed, 0, "{error}"),
                    Err(_) => assert!(executed <= 1),
                }
            }
            assert_eq!(*client.state().borrow(), StateName::Disconnected);
            assert_eq!(lock(&cluster).sessions(), 0);
        });
    });
}

#[test]
fn drop_of_the_last_handle_closes_the_session_from_any_task() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let tasks: Vec<_> = (0..3)
                .map(|number| {
                    let client = client.clone();
                    future::spawn(async move {
                        if number > 0 {
                            let _ = client.submit_command(format!("command {number}")).await;
                        }
                    })
                })
                .collect();
            drop(client);
            for task in tasks {
                task.await.unwrap();
            }
            ended(&cluster, 1).await;
            let cluster = lock(&cluster);
            assert_eq!(cluster.sessions(), 0);
            assert!((1..3).all(|number| cluster.executed(&format!("command {number}")) == 1));
        });
    });
}

#[test]
fn request_in_flight_counts_as_a_handle() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let answer = client.try_submit_command("command").unwrap();
            let dropping = future::spawn(async move { drop(client) });
            assert_eq!(answer.await.unwrap(), "command");
            dropping.await.unwrap();
            ended(&cluster, 1).await;
            assert_eq!(lock(&cluster).sessions(), 0);
        });
    });
}

#[test]
fn connect_and_disconnect_from_different_threads_both_complete() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = client(|builder| builder);
            let connecting: Vec<_> = (0..2)
                .map(|_| {
                    let client = client.clone();
                    future::spawn(async move { client.connect().await })
                })
                .collect();
            let disconnecting = client.clone();
            let disconnecting = future::spawn(async move { disconnecting.disconnect().await });
            for task in connecting {
                match task.await.unwrap() {
                    Ok(()) | Err(Error::Closed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            disconnecting.await.unwrap();
            // The client can connect again after any of these orders.
            client.connect().await.unwrap();
            assert_eq!(client.submit_command("command").await.unwrap(), "command");
            let session = client.session_id().unwrap();
            client.disconnect().await;
            // A cancelled attempt may have left an orphan session, so only this one is checked.
            assert!(lock(&cluster).engine.session(&session).is_none());
        });
    });
}

#[test]
fn dropped_connect_gives_up_only_if_no_other_caller_waits() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = client(|builder| builder);
            let dropped = client.clone();
            let dropped = future::spawn(async move { drop(dropped.connect()) });
            client.connect().await.unwrap();
            dropped.await.unwrap();
            assert_eq!(client.submit_command("command").await.unwrap(), "command");
            let session = client.session_id().unwrap();
            drop(client);
            ended(&cluster, 1).await;
            assert!(lock(&cluster).engine.session(&session).is_none());
        });
    });
}

#[test]
fn no_caller_waits_on_when_the_drivers_runtime_ends() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            let tasks: Vec<_> = (0..2)
                .map(|number| {
                    let client = client.clone();
                    future::spawn(async move {
                        let command = format!("command {number}");
                        let result = client.submit_command(command.clone()).await;
                        (command, result)
                    })
                })
                .collect();
            let asking = client.clone();
            let asking = future::spawn(async move {
                let _ = asking.ping().await;
                asking.disconnect().await;
            });
            stop(&cluster);
            for task in tasks {
                let (command, result) = task.await.unwrap();
                let executed = lock(&cluster).executed(&command);
                match result {
                    Ok(_) => assert_eq!(executed, 1),
                    Err(error) if !error.maybe_executed() => assert_eq!(executed, 0, "{error}"),
                    Err(_) => {}
                }
            }
            asking.await.unwrap();
            ended(&cluster, 1).await;
            assert_eq!(*client.state().borrow(), StateName::Disconnected);
            // The next connect starts another driver.
            lock(&cluster).stop = false;
            client.connect().await.unwrap();
            assert_eq!(client.submit_command("again").await.unwrap(), "again");
        });
    });
}

#[test]
fn caller_that_finds_no_driver_finds_the_state_disconnected() {
    in_many_orders(|| {
        future::block_on(async {
            let (client, cluster) = connected().await;
            stop(&cluster);
            while !matches!(client.try_submit_command("early"), Err(Error::NotConnected)) {
                future::yield_now().await;
            }
            assert_eq!(*client.state().borrow(), StateName::Disconnected);
            assert!(client.session_id().is_none());
            // The old driver does not change the state of the next one.
            lock(&cluster).stop = false;
            client.connect().await.unwrap();
            ended(&cluster, 1).await;
            assert_eq!(*client.state().borrow(), StateName::Connected);
            assert!(client.session_id().is_some());
        });
    });
}
