//! Leaves no secrets behind on the stack.
//!
//! A key that is moved leaves a copy in the frame that it came from, and the cryptographic library's assembly spills
//! registers; no `Drop` reaches either. So whatever works with keys runs below a frame that overwrites the stack beneath
//! it when the work is done, by return or by panic.

use core::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What is overwritten: deeper than any command reaches (proved by scanning the memory of the running process).
const STACK_BYTES: usize = 64 * 1024;

/// Does `work`, then overwrites the stack that it used. A panic goes on behind that.
pub fn with_clean_stack<R>(work: impl FnOnce() -> R) -> R {
    let outcome = catch_unwind(AssertUnwindSafe(|| apart(work)));
    overwrite();
    match outcome {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
    }
}

/// Its own frames, below that of the caller.
#[inline(never)]
fn apart<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn overwrite() {
    let mut room = [0_u8; STACK_BYTES];
    // The compiler must believe that somebody reads it.
    black_box(&mut room);
}
