//! Everything on one machine, and the engineer's tools.
