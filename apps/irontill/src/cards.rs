//! `irontill card`: the card lab.

use crate::system::Folder;
use crate::till_point::profile;
use crate::verdict::Verdict;
use card::{Card, CardState};
use clap::Subcommand;
use machine::wire::Encode;
use reader::vpcd::{ServeEvent, StopSignal, serve};
use std::path::PathBuf;

/// The card lab.
#[derive(Subcommand)]
pub enum CardCommand {
    /// Lists the test cards and what each must do.
    List {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Puts a virtual card into a real PC/SC reader (vsmartcard's vpcd).
    Serve {
        /// Which card.
        #[arg(long)]
        profile: String,
        /// Where vpcd listens, for example 127.0.0.1:35963.
        #[arg(long)]
        vpcd: String,
        /// Folder of a system in which the card remembers itself.
        #[arg(long)]
        data: Option<PathBuf>,
    },
}

impl CardCommand {
    /// Carries it out.
    pub fn run(self) -> anyhow::Result<Verdict> {
        match self {
            CardCommand::List { json } => list(json),
            CardCommand::Serve { profile, vpcd, data } => serve_card(&profile, &vpcd, data),
        }
    }
}

fn list(json: bool) -> anyhow::Result<Verdict> {
    let profiles = card::profiles();
    if json {
        let one = |profile: &card::Profile| {
            serde_json::json!({
                "name": profile.name,
                "description": profile.description,
                "expectation": profile.expectation,
                "approves": profile.expected.approves(),
                "card": profile.pan().truncated().text(),
            })
        };
        println!("{}", serde_json::json!({ "cards": profiles.iter().map(one).collect::<Vec<_>>() }));
    } else {
        for profile in profiles {
            println!("{:<18} {}  {}", profile.name, profile.pan().truncated(), profile.description);
            println!("{:<18} expected: {}", "", profile.expectation);
        }
        println!("\nTest cards with public keys. Their numbers and PINs are in docs/test-cards.md.");
    }
    Ok(Verdict::Yes)
}

fn serve_card(name: &str, address: &str, data: Option<PathBuf>) -> anyhow::Result<Verdict> {
    let profile = profile(name)?;
    let state_file = data.as_ref().map(|path| Folder::new(path)).transpose()?.map(|folder| folder.card_state(name));
    let card = match state_file.as_ref().filter(|path| path.exists()) {
        Some(path) => {
            let state = CardState::from_bytes(&std::fs::read(path)?)?;
            Card::with_state(profile.personalisation(), state).map_err(|cause| anyhow::anyhow!("{cause}"))?
        }
        None => profile.card(),
    };
    eprintln!("card {name} at {address}; Ctrl-C takes it out");
    serve(card, address, &StopSignal::new(), |event, card| {
        if let (ServeEvent::PoweredOff, Some(path)) = (event, &state_file)
            && let Err(fault) = link::write_durably(path, &card.state().to_bytes())
        {
            eprintln!("card: {}: {fault}", path.display());
        }
    });
    Ok(Verdict::Yes)
}
