//! `irontill bench crypto --json` without building the rest of the house.

fn main() -> anyhow::Result<()> {
    println!("{:#}", bench::crypto(&bench::Timing::default())?.to_json());
    Ok(())
}
