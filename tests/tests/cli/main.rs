//! The `devp2p` program from outside: arguments, output, exit status.
mod bench;
mod demo;
mod key;
mod listen;
mod ping;
mod run;
mod strangers;
mod unread;
mod usage;
