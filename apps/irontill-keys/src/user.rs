//! The user that the process runs as.

use anyhow::{Context, bail, ensure};
use rustix::process::{Gid, Uid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid, set_thread_uid};

const ACCOUNTS: &str = "/etc/passwd";
const ACCOUNTS_BYTES_MAX: usize = 1 << 20;
/// Fields of an account's line (passwd(5)).
const NAME_FIELD: usize = 0;
const UID_FIELD: usize = 2;
const GID_FIELD: usize = 3;

/// What a key process may do as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsRoot {
    /// Nothing: it does not start.
    Refuse,
    /// Run and say so: for a machine or container where there is nobody else.
    Warn,
}

/// A user and its primary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

/// Finds a user by name or number among the machine's own accounts. A number without an account is its own group.
fn find(accounts: &str, wanted: &str) -> Option<User> {
    let number = wanted.parse::<u32>().ok();
    let account = accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let uid = fields.get(UID_FIELD)?.parse().ok()?;
        let gid = fields.get(GID_FIELD)?.parse().ok()?;
        (fields.get(NAME_FIELD) == Some(&wanted) || number == Some(uid)).then_some(User { uid, gid })
    });
    account.or(number.map(|uid| User { uid, gid: uid }))
}

/// Becomes `wanted`, for good.
///
/// # Errors
/// If there is no such user, it is root, this process may not become it, or anything of the old user is left.
pub fn become_user(wanted: &str) -> anyhow::Result<()> {
    let accounts = std::fs::read_to_string(ACCOUNTS).unwrap_or_default();
    ensure!(accounts.len() <= ACCOUNTS_BYTES_MAX, "{ACCOUNTS} is too long");
    let user = find(&accounts, wanted).with_context(|| format!("no user {wanted} in {ACCOUNTS}"))?;
    // The system's "leave this one as it is".
    ensure!(user.uid != u32::MAX && user.gid != u32::MAX, "{wanted} is no user");
    ensure!(user.uid != 0, "--user {wanted} is root");
    if !geteuid().is_root() {
        ensure!(geteuid().as_raw() == user.uid, "only root can become another user");
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&[]).context("leaving all groups")?;
    set_thread_res_gid(gid, gid, gid).context("changing the group")?;
    set_thread_res_uid(uid, uid, uid).context("changing the user")?;
    verify(user)
}

/// What the kernel says about this process, and that there is no way back.
fn verify(user: User) -> anyhow::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let all_are = |name: &str, expected: u32| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().count() == 4 && line.split_whitespace().all(|id| id.parse() == Ok(expected))
    };
    let changed = all_are("Uid:", user.uid) && all_are("Gid:", user.gid);
    let none = |name: &str| status.lines().any(|line| line.strip_prefix(name).is_some_and(is_zero));
    let groups = getgroups().context("reading the groups")?;
    if !changed || !groups.is_empty() || !none("CapEff:") || !none("CapPrm:") {
        bail!("something of the old user is left");
    }
    ensure!(set_thread_uid(Uid::ROOT).is_err(), "the way back to root is open");
    Ok(())
}

fn is_zero(mask: &str) -> bool {
    let mask = mask.trim();
    !mask.is_empty() && mask.bytes().all(|digit| digit == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/sh\nkeys:x:990:991::/nonexistent:/usr/sbin/nologin\nbroken\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let keys = Some(User { uid: 990, gid: 991 });
        assert_eq!(find(ACCOUNTS, "keys"), keys);
        assert_eq!(find(ACCOUNTS, "990"), keys);
        assert_eq!(find(ACCOUNTS, "4711"), Some(User { uid: 4711, gid: 4711 }));
        assert_eq!(find(ACCOUNTS, "nobody-here"), None);
        assert_eq!(find(ACCOUNTS, "x"), None);
    }

    #[test]
    fn root_is_no_user_to_become() {
        assert!(become_user("0").is_err() && become_user("root").is_err());
    }
}
