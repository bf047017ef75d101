//! The rules of the cluster, under virtual time.

mod application;
mod binding;
mod dedup;
mod expiry;
mod followers;
mod incidents;
mod journal;
mod kv_store;
mod leadership;
mod limits;
mod log;
mod obedient;
mod rig;
mod server_requests;
mod switches;
