//! Tests of the replica through its public face.

mod handshake_codec;
mod peer_codec;
