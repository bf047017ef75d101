//! Builds libzmq, which comes with `zeromq-src`, with its draft sockets.

fn main() {
    zeromq_src::Build::new().enable_draft(true).build();
}
