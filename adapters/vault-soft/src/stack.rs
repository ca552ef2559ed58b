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

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};

    const PATTERN: u8 = 0xC5;

    /// Fills a frame deep down and says where it was.
    #[inline(never)]
    fn deep(depth: usize) -> usize {
        let mut frame = [0_u8; 1024];
        if depth > 0 {
            return deep(depth - 1);
        }
        black_box(&mut frame).fill(PATTERN);
        black_box(&frame).as_ptr().addr()
    }

    fn still_there(address: usize) -> bool {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; 1024];
        std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, address as u64).unwrap();
        bytes.iter().filter(|byte| **byte == PATTERN).count() > 64
    }

    #[test]
    fn what_lay_on_the_stack_is_gone() {
        assert!(still_there(black_box(deep(10))), "the test sees what is not wiped");
        assert!(!still_there(with_clean_stack(|| black_box(deep(10)))));
    }

    #[test]
    fn a_panic_wipes_too_and_goes_on() {
        let place = AtomicUsize::new(0);
        let work = || {
            with_clean_stack(|| {
                place.store(deep(10), Ordering::Relaxed);
                resume_unwind(Box::new("planted"));
            })
        };
        let panic = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"planted"));
        assert!(!still_there(place.load(Ordering::Relaxed)));
    }
}
