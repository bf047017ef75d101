//! The bytes of one client's connection: a socket, and TLS around them if the port has a certificate.
//!
//! TLS runs in memory here, between the connection's own buffers and the socket. So the task of the connection reads,
//! writes and waits in the same way with TLS and without.

use std::{
    io::{self, BufRead, IoSlice, Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use bytes::BytesMut;
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
};
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<Session>>,
}

/// One TLS connection.
#[derive(Debug)]
struct Session {
    tls: ServerConnection,
    /// The last record has been written into the TLS connection.
    ended: bool,
}

/// The socket as rustls reads and writes it: an operation that would wait fails.
struct Socket<'s>(&'s TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let tls = match tls {
            Some(config) => {
                let tls = ServerConnection::new(config).map_err(io::Error::other)?;
                Some(Box::new(Session { tls, ended: false }))
            }
            None => None,
        };
        Ok(Self { socket, tls })
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    /// Appends what has arrived to the buffer, and returns how many bytes. Zero means that the client has ended its side
    /// of the stream.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing has arrived. If TLS fails, the error holds that of rustls, and the alert
    /// for the client is written.
    pub(super) fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let Some(session) = &mut self.tls else { return self.socket.try_read_buf(buffer) };
        loop {
            let mut reader = session.tls.reader();
            match reader.fill_buf() {
                Ok(bytes) => {
                    let count = bytes.len();
                    buffer.extend_from_slice(bytes);
                    reader.consume(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            session.tls.read_tls(&mut Socket(&self.socket))?;
            if let Err(error) = session.tls.process_new_packets() {
                // The alert says why. It is lost if the socket takes nothing now.
                let _ = session.flush(&self.socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Returns true if [`try_read`](Self::try_read) returns something although the socket may have nothing.
    pub(super) fn has_received(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|session| session.tls.reader().fill_buf().is_ok())
    }

    /// Returns how many bytes were taken. TLS holds some of them back until [`try_flush`](Self::try_flush).
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing can be taken now.
    pub(super) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(session) = &mut self.tls else { return self.socket.try_write_vectored(slices) };
        let taken = session.tls.writer().write_vectored(slices)?;
        if taken > 0 {
            return Ok(taken);
        }
        session.flush(&self.socket)?;
        match session.tls.writer().write_vectored(slices)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    /// Writes what TLS holds back.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the socket does not take all of it now.
    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(session) => session.flush(&self.socket),
            None => Ok(()),
        }
    }

    /// Tells the client that nothing follows, and writes what TLS holds back. Returns true once all of it is written.
    pub(super) fn finish(&mut self) -> bool {
        if let Some(session) = &mut self.tls
            && !session.ended
        {
            session.ended = true;
            session.tls.send_close_notify();
        }
        self.try_flush().is_ok()
    }

    /// Returns true if bytes wait for the socket, when this many wait for the stream.
    pub(super) fn wants_write(&self, waiting: usize) -> bool {
        match &self.tls {
            // During the handshake, only what TLS itself has to say can be written.
            Some(session) => {
                session.tls.wants_write() || (waiting > 0 && !session.tls.is_handshaking())
            }
            None => waiting > 0,
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }
}

impl Session {
    fn flush(&mut self, socket: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
