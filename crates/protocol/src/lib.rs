//! Messages of the ZIO Raft client-server protocol and their bytes.
