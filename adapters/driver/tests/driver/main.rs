//! Both drivers on a store in memory and a machine that adds numbers.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod host;
mod single;
mod support;
