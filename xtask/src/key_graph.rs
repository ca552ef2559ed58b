//! The graph of who can touch a clear key, printed and kept in `docs/key-graph.md`.
//!
//! A crate can compute with a clear key only through `paycrypto`; every path to it is drawn, and beside each program
//! stands whether it holds one.

use crate::layers::{self, House};
use std::collections::BTreeSet;
use std::fmt::Write;

/// What computes with clear keys.
const SOURCE: &str = "paycrypto";
const PAGE: &str = "docs/key-graph.md";
const PROLOGUE: &str = "# Who can touch a clear key\n\n\
    Written by `cargo xtask key-graph --write`, checked by `cargo xtask rules`. An arrow is a dependency of what ships; every path to\n\
    `paycrypto`, the only crate that computes with clear keys, is drawn. What exists only to find mistakes (`proof`) is left out.\n\n";

/// The page as the dependencies of today make it.
///
/// # Errors
/// If `cargo metadata` fails.
pub fn page() -> anyhow::Result<String> {
    Ok(draw(&layers::read()?))
}

/// Writes the page.
///
/// # Errors
/// If it cannot be written.
pub fn write() -> anyhow::Result<()> {
    Ok(std::fs::write(PAGE, page()?)?)
}

/// A line if the page is not that of today.
///
/// # Errors
/// If `cargo metadata` fails.
pub fn check() -> anyhow::Result<Vec<String>> {
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default() == page()?;
    Ok(if kept { vec![] } else { vec![format!("{PAGE} is not up to date: cargo xtask key-graph --write")] })
}

fn draw(house: &House) -> String {
    let reaches = |name: &str| name == SOURCE || layers::reach(house, name).contains(SOURCE);
    let drawn: BTreeSet<&str> = house
        .values()
        .filter(|package| matches!(package.ring.as_str(), "pure" | "adapters" | "apps") && reaches(&package.name))
        .map(|package| package.name.as_str())
        .collect();
    let mut text = format!("{PROLOGUE}```mermaid\ngraph RL\n");
    for name in &drawn {
        let direct: BTreeSet<&str> = house[*name].direct.iter().map(String::as_str).collect();
        for dependency in direct.intersection(&drawn) {
            writeln!(text, "    {name} --> {dependency}").expect("writing to a string does not fail");
        }
    }
    text.push_str("```\n\n| program | clear keys in its process |\n|---|---|\n");
    for program in house.values().filter(|package| package.ring == "apps") {
        let name = &program.name;
        writeln!(text, "| `{name}` | {} |", in_words(house, name)).expect("writing to a string does not fail");
    }
    text
}

fn in_words(house: &House, program: &str) -> String {
    let reached = layers::reach(house, program);
    if !reached.contains(SOURCE) {
        return "none: asks the key process over its socket".to_owned();
    }
    let direct = |name: &&&str| house[**name].direct.iter().any(|dependency| dependency == SOURCE);
    let inside = reached.iter().filter(|name| house.contains_key(**name));
    let doors: Vec<String> = inside.filter(direct).map(|name| format!("`{name}`")).collect();
    format!("by way of {}", doors.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Package;

    fn package(ring: &str, name: &str, direct: &[&str]) -> (String, Package) {
        let direct = direct.iter().map(|name| (*name).to_owned()).collect();
        (name.to_owned(), Package { name: name.to_owned(), ring: ring.to_owned(), direct })
    }

    #[test]
    fn only_paths_to_clear_keys_are_drawn() {
        let house = House::from([
            package("pure", "paycrypto", &[]),
            package("pure", "till", &[]),
            package("adapters", "vault-soft", &["paycrypto", "till"]),
            package("apps", "host", &["till"]),
            package("apps", "keys", &["vault-soft"]),
            package("proof", "sim", &["paycrypto"]),
        ]);
        let text = draw(&house);
        assert!(text.contains("    keys --> vault-soft\n    vault-soft --> paycrypto\n```"));
        assert!(
            text.contains(
                "| `host` | none: asks the key process over its socket |\n| `keys` | by way of `vault-soft` |"
            )
        );
        assert!(!text.contains("sim"));
    }
}
