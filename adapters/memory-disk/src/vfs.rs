//! The disk as SQLite sees it: a virtual file system of the name [`VFS_NAME`].
//!
//! One process, one connection to a file: locks are granted without being kept, and the index of a write-ahead log lives as
//! long as its connection.
#![allow(unsafe_code)]

use crate::medium::{Fault, Medium, Refused, SECTOR_BYTES, When};
use rusqlite::ffi;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

/// The name under which SQLite knows it.
const VFS_NAME: &CStr = c"irontill-memory";
/// Where the disks' files seem to lie.
const FOLDER: &str = "/memory-disk/";
/// Longest path that SQLite may ask for.
const PATH_BYTES_MAX: c_int = 512;

type Shared = Arc<Mutex<Medium>>;

static DISKS: Mutex<BTreeMap<u64, Shared>> = Mutex::new(BTreeMap::new());
static DISKS_MADE: AtomicU64 = AtomicU64::new(0);
static REGISTERED: Once = Once::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A disk. When it is dropped, its files are gone.
#[derive(Debug)]
pub struct MemoryDisk {
    number: u64,
    medium: Shared,
}

impl MemoryDisk {
    /// An empty disk with power. `seed` decides what torn sectors hold.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        REGISTERED.call_once(register);
        let number = DISKS_MADE.fetch_add(1, Ordering::Relaxed);
        let medium = Arc::new(Mutex::new(Medium::new(seed)));
        lock(&DISKS).insert(number, Arc::clone(&medium));
        Self { number, medium }
    }

    /// The name of the virtual file system, for opening a connection.
    #[must_use]
    pub fn vfs_name(&self) -> &'static CStr {
        VFS_NAME
    }

    /// The path of a file on this disk.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("{FOLDER}{}/{file}", self.number))
    }

    /// Operations so far: files made and deleted, writes, truncations, syncs.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.medium).operations()
    }

    /// Names the operation that goes wrong; it takes the place of one named before.
    pub fn plan(&self, fault: Option<Fault>) {
        lock(&self.medium).plan(fault);
    }

    /// From now on it says of everything that it is synced, and nothing is. No store can keep a promise on such a disk: it
    /// shows that a proof sees what is lost.
    pub fn lie(&self) {
        lock(&self.medium).lie();
    }

    /// Whether the operation that was named is still to come.
    #[must_use]
    pub fn is_planned(&self) -> bool {
        lock(&self.medium).is_planned()
    }

    /// Whether it works.
    #[must_use]
    pub fn has_power(&self) -> bool {
        lock(&self.medium).has_power()
    }

    /// Takes the power away between two operations.
    pub fn lose_power(&self, left: When) {
        lock(&self.medium).lose_power(left);
    }

    /// Gives power back to a disk that has lost it. Every connection from before must have been closed.
    pub fn power_returns(&self) {
        lock(&self.medium).power_returns();
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        lock(&DISKS).remove(&self.number);
    }
}

/// An open file as this module sees it.
struct Handle {
    medium: Shared,
    name: String,
    /// The write-ahead log's index, in regions of one size.
    regions: Vec<Box<[u64]>>,
}

/// An open file as SQLite allocates it: its own part first.
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

/// Splits a path into the disk and the name of the file on it.
fn find(path: &str) -> Option<(Shared, String)> {
    let (number, name) = path.strip_prefix(FOLDER)?.split_once('/')?;
    let medium = lock(&DISKS).get(&number.parse().ok()?).cloned()?;
    Some((medium, name.to_owned()))
}

fn code(result: Result<(), Refused>, fault: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(Refused::NoFile) => ffi::SQLITE_CANTOPEN,
        Err(Refused::NoPower | Refused::Fault) => fault,
    }
}

fn register() {
    let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: c_int::try_from(size_of::<OpenFile>()).unwrap_or(c_int::MAX),
        mxPathname: PATH_BYTES_MAX,
        pNext: ptr::null_mut(),
        zName: VFS_NAME.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path_name),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: the table lives for ever, and every function in it keeps SQLite's contract for version 1.
    let done = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    assert_eq!(done, ffi::SQLITE_OK, "SQLite takes a file system");
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(lock_file),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(map_index),
    xShmLock: Some(lock_index),
    xShmBarrier: Some(index_barrier),
    xShmUnmap: Some(unmap_index),
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
/// `name` is null or a string that ends with a zero byte.
unsafe fn path_of(name: *const c_char) -> Option<(Shared, String)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    find(name.to_str().ok()?)
}

/// # Safety
/// `file` was opened by [`open`], is not closed yet, and nobody else uses it during the call.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    // SAFETY: SQLite gave `open` room for an `OpenFile` and `open` has set its handle; SQLite serialises the calls of a
    // connection.
    unsafe { &mut *(*file.cast::<OpenFile>()).handle }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_given: *mut c_int,
) -> c_int {
    let file = file.cast::<OpenFile>();
    // SAFETY: SQLite gives room for `szOsFile` bytes; without methods it will not close a file that was not opened.
    unsafe { (*file).base.pMethods = ptr::null() };
    // SAFETY: SQLite's names end with a zero byte.
    let Some((medium, name)) = (unsafe { path_of(name) }) else { return ffi::SQLITE_CANTOPEN };
    let opened = lock(&medium).open(&name, flags & ffi::SQLITE_OPEN_CREATE != 0);
    if opened.is_err() {
        return ffi::SQLITE_CANTOPEN;
    }
    let handle = Box::new(Handle { medium, name, regions: Vec::new() });
    // SAFETY: as above; `flags_given` is null or points to an integer.
    unsafe {
        (*file).handle = Box::into_raw(handle);
        (*file).base.pMethods = &raw const METHODS;
        if !flags_given.is_null() {
            *flags_given = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, _: c_int) -> c_int {
    // SAFETY: SQLite's names end with a zero byte.
    let Some((medium, name)) = (unsafe { path_of(name) }) else { return ffi::SQLITE_IOERR_DELETE };
    match lock(&medium).delete(&name) {
        Err(Refused::NoFile) => ffi::SQLITE_IOERR_DELETE_NOENT,
        other => code(other, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, name: *const c_char, _: c_int, result: *mut c_int) -> c_int {
    // SAFETY: SQLite's names end with a zero byte.
    let found = unsafe { path_of(name) };
    let exists = found.is_some_and(|(medium, name)| lock(&medium).exists(&name));
    // SAFETY: SQLite gives room for the answer.
    unsafe { *result = c_int::from(exists) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path_name(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    result: *mut c_char,
) -> c_int {
    // SAFETY: SQLite's names end with a zero byte.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| bytes.len() <= room) {
        // SAFETY: `result` has room for `room` bytes, and the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), result, bytes.len()) };
        return ffi::SQLITE_OK;
    }
    ffi::SQLITE_CANTOPEN
}

/// Salts of a log need to differ and no more.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, count: c_int, result: *mut c_char) -> c_int {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let count = usize::try_from(count).unwrap_or(0);
    for index in 0..count {
        let byte = DRAWN.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).to_be_bytes()[0];
        // SAFETY: `result` has room for `count` bytes.
        unsafe { result.add(index).cast::<u8>().write(byte) };
    }
    c_int::try_from(count).unwrap_or(c_int::MAX)
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

/// A fixed day: nothing in a store depends on SQLite's clock.
unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, result: *mut f64) -> c_int {
    // SAFETY: SQLite gives room for the answer.
    unsafe { *result = 2_461_045.5 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `open` made the box, and SQLite closes a file once.
    drop(unsafe { Box::from_raw((*file.cast::<OpenFile>()).handle) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's promise about open files.
    let handle = unsafe { handle(file) };
    let (Ok(count), Ok(offset)) = (usize::try_from(count), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: SQLite gives room for `count` bytes.
    let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), count) };
    match lock(&handle.medium).read(&handle.name, offset, into) {
        Ok(read) if read == count => ffi::SQLITE_OK,
        Ok(_) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's promise about open files.
    let handle = unsafe { handle(file) };
    let (Ok(count), Ok(offset)) = (usize::try_from(count), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite gives `count` bytes.
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), count) };
    match lock(&handle.medium).write(&handle.name, offset, from) {
        Err(Refused::Fault) => ffi::SQLITE_FULL,
        other => code(other, ffi::SQLITE_IOERR_WRITE),
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    // SAFETY: SQLite's promise about open files.
    let handle = unsafe { handle(file) };
    let length = usize::try_from(length).unwrap_or(0);
    code(lock(&handle.medium).truncate(&handle.name, length), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite's promise about open files.
    let handle = unsafe { handle(file) };
    code(lock(&handle.medium).sync(&handle.name), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, result: *mut i64) -> c_int {
    // SAFETY: SQLite's promise about open files.
    let handle = unsafe { handle(file) };
    match lock(&handle.medium).length(&handle.name) {
        Ok(length) => {
            // SAFETY: SQLite gives room for the answer.
            unsafe { *result = i64::try_from(length).unwrap_or(i64::MAX) };
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_FSTAT,
    }
}

unsafe extern "C" fn lock_file(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, result: *mut c_int) -> c_int {
    // SAFETY: SQLite gives room for the answer.
    unsafe { *result = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    c_int::try_from(SECTOR_BYTES).unwrap_or(c_int::MAX)
}

/// As SQLite says it of the disks of Linux: what was not written does not change.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn map_index(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    result: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite's promise about open files.
    let handle = unsafe { handle(file) };
    let (Ok(region), Ok(bytes)) = (usize::try_from(region), usize::try_from(bytes)) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    while handle.regions.len() <= region && extend != 0 {
        handle.regions.push(vec![0_u64; bytes.div_ceil(size_of::<u64>())].into_boxed_slice());
    }
    let address = handle.regions.get_mut(region).map_or(ptr::null_mut(), |words| words.as_mut_ptr().cast());
    // SAFETY: SQLite gives room for the answer. A region's box keeps its place until it is unmapped.
    unsafe { *result = address };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock_index(_: *mut ffi::sqlite3_file, _: c_int, _: c_int, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn index_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

unsafe extern "C" fn unmap_index(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite's promise about open files.
    unsafe { handle(file) }.regions.clear();
    ffi::SQLITE_OK
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{Connection, OpenFlags};

    fn open(disk: &MemoryDisk) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(disk.path("a.db"), flags, disk.vfs_name())?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 8)?;
        connection.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)")?;
        Ok(connection)
    }

    /// Inserts rows 1 to 40 and says how many were acknowledged.
    fn fill(disk: &MemoryDisk) -> u32 {
        let Ok(connection) = open(disk) else { return 0 };
        for number in 1..=40 {
            let text = "x".repeat(300);
            if connection.execute("INSERT INTO t VALUES (?1, ?2)", (number, text)).is_err() {
                return number - 1;
            }
        }
        40
    }

    fn rows(connection: &Connection) -> u32 {
        let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        connection.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn sqlite_keeps_what_it_acknowledged_whichever_operation_goes_wrong() {
        let whole = MemoryDisk::new(1);
        assert_eq!(fill(&whole), 40);
        let operations = whole.operations();
        assert!(operations > 150, "{operations}");
        for operation in 0..operations {
            for when in When::ALL {
                let disk = MemoryDisk::new(operation);
                disk.plan(Some(Fault { operation, when }));
                let acknowledged = fill(&disk);
                disk.power_returns();
                let left = rows(&open(&disk).unwrap());
                assert!(
                    left == acknowledged || left == acknowledged + 1,
                    "{operation} {when:?}: {left} of {acknowledged}"
                );
            }
        }
    }
}
