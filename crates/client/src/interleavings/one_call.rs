//! The slot of one call, in every possible order of its two threads.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use shuttle::{future, thread};

use crate::{
    shared::calls::{Calls, DroppedCall, Polled},
    sync::{Mutex, lock},
};

#[test]
fn answer_always_reaches_the_waiting_future() {
    shuttle::check_dfs(
        || {
            let calls = Arc::new(Mutex::new(Calls::default()));
            let id = lock(&calls).open(0);
            let driver = calls.clone();
            let driver = thread::spawn(move || {
                let waker = lock(&driver).answer(id, Ok("answer".into()));
                waker.into_iter().for_each(Waker::wake);
            });
            let answer =
                future::block_on(poll_fn(|context| match lock(&calls).poll(id, context.waker()) {
                    Polled::Pending { .. } => Poll::Pending,
                    Polled::Answered(answer) => Poll::Ready(answer),
                    Polled::Failed(error) => panic!("{error}"),
                }));
            assert_eq!(answer, "answer");
            driver.join().unwrap();
            assert_eq!(lock(&calls).open(1).index(), 0, "the slot is free again");
        },
        None,
    );
}

#[test]
fn dropped_call_reports_whether_the_answer_had_arrived_and_frees_its_slot() {
    let (waiting, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (saw_waiting, saw_answered) = (waiting.clone(), answered.clone());
    shuttle::check_dfs(
        move || {
            let calls = Arc::new(Mutex::new(Calls::default()));
            let id = lock(&calls).open(0);
            let driver = calls.clone();
            let driver = thread::spawn(move || {
                let waker = lock(&driver).answer(id, Ok("answer".into()));
                waker.into_iter().for_each(Waker::wake);
            });
            let counter = match lock(&calls).drop_call(id) {
                DroppedCall::Waiting { .. } => &saw_waiting,
                DroppedCall::Answered { .. } => &saw_answered,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            driver.join().unwrap();
            assert_eq!(lock(&calls).open(1).index(), 0);
        },
        None,
    );
    // Shuttle tried both orders.
    assert!(waiting.load(Ordering::Relaxed) > 0 && answered.load(Ordering::Relaxed) > 0);
}
