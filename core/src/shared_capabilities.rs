//! Which subprotocols a session has, and where their codes begin.
