//! Which system calls the process can still make: seccomp.
//!
//! Three filters on top of each other; the kernel follows the strictest. What is on no list fails with `EPERM`, as a C
//! library's attempt to do something newer or cleverer may. What an honest key process never tries ends the process at
//! once. The lists were recorded under load (`docs/how-to/key-process.md` says how); each call has its reason.

use crate::sandbox::Enforcement;
use anyhow::Context;
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Allowed whatever the arguments.
const ALLOWED: &[(c_long, &str)] = &[
    (libc::SYS_accept4, "callers"),
    (libc::SYS_brk, "heap"),
    (libc::SYS_clock_gettime, "time"),
    (libc::SYS_clock_nanosleep, "pause"),
    (libc::SYS_close, "partings"),
    (libc::SYS_exit, "threads"),
    (libc::SYS_exit_group, "end"),
    (libc::SYS_fdatasync, "audit"),
    (libc::SYS_ftruncate, "secrets"),
    (libc::SYS_futex, "locks"),
    (libc::SYS_geteuid, "identity"),
    (libc::SYS_getpid, "identity"),
    (libc::SYS_getrandom, "randomness"),
    (libc::SYS_getsockopt, "credentials"),
    (libc::SYS_gettid, "threads"),
    (libc::SYS_madvise, "heap"),
    (libc::SYS_memfd_secret, "secrets"),
    (libc::SYS_mlock, "secrets"),
    (libc::SYS_mremap, "heap"),
    (libc::SYS_munmap, "heap"),
    (libc::SYS_nanosleep, "pause"),
    (libc::SYS_ppoll, "waiting"),
    (libc::SYS_pread64, "audit"),
    (libc::SYS_pwrite64, "audit"),
    (libc::SYS_read, "frames"),
    (libc::SYS_recvfrom, "frames"),
    (libc::SYS_restart_syscall, "signals"),
    (libc::SYS_rseq, "threads"),
    (libc::SYS_rt_sigaction, "signals"),
    (libc::SYS_rt_sigprocmask, "signals"),
    (libc::SYS_rt_sigreturn, "signals"),
    (libc::SYS_sched_getaffinity, "threads"),
    (libc::SYS_sched_yield, "locks"),
    (libc::SYS_sendto, "frames"),
    (libc::SYS_set_robust_list, "threads"),
    (libc::SYS_setsockopt, "timeouts"),
    (libc::SYS_shutdown, "partings"),
    (libc::SYS_sigaltstack, "threads"),
    (libc::SYS_write, "frames"),
    (libc::SYS_writev, "log"),
];

/// Allowed where Landlock holds file names to the process's own folders.
const ALLOWED_ON_FILES: &[(c_long, &str)] = &[
    (libc::SYS_fstat, "files"),
    (libc::SYS_fsync, "durability"),
    (libc::SYS_lseek, "files"),
    (libc::SYS_newfstatat, "files"),
    (libc::SYS_openat, "files"),
    (libc::SYS_statx, "files"),
    (libc::SYS_unlinkat, "sockets"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "sockets"),
];

/// Nothing that serves keys ever does these: whoever tries has taken the process over.
const DEADLY: &[(c_long, &str)] = &[
    (libc::SYS_bpf, "kernel"),
    (libc::SYS_connect, "network"),
    (libc::SYS_execve, "programs"),
    (libc::SYS_execveat, "programs"),
    (libc::SYS_finit_module, "kernel"),
    (libc::SYS_init_module, "kernel"),
    (libc::SYS_io_uring_setup, "bypass"),
    (libc::SYS_kexec_load, "kernel"),
    (libc::SYS_kill, "processes"),
    (libc::SYS_listen, "network"),
    (libc::SYS_memfd_create, "programs"),
    (libc::SYS_mount, "mounts"),
    (libc::SYS_open_by_handle_at, "bypass"),
    (libc::SYS_perf_event_open, "spying"),
    (libc::SYS_pidfd_getfd, "spying"),
    (libc::SYS_pivot_root, "mounts"),
    (libc::SYS_process_vm_readv, "spying"),
    (libc::SYS_process_vm_writev, "spying"),
    (libc::SYS_ptrace, "spying"),
    (libc::SYS_setns, "namespaces"),
    (libc::SYS_socket, "network"),
    (libc::SYS_umount2, "mounts"),
    (libc::SYS_unshare, "namespaces"),
    (libc::SYS_userfaultfd, "bypass"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_fork, "processes"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_vfork, "processes"),
];

/// A thread shares memory and is one of this process's; a new process or namespace is neither.
const THREAD_FLAGS: i32 = libc::CLONE_VM | libc::CLONE_THREAD;
const FORBIDDEN_CLONE_FLAGS: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// `argument & mask == value`.
fn masked(argument: u8, mask: i32, value: i32) -> anyhow::Result<SeccompRule> {
    let bits = |word: i32| u64::from(word.cast_unsigned());
    let operation = SeccompCmpOp::MaskedEq(bits(mask));
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, bits(value))?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn equal(argument: u8, value: i32) -> anyhow::Result<SeccompRule> {
    masked(argument, -1, value)
}

/// Allowed with these arguments only.
fn allowed_with_arguments() -> anyhow::Result<Rules> {
    let own_process = i32::try_from(std::process::id()).context("process id")?;
    Ok(BTreeMap::from([
        // Memory is never made executable.
        (libc::SYS_mmap, vec![masked(2, libc::PROT_EXEC, 0)?]),
        (libc::SYS_mprotect, vec![masked(2, libc::PROT_EXEC, 0)?]),
        // Threads and nothing else.
        (libc::SYS_clone, vec![masked(0, THREAD_FLAGS | FORBIDDEN_CLONE_FLAGS, THREAD_FLAGS)?]),
        // A second handle on a connection; looking at flags.
        (libc::SYS_fcntl, vec![equal(1, libc::F_DUPFD_CLOEXEC)?, equal(1, libc::F_GETFD)?, equal(1, libc::F_GETFL)?]),
        // A thread's name.
        (libc::SYS_prctl, vec![equal(0, libc::PR_SET_NAME)?]),
        // Abort: a signal to itself.
        (libc::SYS_tgkill, vec![equal(0, own_process)?]),
    ]))
}

fn whatever(calls: &[(c_long, &str)]) -> Rules {
    calls.iter().map(|(call, _)| (*call, Vec::new())).collect()
}

fn allow_list(with_files: bool) -> anyhow::Result<Rules> {
    let mut rules = allowed_with_arguments()?;
    rules.extend(whatever(ALLOWED));
    if with_files {
        rules.extend(whatever(ALLOWED_ON_FILES));
    }
    // Answered by the filter of its own.
    rules.insert(libc::SYS_clone3, Vec::new());
    Ok(rules)
}

fn program(rules: Rules, otherwise: SeccompAction, then: SeccompAction) -> anyhow::Result<BpfProgram> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, then, machine)?.try_into()?)
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.cast_unsigned())
}

/// Forbids everything else to this thread and every thread that it starts. `with_files`: files may be opened.
///
/// # Errors
/// If the filters cannot be made or the kernel, though it knows filters, does not take them.
pub fn restrict(with_files: bool) -> anyhow::Result<Enforcement> {
    let deadly = program(whatever(DEADLY), SeccompAction::Allow, SeccompAction::KillProcess)?;
    // Its flags are behind a pointer, where no filter sees them: the C library is told to use the older call.
    let clone3 = program(whatever(&[(libc::SYS_clone3, "threads")]), SeccompAction::Allow, errno(libc::ENOSYS))?;
    let allowed = program(allow_list(with_files)?, errno(libc::EPERM), SeccompAction::Allow)?;
    match apply_filter(&deadly) {
        Ok(()) => {}
        Err(seccompiler::Error::Seccomp(reason) | seccompiler::Error::Prctl(reason))
            if matches!(reason.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
        {
            return Ok(Enforcement::None);
        }
        Err(other) => return Err(other.into()),
    }
    apply_filter(&clone3)?;
    // The last one: it allows no further filters.
    apply_filter(&allowed)?;
    Ok(Enforcement::Full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_call_is_on_two_lists_and_each_has_a_word() {
        let lists = [ALLOWED, ALLOWED_ON_FILES, DEADLY];
        let mut seen: BTreeSet<c_long> = allowed_with_arguments().unwrap().keys().copied().collect();
        for (call, reason) in lists.into_iter().flatten() {
            assert!(seen.insert(*call), "call {call} twice");
            assert!(!reason.is_empty() && !reason.contains(' '), "{reason}");
        }
    }

    #[test]
    fn the_filters_compile() {
        for with_files in [false, true] {
            assert!(program(allow_list(with_files).unwrap(), errno(libc::EPERM), SeccompAction::Allow).is_ok());
        }
        assert!(program(whatever(DEADLY), SeccompAction::Allow, SeccompAction::KillProcess).is_ok());
    }
}
