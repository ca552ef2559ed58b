//! The SQLite store against the common suite, and against full disks, crashes and damage.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use machine::frame::Damage;
use machine::store::{AccountName, Append, Leg, Outcome, Row, Store, StoreFault};
use machine::{Durable, MachineId};
use rusqlite::{Connection, params};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use store_sqlite::{RecordSeal, SealRefused, SqliteStore};
use types::Currency;

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("irontill-store-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn machine(name: &str) -> MachineId {
    MachineId::new(name).unwrap()
}

fn append(name: &str, first_sequence: u64, record: &[u8], rows: Vec<Row>) -> Append {
    Append { machine: machine(name), first_sequence, records: vec![record.to_vec()], rows, snapshot: false }
}

fn sale(id: &str, minor: i64) -> Row {
    let leg = |name: &str, delta_minor| Leg {
        account: AccountName::new(name).unwrap(),
        delta_minor,
        currency: Currency::CNY,
    };
    Row::Posting { id: id.to_owned(), legs: vec![leg("cardholder", -minor), leg("merchant", minor)] }
}

/// A store with `count` sales of one machine, each with a record, a unique key and a posting.
fn with_sales(path: &Path, count: u64) -> SqliteStore {
    let mut store = SqliteStore::open(path).unwrap();
    for number in 1..=count {
        write_sale(&mut store, number);
    }
    store
}

fn write_sale(store: &mut SqliteStore, number: u64) {
    let key = number.to_be_bytes().to_vec();
    let rows = vec![
        Row::Unique { space: "intent", key, value: b"answer".to_vec() },
        sale(&format!("sale/{number:06}"), i64::try_from(number).unwrap()),
    ];
    let append = append("12345678", number, format!("sale {number}").as_bytes(), rows);
    let expected = Outcome::Durable(Durable::assertion(machine("12345678"), number));
    assert_eq!(store.append(&[append]).unwrap(), vec![expected]);
}

#[test]
fn it_passes_the_common_suite() {
    let folder = Folder::new();
    let mut count = 0;
    store_sqlite::conformance::conformance(&mut || {
        count += 1;
        Box::new(SqliteStore::open(&folder.file(&format!("{count}.db"))).unwrap())
    });
    assert!(count >= 16);
}

#[test]
fn what_was_durable_is_there_after_reopening() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    drop(with_sales(&path, 5));
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.load(machine("12345678")).unwrap().records.len(), 5);
    write_sale(&mut store, 6);
    let report = store.verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.machines, report.records, report.postings, report.balances), (1, 6, 6, 2));
}

#[test]
fn the_file_belongs_to_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.file("host.db");
    let _store = with_sales(&path, 1);
    for name in ["host.db", "host.db-wal"] {
        let mode = fs::metadata(folder.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[test]
fn a_foreign_file_is_refused() {
    let folder = Folder::new();
    let path = folder.file("other.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA application_id = 7; CREATE TABLE t (a);").unwrap();
    assert!(SqliteStore::open(&path).is_err());
    fs::write(folder.file("text.db"), b"this is no database, but it is longer than a header of one").unwrap();
    assert!(SqliteStore::open(&folder.file("text.db")).is_err());
}

#[test]
fn a_second_writer_makes_the_first_ones_append_conflict() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    let mut first = with_sales(&path, 2);
    let mut second = SqliteStore::open(&path).unwrap();
    write_sale(&mut second, 3);
    let late = append("12345678", 3, b"late", vec![]);
    assert_eq!(first.append(&[late]).unwrap(), vec![Outcome::Conflict]);
    assert!(first.written_by_others().unwrap() && !first.written_by_others().unwrap());
    write_sale(&mut first, 4);
    write_sale(&mut second, 5);
    assert_eq!(first.load(machine("12345678")).unwrap().last_sequence, 5);
    assert!(first.verify().unwrap().is_sound());
}

#[test]
fn a_reader_beside_the_writer_sees_whole_appends() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    let mut writer = with_sales(&path, 2);
    let mut reader = SqliteStore::open_read_only(&path, None).unwrap();
    assert_eq!(reader.journal(machine("12345678")).unwrap().len(), 2);
    write_sale(&mut writer, 3);
    assert!(reader.verify().unwrap().is_sound());
    assert_eq!(reader.journal(machine("12345678")).unwrap()[2].record, b"sale 3");
    assert!(reader.append(&[append("12345678", 4, b"no", vec![])]).is_err());
}

#[test]
fn a_full_disk_is_a_fault_and_nothing_half_written_stays() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    let mut store = with_sales(&path, 3);
    store.limit_pages(1).unwrap();
    let mut number = 4;
    let fault = loop {
        let key = vec![0xAA; 3000];
        let rows =
            vec![Row::Put { space: "card", key, value: vec![0xBB; 9000] }, sale(&format!("sale/{number:06}"), 1)];
        match store.append(&[append("12345678", number, &[0xCC; 9000], rows)]) {
            Ok(_) => number += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, StoreFault::Medium(_)), "{fault}");
    assert!(store.append(&[append("other", 1, b"x", vec![])]).is_err(), "a store stops at its first fault");
    assert!(store.load(machine("12345678")).is_err());
    drop(store);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.load(machine("12345678")).unwrap().last_sequence, number - 1);
    let report = store.verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn a_log_that_cannot_be_made_is_named_with_what_the_system_says_of_it() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    drop(with_sales(&path, 1));
    fs::create_dir(folder.file("host.db-wal")).unwrap();
    let fault = SqliteStore::open(&path).err().unwrap().to_string();
    assert!(fault.contains("host.db-wal") && fault.contains("Is a directory"), "{fault}");
    fs::remove_dir(folder.file("host.db-wal")).unwrap();
    assert_eq!(SqliteStore::open(&path).unwrap().load(machine("12345678")).unwrap().last_sequence, 1);
}

/// Copies the files as a crash would leave them.
fn image(folder: &Folder, from: &Path, name: &str, wal_bytes: Option<usize>) -> PathBuf {
    let to = folder.file(name);
    fs::copy(from, &to).unwrap();
    let wal = fs::read(from.with_extension("db-wal")).unwrap_or_default();
    let kept = wal_bytes.map_or(&wal[..], |count| &wal[..count.min(wal.len())]);
    fs::write(to.with_extension("db-wal"), kept).unwrap();
    to
}

#[test]
fn every_crash_image_opens_as_a_prefix_of_what_was_written() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let mut wal_before = 0;
    for number in 1..=12 {
        write_sale(&mut store, number);
        let wal_bytes = usize::try_from(fs::metadata(path.with_extension("db-wal")).unwrap().len()).unwrap();
        let whole = image(&folder, &path, "whole.db", None);
        check_image(&whole, number, number);
        // A cut while the last append was on its way to the log: every page boundary and odd places in between.
        for cut in (wal_before..wal_bytes).step_by(1031) {
            let torn = image(&folder, &path, "torn.db", Some(cut));
            check_image(&torn, number - 1, number);
        }
        wal_before = wal_bytes;
    }
}

fn check_image(path: &Path, least: u64, most: u64) {
    let mut store = SqliteStore::open(path).unwrap();
    let journal = store.load(machine("12345678")).unwrap();
    assert!((least..=most).contains(&journal.last_sequence), "{} of {least}..={most}", journal.last_sequence);
    let report = store.verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.postings, journal.last_sequence, "money and journal move together");
    drop(store);
    for extension in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(path.with_extension(extension));
    }
}

#[test]
fn a_cut_while_checkpointing_loses_nothing() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    let mut store = with_sales(&path, 20);
    write_sale(&mut store, 21);
    let before = fs::read(&path).unwrap();
    let wal = fs::read(path.with_extension("db-wal")).unwrap();
    Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(FULL)").unwrap();
    let after = fs::read(&path).unwrap();
    // The log is synced before pages move into the file, so any mix of old and new pages with the whole log must do.
    let pages = after.len().div_ceil(4096);
    for moved in 0..=pages {
        let mut mixed = before.clone();
        mixed.resize(after.len(), 0);
        let until = (moved * 4096).min(after.len());
        mixed[..until].copy_from_slice(&after[..until]);
        let torn = folder.file("mixed.db");
        fs::write(&torn, &mixed).unwrap();
        fs::write(torn.with_extension("db-wal"), &wal).unwrap();
        check_image(&torn, 21, 21);
    }
}

fn damage(path: &Path, statement: &str) {
    let connection = Connection::open(path).unwrap();
    assert!(connection.execute(statement, params![]).unwrap() > 0, "{statement}");
}

#[test]
fn a_damaged_journal_is_named() {
    let cases: [(&str, Damage); 5] = [
        (
            "UPDATE journal SET frame = CAST(substr(frame, 1, 20) || X'00' || substr(frame, 22) AS BLOB) WHERE sequence = 2",
            Damage::Hash { sequence: 2 },
        ),
        ("DELETE FROM journal WHERE sequence = 2", Damage::Gap { expected: 2, found: 0 }),
        ("DELETE FROM journal WHERE sequence = 4", Damage::Gap { expected: 4, found: 0 }),
        (
            "UPDATE journal SET previous = (SELECT number FROM journal WHERE sequence = 1) WHERE sequence = 4",
            Damage::Gap { expected: 3, found: 1 },
        ),
        (
            "UPDATE machine SET last_sequence = 3, last_row = (SELECT number FROM journal WHERE sequence = 3)",
            Damage::Hash { sequence: 3 },
        ),
    ];
    for (statement, expected) in cases {
        let folder = Folder::new();
        let path = folder.file("host.db");
        drop(with_sales(&path, 4));
        damage(&path, statement);
        let mut store = SqliteStore::open(&path).unwrap();
        match store.load(machine("12345678")) {
            Err(StoreFault::Damaged { machine: whose, damage }) => {
                assert_eq!((whose, damage), (machine("12345678"), expected), "{statement}");
            }
            other => panic!("{statement}: {other:?}"),
        }
        assert!(!store.verify().unwrap().is_sound(), "{statement}");
    }
}

#[test]
fn swapped_records_are_found() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    drop(with_sales(&path, 3));
    damage(&path, "UPDATE journal SET frame = (SELECT frame FROM journal WHERE sequence = 1) WHERE sequence = 2");
    let mut store = SqliteStore::open(&path).unwrap();
    let fault = store.load(machine("12345678")).unwrap_err();
    assert_eq!(fault.to_string(), "journal of 12345678 is damaged: record 2 expected, found record 1");
}

#[test]
fn altered_money_is_found() {
    for (statement, finding) in [
        ("UPDATE leg SET delta_minor = delta_minor + 1 WHERE posting = 1 AND position = 0", "posting sale/000001"),
        ("UPDATE balance SET balance_minor = balance_minor + 1 WHERE account = 'merchant'", "balance of merchant"),
        ("DELETE FROM leg WHERE posting = 2", "posting sale/000002"),
        ("DELETE FROM posting WHERE number = 2", "a leg without its posting"),
        ("UPDATE posting SET sequence = 99 WHERE number = 2", "it belongs to no written record"),
        ("INSERT INTO balance VALUES ('thief', 156, 5)", "balance of thief"),
        ("UPDATE machine SET last_sequence = 9", "9 records stated, 3 found"),
        ("UPDATE machine SET snapshot_sequence = 9", "its snapshot lies behind its end"),
        ("INSERT INTO journal VALUES (77, 66, 1, 0, X'00')", "journal row 77 belongs to no machine"),
    ] {
        let folder = Folder::new();
        let path = folder.file("host.db");
        drop(with_sales(&path, 3));
        damage(&path, statement);
        let report = SqliteStore::open(&path).unwrap().verify().unwrap();
        assert!(report.findings.iter().any(|text| text.contains(finding)), "{statement}: {report:?}");
    }
}

/// A seal for tests: it shows on the bytes, binds the place, and refuses what it did not make.
struct XorSeal(u8);

impl RecordSeal for XorSeal {
    fn seal(&self, machine: MachineId, sequence: u64, plain: &[u8]) -> Vec<u8> {
        let mut sealed = format!("{machine}/{sequence}/").into_bytes();
        sealed.extend(plain.iter().map(|byte| byte ^ self.0));
        sealed
    }

    fn open(&self, machine: MachineId, sequence: u64, sealed: &[u8]) -> Result<Vec<u8>, SealRefused> {
        let place = format!("{machine}/{sequence}/").into_bytes();
        let body = sealed.strip_prefix(&place[..]).ok_or(SealRefused)?;
        Ok(body.iter().map(|byte| byte ^ self.0).collect())
    }
}

#[test]
fn sealed_records_are_unreadable_on_disk_and_open_again() {
    let folder = Folder::new();
    let path = folder.file("till.db");
    let mut store = SqliteStore::open_sealed(&path, Box::new(XorSeal(0x5A))).unwrap();
    store.append(&[append("till", 1, b"MARK-OF-A-RECORD", vec![])]).unwrap();
    assert_eq!(store.load(machine("till")).unwrap().records, vec![b"MARK-OF-A-RECORD".to_vec()]);
    assert!(store.verify().unwrap().is_sound());
    drop(store);
    for name in ["till.db", "till.db-wal"] {
        let bytes = fs::read(folder.file(name)).unwrap_or_default();
        assert!(!bytes.windows(16).any(|window| window == b"MARK-OF-A-RECORD"), "{name}");
    }
}

#[test]
fn a_seal_that_does_not_open_is_a_fault() {
    struct Never;
    impl RecordSeal for Never {
        fn seal(&self, _: MachineId, _: u64, plain: &[u8]) -> Vec<u8> {
            plain.to_vec()
        }
        fn open(&self, _: MachineId, _: u64, _: &[u8]) -> Result<Vec<u8>, SealRefused> {
            Err(SealRefused)
        }
    }
    let folder = Folder::new();
    let path = folder.file("till.db");
    let mut store = SqliteStore::open_sealed(&path, Box::new(Never)).unwrap();
    store.append(&[append("till", 1, b"x", vec![])]).unwrap();
    assert!(store.load(machine("till")).unwrap_err().to_string().contains("record 1 of till"));
    assert!(!store.verify().unwrap().is_sound());
}

#[test]
fn listings_give_what_explain_needs() {
    let folder = Folder::new();
    let mut store = with_sales(&folder.file("host.db"), 3);
    let mut snapshot = append("12345678", 4, b"state", vec![sale("void/000001", -1)]);
    snapshot.snapshot = true;
    store.append(&[snapshot]).unwrap();
    let machines = store.machines().unwrap();
    assert_eq!((machines[0].last_sequence, machines[0].snapshot_sequence), (4, 4));
    assert_eq!(store.journal(machine("12345678")).unwrap().len(), 4, "also what lies before the snapshot");
    assert_eq!(store.load(machine("12345678")).unwrap().records.len(), 1);
    let posting = store.posting("sale/000002").unwrap().unwrap();
    assert_eq!((posting.sequence, posting.legs[1].delta_minor), (2, 2));
    assert_eq!(store.posting("sale/000009").unwrap(), None);
    assert_eq!(store.postings_with_prefix("sale/").unwrap().len(), 3);
    assert_eq!(store.postings_of_record(machine("12345678"), 4).unwrap()[0].id, "void/000001");
    assert_eq!(store.facts("intent", &[0, 0], 2).unwrap().len(), 2);
    assert!(store.has_fact("intent", &1_u64.to_be_bytes()).unwrap() && !store.has_fact("intent", b"x").unwrap());
    let balances = store.balances().unwrap();
    assert_eq!(balances.iter().map(|balance| balance.balance_minor).collect::<Vec<_>>(), [-5, 5]);
}

#[test]
fn a_record_or_balance_out_of_range_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let path = folder.file("host.db");
    let mut store = SqliteStore::open(&path).unwrap();
    assert!(store.append(&[append("a", 1, &vec![0; machine::wire::BYTES_MAX], vec![])]).is_err());
    let mut store = SqliteStore::open(&path).unwrap();
    store.append(&[append("a", 1, b"x", vec![sale("p1", i64::MAX)])]).unwrap();
    assert!(store.append(&[append("a", 2, b"x", vec![sale("p2", 1)])]).is_err());
    assert_eq!(SqliteStore::open(&path).unwrap().load(machine("a")).unwrap().last_sequence, 1);
}

/// By hand, in release: `cargo test --release -p store-sqlite -- --ignored --nocapture measure`.
#[test]
#[ignore = "a measurement, not a check"]
fn measure() {
    for (machines, group_size) in [(1, 1), (64, 32), (1024, 256)] {
        let folder = Folder::new();
        let mut store = SqliteStore::open(&folder.file("host.db")).unwrap();
        let names: Vec<String> = (0..machines).map(|number| format!("{number:08}")).collect();
        let mut sequences = vec![0_u64; machines];
        let mut at = 0;
        let started = std::time::Instant::now();
        let mut appends = 0_u64;
        while started.elapsed().as_secs_f64() < 3.0 {
            let group: Vec<Append> = (0..group_size)
                .map(|_| {
                    at = (at + 1) % machines;
                    sequences[at] += 1;
                    payment_like(&names[at], sequences[at])
                })
                .collect();
            let outcomes = store.append(&group).unwrap();
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Durable(_))));
            appends += u64::try_from(group_size).unwrap();
        }
        let rate = appends as f64 / started.elapsed().as_secs_f64();
        eprintln!("{machines} machines, groups of {group_size}: {rate:.0} appends a second, {:.0} rows", rate * 11.0);
    }
}

/// What an approved sale writes: a record of 400 bytes, two keys, a posting of four legs on two shared accounts, a guard.
fn payment_like(name: &str, sequence: u64) -> Append {
    let account = |text: String| AccountName::new(text).unwrap();
    let leg = |text: String, delta_minor| Leg { account: account(text), delta_minor, currency: Currency::CNY };
    let key = [name.as_bytes(), &sequence.to_be_bytes()].concat();
    let legs = vec![
        leg(format!("card/{name}"), -1),
        leg("merchant/payable".to_owned(), 1),
        leg(format!("capture/{name}/{sequence}"), 1),
        leg("merchant/captures".to_owned(), -1),
    ];
    let rows = vec![
        Row::Unique { space: "intent", key: key.clone(), value: vec![7; 300] },
        Row::Unique { space: "rrn", key, value: vec![7; 100] },
        Row::Posting { id: format!("sale/{name}/{sequence}"), legs },
        Row::BalanceAtLeast {
            account: account(format!("card/{name}")),
            currency: Currency::CNY,
            floor_minor: i64::MIN,
        },
    ];
    append(name, sequence, &[7; 400], rows)
}
