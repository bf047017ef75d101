//! Tests of the replica through its public face.

mod peer_codec;
