//! Passes the linker options of a Node addon to cargo.

fn main() {
    napi_build::setup();
}
