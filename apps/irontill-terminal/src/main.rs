//! The terminal: till, PED, reader, link.

fn main() {}
