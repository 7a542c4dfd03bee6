//! The RLP reader and writer needed here, over borrowed slices.
