//! Reads lines of limited length.

use std::io::{self, BufRead, Read};

/// Calls `each` with every line that is not empty, trimmed. For a line that is too long or not UTF-8, calls `each` with an
/// error and continues with the next line.
///
/// # Errors
/// The error of the input or of `each`.
pub fn for_each(
    mut input: impl BufRead,
    limit: usize,
    mut each: impl FnMut(Result<&str, String>) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        // Read one byte more than the limit, to tell a line that is too long from one that just fits.
        let most = (limit as u64).saturating_add(1);
        let read = input.by_ref().take(most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        let ended = line.last() == Some(&b'\n');
        if !ended && line.len() > limit {
            line = Vec::new();
            input.skip_until(b'\n')?;
            each(Err(format!("the line is longer than {limit} bytes")))?;
            continue;
        }
        match std::str::from_utf8(&line).map(str::trim) {
            Ok("") => {}
            Ok(text) => each(Ok(text))?,
            Err(_) => each(Err("not UTF-8".to_owned()))?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8], limit: usize) -> Vec<Result<String, String>> {
        let mut lines = Vec::new();
        for_each(input, limit, |line| {
            lines.push(line.map(str::to_owned));
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn lines_are_trimmed_and_the_last_needs_no_end() {
        let lines = read(b" one \r\n\n\t\ntwo", 100);
        assert_eq!(lines, [Ok("one".to_owned()), Ok("two".to_owned())]);
    }

    #[test]
    fn overlong_line_is_an_error_and_the_next_line_is_read() {
        let lines = read(b"12345\n123456\n1\n1234567", 5);
        assert_eq!(lines.len(), 4);
        assert_eq!((&lines[0], &lines[2]), (&Ok("12345".to_owned()), &Ok("1".to_owned())));
        assert!(lines[1].is_err() && lines[3].is_err());
    }

    #[test]
    fn line_that_is_not_utf_8_is_an_error_and_the_next_line_is_read() {
        assert_eq!(read(b"\xff\nx", 5), [Err("not UTF-8".to_owned()), Ok("x".to_owned())]);
    }
}
