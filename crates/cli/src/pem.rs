//! Files in PEM form.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The longest file: the list of public CAs that systems carry is about a quarter of a mebibyte.
const MAX_FILE: u64 = 4 << 20;

/// Reads a file with certificates or a key.
///
/// # Errors
/// The file is longer than 4 MiB, or an error of the file system. The text does not name the file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file that is too long from one that just fits.
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "longer than {MAX_FILE} bytes: give a file in PEM form"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_longer_than_the_limit_is_refused_and_one_that_fits_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let file = File::create(&path).unwrap();
        file.set_len(MAX_FILE).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, MAX_FILE);
        file.set_len(MAX_FILE + 1).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with("longer than 4194304 bytes"), "{error}");
    }
}
