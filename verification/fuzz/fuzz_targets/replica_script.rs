#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| zraft_simulation::fuzz::replica_script(input));
