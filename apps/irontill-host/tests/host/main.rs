//! The host as a whole: real TLS, real keys, real store; terminals and a personalisation bureau written for the test.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod bureau;
mod faults;
mod kill;
mod money;
mod operators;
mod system;
mod terminal;
mod throughput;
