//! The part of libzmq's interface that an echo needs.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    io,
};

/// `ZMQ_CLIENT`, a draft socket type.
const CLIENT: c_int = 13;
const SNDHWM: c_int = 23;
const RCVHWM: c_int = 24;
const LINGER: c_int = 17;
const DONTWAIT: c_int = 1;
const EAGAIN: c_int = 11;

/// A message, opaque.
#[repr(C, align(8))]
struct Message([u8; 64]);

unsafe extern "C" {
    fn zmq_ctx_new() -> *mut c_void;
    fn zmq_ctx_term(context: *mut c_void) -> c_int;
    fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    fn zmq_close(socket: *mut c_void) -> c_int;
    fn zmq_setsockopt(
        socket: *mut c_void,
        option: c_int,
        value: *const c_void,
        size: usize,
    ) -> c_int;
    fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    fn zmq_msg_init(message: *mut Message) -> c_int;
    fn zmq_msg_init_size(message: *mut Message, size: usize) -> c_int;
    fn zmq_msg_data(message: *mut Message) -> *mut c_void;
    fn zmq_msg_send(message: *mut Message, socket: *mut c_void, flags: c_int) -> c_int;
    fn zmq_msg_recv(message: *mut Message, socket: *mut c_void, flags: c_int) -> c_int;
    fn zmq_msg_close(message: *mut Message) -> c_int;
    fn zmq_errno() -> c_int;
}

fn last_error() -> io::Error {
    // SAFETY: reads the thread's error number.
    io::Error::from_raw_os_error(unsafe { zmq_errno() })
}

fn done(result: c_int) -> io::Result<()> {
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

pub struct Client {
    context: *mut c_void,
    socket: *mut c_void,
}

impl Client {
    pub fn connect(endpoint: &str) -> io::Result<Self> {
        let endpoint = CString::new(endpoint)?;
        // SAFETY: the context and the socket are closed in this order's reverse by `drop`, and used nowhere else.
        unsafe {
            let context = zmq_ctx_new();
            let socket = zmq_socket(context, CLIENT);
            let client = Self { context, socket };
            if socket.is_null() {
                return Err(last_error());
            }
            // No limits, so that nothing is dropped, and no linger, so that the process ends at once.
            for option in [SNDHWM, RCVHWM, LINGER] {
                let zero: c_int = 0;
                done(zmq_setsockopt(socket, option, (&raw const zero).cast(), size_of::<c_int>()))?;
            }
            done(zmq_connect(socket, endpoint.as_ptr()))?;
            Ok(client)
        }
    }

    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut message = Message([0; 64]);
        // SAFETY: the message is initialised with room for the bytes before they are copied; libzmq owns a sent message.
        unsafe {
            done(zmq_msg_init_size(&raw mut message, bytes.len()))?;
            let data = zmq_msg_data(&raw mut message).cast::<u8>();
            data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            done(zmq_msg_send(&raw mut message, self.socket, 0))
        }
    }

    pub fn receive(&self) -> io::Result<()> {
        self.receive_with(0).map(|_| ())
    }

    /// Receives a message if one has arrived. Returns false if there is none.
    pub fn try_receive(&self) -> io::Result<bool> {
        self.receive_with(DONTWAIT)
    }

    fn receive_with(&self, flags: c_int) -> io::Result<bool> {
        let mut message = Message([0; 64]);
        // SAFETY: the message is initialised before it is received into, and closed afterwards.
        unsafe {
            done(zmq_msg_init(&raw mut message))?;
            let received = zmq_msg_recv(&raw mut message, self.socket, flags);
            let error = zmq_errno();
            done(zmq_msg_close(&raw mut message))?;
            if received >= 0 {
                Ok(true)
            } else if error == EAGAIN {
                Ok(false)
            } else {
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: nothing uses them after this.
        unsafe {
            if !self.socket.is_null() {
                zmq_close(self.socket);
            }
            zmq_ctx_term(self.context);
        }
    }
}
