//! What the text of a source file must keep, where no compiler looks.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest function in lines, signature and braces included.
const FUNCTION_LINES_MAX: usize = 70;
/// Words that mean unfinished work. Spelled in halves so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
    concat!("dbg", "!("),
];
/// The files that may allow unsafe code, for what no safe interface offers.
const UNSAFE_FILES: &[&str] = &[
    "adapters/cipher/src/x86.rs",
    "adapters/memory-disk/src/vfs.rs",
    "adapters/vault-soft/src/secret_memory.rs",
    "apps/irontill-keys/tests/planted.rs",
];
const UNSAFE_ALLOWED: &str = concat!("allow(", "unsafe_code");
/// Where the proof of durability may be made.
const DURABILITY_MAKERS: &[&str] = &["adapters/store-", "proof/sim/", "pure/machine/", "xtask/"];

/// Lines that say which rule is broken; empty when all are kept.
pub fn check() -> anyhow::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .output()
        .context("git ls-files")?;
    anyhow::ensure!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout)?;
    let mut broken = Vec::new();
    for name in names.lines().filter(|name| Path::new(name).exists()) {
        let text = std::fs::read_to_string(PathBuf::from(name)).with_context(|| name.to_owned())?;
        broken.extend(check_file(name, &text));
    }
    Ok(broken)
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        broken.push(format!("{name}: no `//!` header"));
    }
    for word in UNFINISHED.iter().filter(|word| text.contains(**word)) {
        broken.push(format!("{name}: unfinished: {word}"));
    }
    if text.contains(UNSAFE_ALLOWED) && !UNSAFE_FILES.contains(&name) {
        broken.push(format!("{name}: only the files named in xtask may allow unsafe code"));
    }
    let maker = DURABILITY_MAKERS.iter().any(|place| name.starts_with(place)) || name.contains("/tests/");
    let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
    if !maker && shipped.contains("Durable::assertion") {
        broken.push(format!("{name}: only a store or the simulator may assert durability"));
    }
    broken.extend(
        long_functions(text).map(|(line, length)| {
            format!("{name}:{line}: a function of {length} lines (at most {FUNCTION_LINES_MAX})")
        }),
    );
    broken
}

/// Start line and length of each function that is too long. Relies on rustfmt: a body ends at the indentation it began.
fn long_functions(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let lines: Vec<&str> = text.lines().collect();
    let starts = (0..lines.len()).filter(|index| is_function(lines[*index])).collect::<Vec<_>>();
    starts.into_iter().filter_map(move |start| {
        let indent = lines[start].len() - lines[start].trim_start().len();
        let closes = |line: &&str| line.len() == indent + 1 && line.trim_start() == "}";
        let length = lines[start..].iter().position(closes)? + 1;
        (length > FUNCTION_LINES_MAX).then_some((start + 1, length))
    })
}

fn is_function(line: &str) -> bool {
    let code = line.trim_start();
    let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe "];
    let mut rest = code;
    while let Some(next) = words.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = next;
    }
    rest.starts_with("fn ") && !code.ends_with(';') && !code.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_breaks_are_found() {
        assert_eq!(check_file("pure/x/src/lib.rs", "fn f() {}\n").len(), 1);
        assert_eq!(check_file("pure/x/src/lib.rs", &format!("//! X.\n// {}\n", UNFINISHED[0])).len(), 1);
        assert_eq!(check_file("pure/x/src/lib.rs", "//! X.\nfn f() { Durable::assertion(m, 1); }\n").len(), 1);
        assert_eq!(check_file("pure/x/src/lib.rs", &format!("//! X.\n#![{UNSAFE_ALLOWED})]\n")).len(), 1);
        let long = format!("//! X.\npub fn f() {{\n{}}}\n", "    a();\n".repeat(70));
        assert_eq!(check_file("pure/x/src/lib.rs", &long).len(), 1);
    }

    #[test]
    fn a_kept_file_passes() {
        let text = format!("//! X.\n\npub(crate) fn f() {{\n{}}}\n", "    a();\n".repeat(60));
        assert!(check_file("pure/x/src/lib.rs", &text).is_empty());
        assert!(
            check_file("adapters/store-sqlite/src/lib.rs", "//! X.\nfn f() { Durable::assertion(m, 1); }\n").is_empty()
        );
    }
}
