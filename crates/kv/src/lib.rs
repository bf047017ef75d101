//! The payloads of the ZIO Raft key-value store, and a typed client.
