//! Memory for secrets: pages that nobody but this process can read, between guard pages, wiped when they are given back.
//!
//! The pages come from `memfd_secret(2)` where the kernel has it: they are taken out of the kernel's own map, so that
//! neither `/proc/PID/mem`, a core dump, swap nor a sleeping machine's image ever holds them. Elsewhere they are locked,
//! kept out of core dumps and of children. Many small secrets share a region, because a terminal laboratory opens
//! thousands of vaults in one process and every region costs the kernel three mappings and a locked page.
//!
//! The only file of this crate with `unsafe` code.
#![allow(unsafe_code, reason = "mapping pages and lending them to the C library; each block says why it is sound")]

use core::ffi::{c_char, c_int, c_void};
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroize;

use crate::stack::with_clean_stack;

/// Smallest piece that is handed out, and the alignment of each.
const SLOT_BYTES: usize = 64;
/// Usable bytes of a region; a larger secret gets a region of its own.
const REGION_BYTES: usize = 64 * 1024;
/// Larger than any key or key context; a larger request is refused.
const SECRET_BYTES_MAX: usize = 1 << 24;
/// Mark of a slot that is free.
const FREE: u32 = 0;
/// Mark of a slot that continues the one before.
const CONTINUED: u32 = u32::MAX;

/// How well the system protects pages with secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretMemory {
    /// Ordinary pages, because the system refused to lock more. They may be swapped, but not dumped or inherited.
    Plain,
    /// Locked pages: never swapped, dumped or inherited. Root can read them.
    Locked,
    /// `memfd_secret` pages: beyond that, no other process reads them through the kernel, not even root's.
    Hidden,
}

/// Pages between two guard pages, cut into slots.
struct Region {
    /// Guard page, `slots` of usable bytes, guard page.
    mapping: NonNull<c_void>,
    mapping_bytes: usize,
    first: NonNull<u8>,
    /// For each slot [`FREE`], the length in slots of what begins there, or [`CONTINUED`].
    slots: Vec<u32>,
    memory: SecretMemory,
}

// SAFETY: a region owns its mapping; nothing in it is tied to the thread that mapped it.
unsafe impl Send for Region {}

fn page_bytes() -> usize {
    // SAFETY: sysconf only reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("every Linux has a page size")
}

/// Maps secret pages over `length` bytes at `address`. The descriptor is closed at once: the mapping keeps the pages.
fn map_hidden(address: *mut c_void, length: usize) -> bool {
    // SAFETY: the call takes flags and gives a descriptor or -1.
    let descriptor = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let Ok(descriptor @ 0..) = c_int::try_from(descriptor) else { return false };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let mapped = libc::off_t::try_from(length).is_ok_and(|size| {
        // SAFETY: the descriptor is open and ours; the range lies in a reservation of ours that nothing uses yet.
        unsafe {
            libc::ftruncate(descriptor, size) == 0
                && libc::mmap(address, length, access, libc::MAP_SHARED | libc::MAP_FIXED, descriptor, 0)
                    != libc::MAP_FAILED
        }
    });
    // SAFETY: the descriptor is ours and used nowhere else.
    unsafe { libc::close(descriptor) };
    mapped
}

/// Makes the `length` bytes at `address` usable by the best protection up to `wanted`.
fn open_pages(address: *mut c_void, length: usize, wanted: SecretMemory) -> Option<SecretMemory> {
    if wanted == SecretMemory::Hidden && map_hidden(address, length) {
        return Some(SecretMemory::Hidden);
    }
    // SAFETY: the range lies in a reservation of ours that nothing uses yet.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        if libc::mmap(address, length, access, flags, -1, 0) == libc::MAP_FAILED {
            return None;
        }
        let locked = wanted >= SecretMemory::Locked && libc::mlock(address, length) == 0;
        Some(if locked { SecretMemory::Locked } else { SecretMemory::Plain })
    }
}

impl Region {
    fn map(wanted_bytes: usize, wanted: SecretMemory) -> Option<Self> {
        let page = page_bytes();
        let usable = wanted_bytes.max(REGION_BYTES).next_multiple_of(page);
        let mapping_bytes = usable + 2 * page;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh reservation that nobody can read or write; its ends stay so and are the guard pages.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), mapping_bytes, libc::PROT_NONE, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: one page into a mapping of more than two.
        let first = unsafe { mapping.cast::<u8>().add(page) };
        let memory = open_pages(first.cast(), usable, wanted);
        let region = Self {
            mapping: NonNull::new(mapping)?,
            mapping_bytes,
            first: NonNull::new(first)?,
            slots: vec![FREE; usable / SLOT_BYTES],
            memory: memory.unwrap_or(SecretMemory::Plain),
        };
        memory?;
        // SAFETY: the range is mapped and ours. Advice that a kernel does not know is refused and changes nothing.
        unsafe {
            libc::madvise(first.cast(), usable, libc::MADV_DONTDUMP);
            libc::madvise(first.cast(), usable, libc::MADV_DONTFORK);
            libc::madvise(first.cast(), usable, libc::MADV_WIPEONFORK);
        }
        Some(region)
    }

    /// The first of `count` free slots in a row.
    fn gap(&self, count: usize) -> Option<usize> {
        let mut at = 0;
        while at + count <= self.slots.len() {
            match self.slots[at..at + count].iter().rposition(|slot| *slot != FREE) {
                Some(taken) => at += taken + 1,
                None => return Some(at),
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<NonNull<u8>> {
        let at = self.gap(count)?;
        self.slots[at..at + count].fill(CONTINUED);
        self.slots[at] = u32::try_from(count).ok()?;
        // SAFETY: slot `at` lies in the region.
        Some(unsafe { self.first.add(at * SLOT_BYTES) })
    }

    /// The slot that begins at `place` and how many belong to it.
    fn run(&self, place: NonNull<u8>) -> Option<(usize, usize)> {
        let offset = place.addr().get().checked_sub(self.first.addr().get())?;
        let at = offset / SLOT_BYTES;
        let count = *self.slots.get(at)?;
        let begins = offset.is_multiple_of(SLOT_BYTES) && count != FREE && count != CONTINUED;
        begins.then(|| Some((at, usize::try_from(count).ok()?)))?
    }

    fn give_back(&mut self, at: usize, count: usize) {
        // SAFETY: the slots lie in the region and belong to a secret whose owner gives them back: nobody else sees them.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(self.first.add(at * SLOT_BYTES).as_ptr(), count * SLOT_BYTES) };
        bytes.zeroize();
        self.slots[at..at + count].fill(FREE);
    }

    fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| *slot == FREE)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and a region goes only when no secret lies in it.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.mapping_bytes) };
    }
}

/// All regions of the process.
struct Pool {
    regions: Vec<Region>,
    best: SecretMemory,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { regions: Vec::new(), best: SecretMemory::Hidden });

fn pool() -> MutexGuard<'static, Pool> {
    // Nothing in here panics between two changes that belong together.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Zeroed memory for `bytes` bytes, aligned to [`SLOT_BYTES`].
    fn allocate(&mut self, bytes: usize) -> Option<(NonNull<u8>, SecretMemory)> {
        if bytes > SECRET_BYTES_MAX {
            return None;
        }
        let count = bytes.div_ceil(SLOT_BYTES).max(1);
        for region in &mut self.regions {
            if let Some(place) = region.take(count) {
                return Some((place, region.memory));
            }
        }
        let mut region = Region::map(count * SLOT_BYTES, self.best)?;
        // What the system refused once is not asked for again: a full quota would be tried at every secret.
        self.best = region.memory;
        let taken = (region.take(count)?, region.memory);
        self.regions.push(region);
        Some(taken)
    }

    /// Wipes and takes back what begins at `place`; false if that is nothing of this pool.
    fn free(&mut self, place: NonNull<u8>) -> bool {
        let found = self.regions.iter().enumerate().find_map(|(index, region)| Some((index, region.run(place)?)));
        let Some((index, (at, count))) = found else { return false };
        self.regions[index].give_back(at, count);
        // One empty region stays, so that a secret now and then does not map and unmap each time.
        if self.regions[index].is_empty() && self.regions.iter().filter(|region| region.is_empty()).count() > 1 {
            self.regions.swap_remove(index);
        }
        true
    }

    fn bytes_at(&self, place: NonNull<u8>) -> Option<usize> {
        self.regions.iter().find_map(|region| region.run(place)).map(|(_, count)| count * SLOT_BYTES)
    }
}

/// How well a secret that is made now would be protected.
#[must_use]
pub fn secret_memory() -> SecretMemory {
    SecretBytesBox::zeroed(1).memory()
}

fn allocate(bytes: usize) -> (NonNull<u8>, SecretMemory) {
    pool().allocate(bytes).expect("memory for a secret")
}

/// A value in secret memory. Dropped in place, then wiped; never prints.
pub struct SecretBox<T> {
    place: NonNull<T>,
    memory: SecretMemory,
}

// SAFETY: the box owns its value, as `Box` does.
unsafe impl<T: Send> Send for SecretBox<T> {}
// SAFETY: a shared box gives shared references to the value and nothing else.
unsafe impl<T: Sync> Sync for SecretBox<T> {}

impl<T> SecretBox<T> {
    /// Makes a value and moves it into secret memory; what was on the stack meanwhile is wiped.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn new(make: impl FnOnce() -> T) -> Self {
        const { assert!(align_of::<T>() <= SLOT_BYTES, "a slot is not aligned enough") };
        let (place, memory) = with_clean_stack(|| {
            let value = make();
            let (place, memory) = allocate(size_of::<T>());
            let place = place.cast::<T>();
            // SAFETY: fresh memory of ours, large enough and aligned for a `T`.
            unsafe { place.write(value) };
            (place, memory)
        });
        Self { place, memory }
    }

    /// How well the pages are protected.
    #[must_use]
    pub fn memory(&self) -> SecretMemory {
        self.memory
    }

    /// The one greppable door to the value.
    #[must_use]
    pub fn expose(&self) -> &T {
        // SAFETY: the place holds a `T` from `new` until `drop`.
        unsafe { self.place.as_ref() }
    }

    /// The door for filling the value in place.
    pub fn expose_mut(&mut self) -> &mut T {
        // SAFETY: as in `expose`, and the box is borrowed exclusively.
        unsafe { self.place.as_mut() }
    }
}

impl<T> Deref for SecretBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.expose()
    }
}

impl<T> DerefMut for SecretBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.expose_mut()
    }
}

impl<T> Drop for SecretBox<T> {
    fn drop(&mut self) {
        // SAFETY: the place holds a `T` that nobody will use again.
        unsafe { self.place.drop_in_place() };
        pool().free(self.place.cast());
    }
}

impl<T> fmt::Debug for SecretBox<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretBox({:?}, ****)", self.memory)
    }
}

/// Bytes in secret memory. Wiped on drop; never prints.
pub struct SecretBytesBox {
    place: NonNull<u8>,
    length: usize,
    memory: SecretMemory,
}

// SAFETY: the box owns its bytes.
unsafe impl Send for SecretBytesBox {}
// SAFETY: a shared box gives shared references to bytes and nothing else.
unsafe impl Sync for SecretBytesBox {}

impl SecretBytesBox {
    /// `length` zeros.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let (place, memory) = allocate(length);
        Self { place, length, memory }
    }

    /// A copy of `bytes`.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.expose_mut().copy_from_slice(bytes);
        copy
    }

    /// How well the pages are protected.
    #[must_use]
    pub fn memory(&self) -> SecretMemory {
        self.memory
    }

    /// The one greppable door to the bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        // SAFETY: `length` bytes of ours, zeroed when they were handed out.
        unsafe { core::slice::from_raw_parts(self.place.as_ptr(), self.length) }
    }

    /// The door for filling the bytes in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `expose`, and the box is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.place.as_ptr(), self.length) }
    }

    /// An explicit second copy.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copy_from(self.expose())
    }

    /// Keeps the first `length` bytes and wipes the rest.
    pub fn truncate(&mut self, length: usize) {
        if let Some(rest) = self.expose_mut().get_mut(length..) {
            rest.zeroize();
            self.length = length;
        }
    }
}

impl Drop for SecretBytesBox {
    fn drop(&mut self) {
        pool().free(self.place);
    }
}

impl fmt::Debug for SecretBytesBox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretBytesBox({} bytes, {:?}, ****)", self.length, self.memory)
    }
}

// The C library's heap.

static LENT: AtomicBool = AtomicBool::new(false);
static LENT_PIECES: AtomicU64 = AtomicU64::new(0);

/// Whether the cryptographic C library keeps its heap in secret memory.
pub(crate) fn crypto_heap_is_secret() -> bool {
    LENT.load(Ordering::Acquire)
}

/// Makes AWS-LC allocate in secret memory: AEAD contexts, private keys and all their intermediate values. Concerns the
/// whole process and cannot be undone, so it is for a process that does nothing but keep keys, and must be called before
/// anything else there uses the library. False if the library did not take it.
#[must_use]
pub fn keep_crypto_heap_secret() -> bool {
    if crypto_heap_is_secret() {
        return true;
    }
    // SAFETY: the three functions below keep the contract of malloc, realloc and free. The library takes them once only
    // and refuses a second time.
    let taken = unsafe { aws_lc_sys::CRYPTO_set_mem_functions(Some(lend), Some(lend_again), Some(take_back)) } == 1;
    // There could be a second copy of the library in the program: only what arrives here proves that it is the right one.
    let before = LENT_PIECES.load(Ordering::Relaxed);
    let probe = aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_256_GCM_SIV, &[0; 32]);
    let arrived = probe.is_ok() && LENT_PIECES.load(Ordering::Relaxed) > before;
    LENT.store(taken && arrived, Ordering::Release);
    taken && arrived
}

/// `malloc`.
unsafe extern "C" fn lend(bytes: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    LENT_PIECES.fetch_add(1, Ordering::Relaxed);
    pool().allocate(bytes).map_or(ptr::null_mut(), |(place, _)| place.as_ptr().cast())
}

/// `realloc`. What does not come from here cannot be measured and is refused.
unsafe extern "C" fn lend_again(old: *mut c_void, bytes: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    let mut pool = pool();
    let Some(old) = NonNull::new(old.cast::<u8>()) else {
        return pool.allocate(bytes).map_or(ptr::null_mut(), |(place, _)| place.as_ptr().cast());
    };
    let Some(held) = pool.bytes_at(old) else { return ptr::null_mut() };
    let Some((place, _)) = pool.allocate(bytes) else { return ptr::null_mut() };
    // SAFETY: two different pieces of the pool, each at least as long as what is copied.
    unsafe { ptr::copy_nonoverlapping(old.as_ptr(), place.as_ptr(), held.min(bytes)) };
    pool.free(old);
    place.as_ptr().cast()
}

/// `free`. What does not come from here was allocated before and stays: a leak and no harm.
unsafe extern "C" fn take_back(old: *mut c_void, _file: *const c_char, _line: c_int) {
    if let Some(old) = NonNull::new(old.cast::<u8>()) {
        pool().free(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn read_through_kernel(address: usize, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        std::fs::File::open("/proc/self/mem")?.read_exact_at(&mut bytes, address as u64)?;
        Ok(bytes)
    }

    #[test]
    fn the_kernel_shows_locked_pages_and_not_hidden_ones() {
        for wanted in [SecretMemory::Hidden, SecretMemory::Locked, SecretMemory::Plain] {
            let mut region = Region::map(1, wanted).unwrap();
            let place = region.take(1).unwrap();
            // SAFETY: a slot of the region, which lives on.
            unsafe { place.write_bytes(0xA7, SLOT_BYTES) };
            let shown = read_through_kernel(place.addr().get(), SLOT_BYTES);
            match region.memory {
                SecretMemory::Hidden => assert!(shown.is_err()),
                _ => assert_eq!(shown.unwrap(), [0xA7; SLOT_BYTES]),
            }
            assert!(region.memory <= wanted);
            let (at, count) = region.run(place).unwrap();
            region.give_back(at, count);
            // SAFETY: still mapped.
            assert!(unsafe { core::slice::from_raw_parts(place.as_ptr(), SLOT_BYTES) }.iter().all(|byte| *byte == 0));
            assert!(region.is_empty() && region.run(place).is_none());
        }
    }

    #[test]
    fn guard_pages_surround_a_region() {
        let region = Region::map(1, SecretMemory::Locked).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let first = region.first.addr().get();
        let end = first + region.slots.len() * SLOT_BYTES;
        let rights_at = |address: usize| {
            maps.lines().find_map(|line| {
                let (range, rest) = line.split_once(' ')?;
                let (from, to) = range.split_once('-')?;
                let hex = |text| usize::from_str_radix(text, 16).ok();
                (hex(from)? <= address && address < hex(to)?).then(|| rest[..3].to_owned())
            })
        };
        assert_eq!(rights_at(first).as_deref(), Some("rw-"));
        assert_eq!(rights_at(first - 1).as_deref(), Some("---"));
        assert_eq!(rights_at(end).as_deref(), Some("---"));
    }

    #[test]
    fn slots_are_found_given_back_and_found_again() {
        let mut region = Region::map(1, SecretMemory::Plain).unwrap();
        let all = region.slots.len();
        let first = region.take(3).unwrap();
        let second = region.take(1).unwrap();
        assert_eq!(region.run(second), Some((3, 1)));
        assert!(region.take(all - 3).is_none());
        region.give_back(0, 3);
        assert_eq!(region.take(4).map(|place| region.run(place)), Some(Some((4, 4))));
        assert_eq!(region.take(3), Some(first));
        for inside in [1, SLOT_BYTES] {
            // SAFETY: inside the region; a place in the middle of a piece is not its beginning.
            assert!(region.run(unsafe { first.add(inside) }).is_none());
        }
    }

    #[test]
    fn values_live_and_are_dropped_in_secret_memory() {
        struct Noisy<'a>(&'a AtomicU64, u64);
        impl Drop for Noisy<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(self.1, Ordering::Relaxed);
            }
        }
        let drops = AtomicU64::new(0);
        let boxed = SecretBox::new(|| Noisy(&drops, 7));
        assert_eq!(boxed.expose().1, 7);
        drop(boxed);
        assert_eq!(drops.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_large_secret_has_a_region_of_its_own_and_a_huge_one_is_refused() {
        let bytes = vec![3; 3 * REGION_BYTES];
        let large = SecretBytesBox::copy_from(&bytes);
        assert_eq!(large.expose(), bytes);
        assert!(pool().allocate(SECRET_BYTES_MAX + 1).is_none());
    }

    #[test]
    fn nothing_prints() {
        let secret = SecretBytesBox::copy_from(b"top secret");
        assert!(!format!("{secret:?}").contains("top"));
        assert!(!format!("{:?}", SecretBox::new(|| 4711_u32)).contains("4711"));
    }

    #[test]
    fn the_c_functions_keep_their_contract() {
        let file = c"".as_ptr();
        // SAFETY: used as malloc, realloc and free are.
        unsafe {
            let first = lend(100, file, 0).cast::<u8>();
            first.write_bytes(9, 100);
            let longer = lend_again(first.cast(), 5000, file, 0).cast::<u8>();
            assert_eq!(core::slice::from_raw_parts(longer, 100), [9; 100]);
            take_back(longer.cast(), file, 0);
            take_back(ptr::null_mut(), file, 0);
            let foreign = ptr::dangling_mut::<u8>();
            assert!(lend_again(foreign.cast(), 10, file, 0).is_null());
            take_back(foreign.cast(), file, 0);
            take_back(lend(0, file, 0), file, 0);
            assert!(lend(usize::MAX, file, 0).is_null());
        }
    }
}
