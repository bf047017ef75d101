use super::cluster::{Cluster, id};

/// Sends this many entries of 256 KiB past a member that is cut off. A leader keeps 32 of them in memory.
fn leave_behind(cluster: &mut Cluster, number: u64, entries: usize) -> usize {
    cluster.isolate(number);
    let text = "x".repeat(256 << 10);
    for _ in 0..entries {
        cluster.propose(1, &text);
        cluster.run(1);
    }
    cluster.heal();
    entries
}

#[test]
fn a_member_that_lags_a_little_is_served_from_memory() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let sent = leave_behind(&mut cluster, 3, 24);
    cluster.run(60);
    assert_eq!(cluster.texts(3).len(), sent);
    assert!(cluster.node(1).fetches.is_empty(), "no disk read");
}

#[test]
fn a_lagging_member_is_served_from_the_disk() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let sent = leave_behind(&mut cluster, 3, 48);
    assert!(cluster.engine(1).memory() < 10 << 20, "memory is bounded");
    cluster.run(20);
    assert!(!cluster.node(1).fetches.is_empty());
    assert!(cluster.texts(3).len() < sent);
    let mut reads = 0;
    while cluster.texts(3).len() < sent {
        assert!(cluster.node(1).fetches.len() <= 1, "one read at a time");
        reads += cluster.node(1).fetches.len();
        cluster.serve_fetches(1);
        cluster.run(1);
        assert!(reads < 200);
    }
    assert_eq!(cluster.leader(), Some(1));
}

#[test]
fn entries_that_the_store_read_back_go_to_the_lagging_member_alone() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    leave_behind(&mut cluster, 3, 48);
    while cluster.node(1).fetches.is_empty() {
        cluster.run(1);
    }
    cluster.sent.clear();
    cluster.serve_fetches(1);
    assert!(!cluster.sent.is_empty());
    assert!(cluster.sent.iter().all(|(_, to, _)| *to == id(3)));
}

#[test]
fn entries_that_were_not_asked_for_are_not_used() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let sent = leave_behind(&mut cluster, 3, 48);
    cluster.run(20);
    let (low, high) = cluster.node(1).fetches[0];
    let mut wrong = cluster.node(1).disk.read(low, high);
    wrong[0].term += 1;
    cluster.engine(1).fetched(low, &wrong).expect("it goes on");
    cluster.collect(1);
    cluster.run(20);
    assert!(cluster.texts(3).len() < sent);
    assert_eq!(cluster.node(3).stopped, None);
}

#[test]
fn a_member_below_the_log_gets_a_snapshot_and_goes_on_after_a_failed_transfer() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    for text in ["a", "b", "c"] {
        cluster.propose(1, text);
        cluster.run(1);
    }
    let snapshot = cluster.snapshot(1);
    cluster.heal();
    cluster.run(10);
    assert_eq!(cluster.snapshots.len(), 1);
    // The first transfer fails; the report lets the leader try again.
    cluster.isolate(3);
    cluster.deliver_snapshots();
    cluster.heal();
    cluster.run(20);
    assert_eq!(cluster.snapshots.len(), 1);
    cluster.deliver_snapshots();
    cluster.propose(1, "d");
    cluster.run(10);
    assert_eq!(cluster.texts(3), ["d"]);
    assert!(cluster.node(3).configured.contains(&snapshot.index));
    // It starts again from the snapshot.
    cluster.restart(3, 9);
    cluster.propose(1, "e");
    cluster.run(10);
    assert_eq!(cluster.texts(3), ["d", "e"]);
}

#[test]
fn a_member_installs_a_snapshot_while_a_write_is_under_way() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    for text in ["a", "b"] {
        cluster.propose(1, text);
        cluster.run(1);
    }
    cluster.snapshot(1);
    cluster.heal();
    cluster.node(3).fast_disk = false;
    cluster.run(10);
    cluster.deliver_snapshots();
    // Nothing of it is in force before it is durable.
    assert!(cluster.node(3).configured.is_empty());
    cluster.tick(3, 100);
    for _ in 0..5 {
        cluster.finish_write(3);
        cluster.run(2);
    }
    cluster.propose(1, "c");
    for _ in 0..5 {
        cluster.finish_write(3);
        cluster.run(2);
    }
    assert_eq!(cluster.texts(3), ["c"]);
}

#[test]
fn a_snapshot_keeps_the_term_below_the_first_index() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.run(3);
    let snapshot = cluster.snapshot(1);
    let boot = cluster.node(1).disk.boot();
    assert_eq!(boot.check(), Ok(()));
    assert_eq!(boot.terms.first(), Some(&(snapshot.index, snapshot.term)));
    assert!(boot.hard_state.commit >= snapshot.index);
    cluster.restart(1, 9);
    cluster.run(100);
    let leader = cluster.leader().expect("a leader");
    cluster.propose(leader, "b");
    cluster.run(6);
    for number in 1..=3 {
        assert_eq!(cluster.texts(number), ["a", "b"]);
    }
}
