//! RLPx: the encrypted, authenticated transport.
