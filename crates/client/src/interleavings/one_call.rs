//! The place where one answer is handed over: every order there is, not only many.

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
    calls::{Calls, Leaving, Polled},
    sync::{Mutex, lock},
};

#[test]
fn an_answer_always_reaches_who_waits_for_it() {
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
            assert_eq!(lock(&calls).open(1).index(), 0, "the place is free again");
        },
        None,
    );
}

#[test]
fn one_who_leaves_is_told_whether_the_answer_was_still_to_come_and_his_place_is_free_after_it() {
    let (early, late) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (before, after) = (early.clone(), late.clone());
    shuttle::check_dfs(
        move || {
            let calls = Arc::new(Mutex::new(Calls::default()));
            let id = lock(&calls).open(0);
            let driver = calls.clone();
            let driver = thread::spawn(move || {
                let waker = lock(&driver).answer(id, Ok("answer".into()));
                waker.into_iter().for_each(Waker::wake);
            });
            let counter = match lock(&calls).leave(id) {
                Leaving::Early { .. } => &before,
                Leaving::Done { .. } => &after,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            driver.join().unwrap();
            assert_eq!(lock(&calls).open(1).index(), 0);
        },
        None,
    );
    // Both orders were tried.
    assert!(early.load(Ordering::Relaxed) > 0 && late.load(Ordering::Relaxed) > 0);
}
