//! Sheds what a parent leaves to its child: the environment and open descriptors.
//!
//! Both are in a process before its first line runs, so it starts itself once more without them. The process id stays.
//! What a preloaded library or a variable of the loader would have done to it is gone as well.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Tells the second start that it is one; its value is the process id, which nobody can have set before.
const MARK: &str = "IRONTILL_KEYS_BARE";
/// The first descriptor behind standard input, output and error.
const FIRST_INHERITED: i32 = 3;
/// The running program, even if its file has been replaced.
const PROGRAM: &str = "/proc/self/exe";

/// Starts the program again with the same arguments, the environment `kept` and no descriptor but the standard ones.
/// Returns only in the second start (true), or if there can be none (false).
pub fn shed(kept: &[String]) -> bool {
    let mark = std::process::id().to_string();
    if std::env::var_os(MARK).is_some_and(|value| value == mark.as_str()) {
        return true;
    }
    close_fds::set_fds_cloexec(FIRST_INHERITED, &[]);
    let mut arguments = std::env::args_os();
    let mut again = Command::new(PROGRAM);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).env_clear().env(MARK, mark);
    let variables = kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    // Only fails where /proc is missing; the caller says that the environment is still there.
    let _cannot = again.envs(variables).exec();
    false
}
