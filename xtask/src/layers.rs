//! The dependency rules of the house, read from `cargo metadata`.
//!
//! Normal and build dependencies count; development dependencies do not, since nothing of them ships.

use anyhow::Context;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Outside crates that anything in `pure` may use.
const PURE_OUTSIDE: &[&str] = &["zeroize", "subtle", "thiserror"];
/// Further outside crates for single rooms of `pure`: cryptographic primitives and the hash chain.
const PURE_OUTSIDE_BY_ROOM: &[(&str, &[&str])] = &[
    ("machine", &["sha2"]),
    ("ledger", &["sha2"]),
    ("paycrypto", &["aes", "cipher", "sha1", "sha2", "sm3", "sm4", "hmac", "cmac", "aes-gcm"]),
    ("emv", &["sha1", "num-bigint-dig"]),
    ("card", &["sha1", "num-bigint-dig"]),
];
/// Who may depend on `paycrypto`: where clear keys may be.
const PAYCRYPTO_GUESTS: &[&str] = &["vault-soft", "fast-cipher", "card"];
/// The only program that may join everything (`irontill`): it re-executes itself as the separate processes.
const EXCEPTION: &str = "irontill";
/// What a crate must never reach, over any path: the machines do not know each other, and a program links only what it needs.
const NEVER_REACHES: &[(&str, &[&str])] = &[
    ("till", &["ped", "acquirer", "keys", "emv", "card", "paycrypto"]),
    ("ped", &["till", "acquirer", "paycrypto"]),
    ("acquirer", &["till", "ped", "pedlink", "emv", "card", "paycrypto"]),
    (
        "irontill-host",
        &["till", "ped", "pedlink", "emv", "card", "reader", "vault-soft", "vault-pkcs11", "vault-tpm", "paycrypto"],
    ),
    ("irontill-terminal", &["acquirer", "issuer", "irontill-host", "vault-remote", "vault-pkcs11"]),
    ("irontill-keys", &["link", "store-sqlite", "acquirer", "till", "ped", "rustls", "tokio"]),
];

/// One crate of the house.
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its first folder.
    pub ring: String,
    /// What it depends on, of the house or not.
    pub direct: Vec<String>,
}

/// Crates by name.
pub type House = BTreeMap<String, Package>;

/// Lines that say which rule is broken; empty when all are kept.
pub fn check() -> anyhow::Result<Vec<String>> {
    let house = read()?;
    let mut broken = Vec::new();
    for package in house.values() {
        broken.extend(ring_rules(&house, package));
        broken.extend(guest_list(&house, package));
    }
    for (from, forbidden) in NEVER_REACHES {
        let reached = reach(&house, from);
        let found = forbidden.iter().filter(|name| reached.contains(**name));
        broken.extend(found.map(|name| format!("{from} must never reach {name}")));
    }
    Ok(broken)
}

/// The house as `cargo metadata` describes it.
///
/// # Errors
/// If cargo fails.
pub fn read() -> anyhow::Result<House> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let root = metadata["workspace_root"].as_str().context("no workspace root")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages.iter().map(|package| read_package(root, package)).collect()
}

fn read_package(root: &str, package: &Value) -> anyhow::Result<(String, Package)> {
    let name = package["name"].as_str().context("a package without a name")?.to_owned();
    let manifest = package["manifest_path"].as_str().context("a package without a manifest")?;
    let place = manifest.strip_prefix(root).unwrap_or(manifest).trim_start_matches('/');
    let ring = place.split('/').next().unwrap_or_default().to_owned();
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let shipped = dependencies.filter(|dependency| dependency["kind"] != "dev");
    let direct = shipped.filter_map(|dependency| Some(dependency["name"].as_str()?.to_owned())).collect();
    Ok((name.clone(), Package { name, ring, direct }))
}

fn ring_rules(house: &House, package: &Package) -> Vec<String> {
    let complain = |dependency: &String| {
        let reason = match house.get(dependency) {
            Some(inside) => inside_rule(package, inside),
            None => outside_rule(package, dependency),
        };
        reason.map(|reason| format!("{}/{} -> {dependency}: {reason}", package.ring, package.name))
    };
    package.direct.iter().filter_map(complain).collect()
}

fn inside_rule(package: &Package, dependency: &Package) -> Option<&'static str> {
    match (package.ring.as_str(), dependency.ring.as_str()) {
        (_, "pure") => None,
        ("pure", _) => Some("pure depends on pure only"),
        ("adapters", "adapters") => Some("adapters do not know each other"),
        ("adapters", _) => Some("adapters depend on pure only"),
        ("apps", "adapters") => None,
        ("apps", "apps" | "proof") if package.name == EXCEPTION => None,
        ("apps", "apps") => Some("apps do not depend on apps"),
        (_, "proof") if package.ring != "proof" => Some("nothing depends on proof"),
        (_, "xtask") => Some("nothing depends on xtask"),
        _ => None,
    }
}

fn outside_rule(package: &Package, dependency: &str) -> Option<&'static str> {
    let by_room = PURE_OUTSIDE_BY_ROOM.iter().filter(|(room, _)| *room == package.name);
    let allowed =
        PURE_OUTSIDE.contains(&dependency) || by_room.into_iter().any(|(_, names)| names.contains(&dependency));
    (package.ring == "pure" && !allowed).then_some("not on the list of outside crates for this room of pure")
}

fn guest_list(house: &House, package: &Package) -> Option<String> {
    let invited =
        PAYCRYPTO_GUESTS.contains(&package.name.as_str()) || package.ring == "proof" || package.name == EXCEPTION;
    let knows = package.direct.iter().any(|name| name == "paycrypto") && house.contains_key("paycrypto");
    (knows && !invited).then(|| format!("{} is not on the guest list of paycrypto", package.name))
}

/// Everything that a crate depends on, over any path.
pub fn reach<'a>(house: &'a House, from: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let direct = house.get(name).map(|package| &package.direct);
        for next in direct.into_iter().flatten() {
            if reached.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(packages: &[(&str, &str, &[&str])]) -> House {
        let package = |(ring, name, direct): &(&str, &str, &[&str])| {
            let direct = direct.iter().map(|name| (*name).to_owned()).collect();
            ((*name).to_owned(), Package { name: (*name).to_owned(), ring: (*ring).to_owned(), direct })
        };
        packages.iter().map(package).collect()
    }

    fn complaints(house: &House) -> usize {
        house.values().map(|package| ring_rules(house, package).len() + guest_list(house, package).iter().count()).sum()
    }

    #[test]
    fn planted_breaks_are_found() {
        assert_eq!(complaints(&house(&[("pure", "till", &["tokio"])])), 1);
        assert_eq!(complaints(&house(&[("pure", "till", &["link"]), ("adapters", "link", &[])])), 1);
        assert_eq!(complaints(&house(&[("adapters", "link", &["driver"]), ("adapters", "driver", &[])])), 1);
        assert_eq!(complaints(&house(&[("pure", "ped", &["paycrypto"]), ("pure", "paycrypto", &[])])), 1);
        assert_eq!(complaints(&house(&[("apps", "irontill-host", &["sim"]), ("proof", "sim", &[])])), 1);
    }

    #[test]
    fn what_is_allowed_passes() {
        let fine = house(&[
            ("pure", "paycrypto", &["aes", "zeroize"]),
            ("adapters", "vault-soft", &["paycrypto", "aws-lc-rs"]),
            ("apps", "irontill", &["irontill-host", "sim"]),
            ("apps", "irontill-host", &["vault-soft"]),
            ("proof", "sim", &["paycrypto"]),
        ]);
        assert_eq!(complaints(&fine), 0);
    }

    #[test]
    fn reach_follows_every_path() {
        let house = house(&[("pure", "a", &["b"]), ("pure", "b", &["c"]), ("pure", "c", &[])]);
        assert_eq!(reach(&house, "a"), BTreeSet::from(["b", "c"]));
    }
}
