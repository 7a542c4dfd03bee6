//! devp2p on an Embassy executor.
#![no_std]
