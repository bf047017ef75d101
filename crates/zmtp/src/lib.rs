//! ZMTP 3.1 CLIENT and SERVER sockets without I/O.
