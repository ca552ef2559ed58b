//! House rules and chores, behind one door: `cargo xtask layers`, `cargo xtask tidy`, `cargo xtask key-graph`.

mod key_graph;
mod layers;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <layers|tidy|rules|key-graph [--write]>\n  layers     who may depend on whom\n  tidy       what the text of a source file must keep\n  rules      both, and docs/key-graph.md\n  key-graph  who can touch a clear key";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let result = match command.as_str() {
        "layers" => layers::check(),
        "tidy" => tidy::check(),
        "rules" => layers::check().and_then(|broken| Ok([broken, tidy::check()?, key_graph::check()?].concat())),
        "key-graph" if std::env::args().nth(2).as_deref() == Some("--write") => key_graph::write().map(|()| vec![]),
        "key-graph" => return print_key_graph(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(broken) if broken.is_empty() => {
            println!("{command}: kept");
            ExitCode::SUCCESS
        }
        Ok(broken) => {
            broken.iter().for_each(|line| eprintln!("{command}: {line}"));
            ExitCode::from(1)
        }
        Err(cause) => {
            eprintln!("{command}: {cause:#}");
            ExitCode::from(3)
        }
    }
}

fn print_key_graph() -> ExitCode {
    match key_graph::page() {
        Ok(page) => {
            print!("{page}");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            eprintln!("key-graph: {cause:#}");
            ExitCode::from(3)
        }
    }
}
