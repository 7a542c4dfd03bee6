//! devp2p over std threads and sockets.
