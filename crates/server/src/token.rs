//! The tokens of operators and clients, and the files that hold them.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    hint::black_box,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use zraft_store::{Disk, Folder};

use crate::{directory::random, reader::Source};

/// A longer file is not one of tokens.
const MAX_FILE: u64 = 1024;
/// The shortest token: 16 hexadecimal digits cannot be guessed through a port that answers a few thousand times a second.
const MIN_TOKEN: usize = 16;
/// Tokens that are valid at once: the old and the new one, while the new one is being handed out.
const MAX_TOKENS: usize = 2;

/// A token, which opens the admin port to an operator, or lets a client open a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A file with a token on a line, or two while the token is being changed.
///
/// All members of a cluster have the same tokens, so that one command can ask all of them, and a client can move.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

/// A token file that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is no such file.
    #[error(
        "{} does not exist: copy the file from another member's folder, or write 32 random hexadecimal digits to it", .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error(
        "{} must hold one or two tokens, each on its own line with at least {} visible ASCII characters",
        .path.display(), MIN_TOKEN
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
}

impl Token {
    /// Draws a new token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> io::Result<Self> {
        let bytes = [random()?, random()?];
        Ok(Self(bytes.iter().flatten().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Returns the token, for the header `Authorization: Bearer`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the text is this token. The time that it takes does not depend on the characters.
    fn is(&self, text: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let pairs = own.iter().zip(text);
        // The optimiser must not end the loop at the first difference.
        let differences = pairs.fold(0, |all, (own, given)| black_box(all | (own ^ given)));
        own.len() == text.len() && differences == 0
    }

    fn read(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && text.len() >= MIN_TOKEN).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    /// Does not show the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl TokenFile {
    /// The name of the admin port's file in a data directory.
    pub const NAME: &str = "admin.token";

    /// Returns a token file. Nothing is read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads the valid tokens: one or two.
    ///
    /// # Errors
    /// [`TokenError`], whose text names the remedy.
    pub fn read(&self) -> Result<Vec<Token>, TokenError> {
        let path = || self.path.clone();
        let mut text = String::new();
        let file = File::open(&self.path);
        let read = file.and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TokenError::Missing { path: path() });
            }
            // It is not UTF-8.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(TokenError::Content { path: path() });
            }
            Err(error) => return Err(self.failed(error)),
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let tokens: Option<Vec<_>> = lines.map(Token::read).collect();
        let few = |tokens: &Vec<_>| (1..=MAX_TOKENS).contains(&tokens.len());
        let tokens = tokens.filter(few).filter(|_| text.len() as u64 <= MAX_FILE);
        tokens.ok_or_else(|| TokenError::Content { path: path() })
    }

    /// Writes a new random token, which only the owner of the file may read, unless the file exists. The folder is made
    /// if it does not exist.
    ///
    /// # Errors
    /// [`TokenError::Io`].
    pub fn create_if_missing(&self) -> Result<(), TokenError> {
        match self.path.symlink_metadata() {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.failed(error)),
        }
        self.create(&Token::random().map_err(|error| self.failed(error))?)
    }

    /// Writes a token, which only the owner of the file may read. The folder is made if it does not exist.
    ///
    /// # Errors
    /// [`TokenError::Io`]; the file must not exist.
    pub fn create(&self, token: &Token) -> Result<(), TokenError> {
        self.create_all(std::slice::from_ref(token))
    }

    /// Writes tokens, one or two, as [`create`](Self::create) does.
    ///
    /// # Errors
    /// [`TokenError::Io`]; the file must not exist.
    pub fn create_all(&self, tokens: &[Token]) -> Result<(), TokenError> {
        self.write(tokens).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> TokenError {
        TokenError::Io { path: self.path.clone(), error: Arc::new(error) }
    }

    fn write(&self, tokens: &[Token]) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| *parent != Path::new(""));
        let folder = Folder::create(parent.unwrap_or(Path::new(".")))?;
        if self.path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // A crash leaves no half of a token under the name.
        let partial = self.path.with_extension("partial");
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        // Never a file or a link of someone else, which others could read.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&partial)?;
        let lines: String = tokens.iter().map(|token| format!("{}\n", token.as_str())).collect();
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &self.path)?;
        folder.sync()
    }
}

/// A token file that a member reads again while it runs.
#[derive(Debug)]
pub(crate) struct TokenSource {
    pub(crate) file: TokenFile,
    /// Whose tokens they are, such as `client tokens`.
    pub(crate) name: &'static str,
    /// Who needs a changed token.
    pub(crate) changed: &'static str,
}

impl Source for TokenSource {
    type Content = Vec<Token>;
    type Value = Vec<Token>;
    type Error = TokenError;

    fn name(&self) -> &'static str {
        self.name
    }

    fn changed(&self) -> &'static str {
        self.changed
    }

    fn read(&self) -> Result<Vec<Token>, TokenError> {
        self.file.read()
    }

    fn check(&self, content: &Vec<Token>) -> Result<Vec<Token>, TokenError> {
        Ok(content.clone())
    }

    fn failed(&self, error: io::Error) -> TokenError {
        self.file.failed(error)
    }
}

/// Returns true if the text is one of the tokens.
pub(crate) fn is_one_of(tokens: &[Token], text: &[u8]) -> bool {
    // All are compared, so that the time does not show which one is valid.
    tokens.iter().filter(|token| token.is(text)).count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> (tempfile::TempDir, TokenFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(TokenFile::NAME);
        fs::write(&path, text).expect("it is written");
        (folder, TokenFile::new(path))
    }

    #[test]
    fn one_or_two_tokens_are_read() {
        let (_folder, one) = file(b"0123456789abcdef\n");
        assert_eq!(one.read().expect("valid"), [Token("0123456789abcdef".to_owned())]);
        let (_folder, two) = file(b"0123456789abcdef\r\n\nfedcba9876543210");
        let tokens = two.read().expect("valid");
        assert!(tokens[0].is(b"0123456789abcdef") && tokens[1].is(b"fedcba9876543210"));
    }

    #[test]
    fn files_of_something_else_are_refused() {
        let three = b"0123456789abcdef\n0123456789abcdef\n0123456789abcdef\n";
        let long = vec![b'a'; 2000];
        for text in
            [&b""[..], b"short", b"0123456789 abcdef", b"\xFF\xFE0123456789abcdef", three, &long]
        {
            let (_folder, wrong) = file(text);
            let error = wrong.read().expect_err("it is refused");
            assert!(matches!(error, TokenError::Content { .. }), "{error}");
        }
        let missing = TokenFile::new("/nowhere/admin.token").read().expect_err("it is missing");
        assert!(missing.to_string().contains("copy the file"), "{missing}");
    }

    #[test]
    fn token_is_neither_a_part_of_itself_nor_shown() {
        let token = Token("0123456789abcdef".to_owned());
        assert!(token.is(b"0123456789abcdef"));
        for wrong in [&b""[..], b"0123456789abcde", b"0123456789abcdef0", b"0123456789abcdeF"] {
            assert!(!token.is(wrong));
        }
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn new_tokens_differ_are_private_and_replace_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ["a", "b"].map(|name| TokenFile::new(folder.path().join(name).join("token")));
        let tokens = files.each_ref().map(|file| {
            file.create_if_missing().expect("it is written");
            let token = file.read().expect("valid");
            file.create_if_missing().expect("it exists");
            assert_eq!(file.read().expect("valid"), token);
            assert!(file.create(&token[0]).is_err());
            let both = [token[0].clone(), Token::random().expect("random numbers")];
            let second = TokenFile::new(file.path.with_extension("both"));
            second.create_all(&both).expect("it is written");
            assert_eq!(second.read().expect("valid"), both);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(&file.path).expect("it exists").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            token
        });
        assert_ne!(tokens[0], tokens[1]);
    }
}
