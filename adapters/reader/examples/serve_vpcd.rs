//! Serves a built-in card to a PC/SC service with vpcd: `serve_vpcd [PROFILE] [HOST:PORT]`.

use reader::vpcd::{self, StopSignal};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "unionpay-credit".to_owned());
    let address = arguments.next().unwrap_or_else(|| format!("127.0.0.1:{}", vpcd::DEFAULT_PORT));
    let Some(profile) = card::profile(&name) else {
        let names: Vec<_> = card::profiles().iter().map(|profile| profile.name).collect();
        eprintln!("no such card; there are: {}", names.join(", "));
        std::process::exit(2);
    };
    vpcd::serve(profile.card(), &address, &StopSignal::new(), |event, _| println!("{event:?}"));
}
