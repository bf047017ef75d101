//! Writes the seeds of the corpora, as the test data gives them: `cargo run -p zraft-simulation --example seed_corpora`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (target, name, bytes) in zraft_simulation::fuzz::seeds(&root.join("testdata"))? {
        let folder = root.join("verification/fuzz/corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{name}")), bytes)?;
    }
    Ok(())
}
