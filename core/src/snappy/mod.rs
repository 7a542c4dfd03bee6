//! Snappy block format: streaming decoder and resumable encoder, no buffers of their own.
