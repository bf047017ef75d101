//! An embedded ZIO Raft server and cluster to test clients against.
