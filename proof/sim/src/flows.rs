//! Scripted flows on the product's own stores, whose disks go wrong at one operation: every one in turn.

use crate::auditor::Violation;
use crate::sqlite_node::SqliteNode;
use crate::world::{Nodes, Plan, Script, World};
use memory_disk::{Fault, When};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How often an operation is torn, each time otherwise.
pub const TORN_DRAWS: u64 = 8;
/// All scripts play in worlds of this seed.
const SEED: u64 = 1;

/// One thing that is done at the terminal, or done to it.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Signs in.
    SignIn,
    /// Signs off.
    SignOff,
    /// Tests the line.
    Echo,
    /// Asks for the card's balance.
    Balance,
    /// Closes the batch.
    Settle,
    /// Prints the last slip again.
    Reprint,
    /// Prints the last settlement again.
    ReprintSettlement,
    /// Sells for so many minor units.
    Sale {
        /// Minor units.
        minor: u64,
    },
    /// Sells, and the shopper types a wrong PIN.
    MistypedSale {
        /// Minor units.
        minor: u64,
    },
    /// Sells to the card that pays small sums without the host.
    OfflineSale {
        /// Minor units.
        minor: u64,
    },
    /// Adds a tip to the last sale.
    Tip {
        /// Minor units.
        minor: u64,
    },
    /// Sells in so many instalments.
    SellByInstalments {
        /// Minor units.
        minor: u64,
        /// How many.
        count: u8,
    },
    /// Voids the last sale.
    VoidLastSale,
    /// Refunds so much of the last sale.
    RefundLastSale {
        /// Minor units.
        minor: u64,
    },
    /// Holds money.
    PreAuthorise {
        /// Minor units.
        minor: u64,
    },
    /// Sets the last hold free.
    VoidAuthorisation,
    /// Takes so much of the last hold.
    Complete {
        /// Minor units.
        minor: u64,
    },
    /// Takes so much of the last hold, and tells the host afterwards.
    CompleteByNotice {
        /// Minor units.
        minor: u64,
    },
    /// Takes the last completion back.
    VoidCompletion,
    /// Sells to the buyer whose code is scanned.
    QrSale {
        /// Minor units.
        minor: u64,
    },
    /// Shows a code that the buyer scans.
    QrOrder {
        /// Minor units.
        minor: u64,
    },
    /// From now on the buyer pays when the till begins to wait for the nth time.
    BuyerPaysAt(u32),
    /// The terminal gets a newer master key, and the host hears of it.
    NewMasterKey,
    /// The next so many times no line can be had.
    RefuseLines(usize),
    /// The next so many requests are lost.
    LoseRequests(usize),
    /// The next so many responses are lost.
    LoseResponses(usize),
    /// The next request arrives twice.
    DoubleRequest,
    /// The next response arrives twice.
    DoubleResponse,
    /// The card is pulled behind so many of its commands.
    PullCardAfter(u32),
}

/// A script with a name.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// In words.
    pub name: &'static str,
    /// What is done, one after another.
    pub acts: &'static [Act],
    /// Whether it is one of those for which two cuts are combined in full.
    pub core: bool,
}

const fn flow(name: &'static str, acts: &'static [Act]) -> Flow {
    Flow { name, acts, core: false }
}

const fn core(name: &'static str, acts: &'static [Act]) -> Flow {
    Flow { name, acts, core: true }
}

/// The card asks for the host behind three in a row, and pays by itself all the same as long as there is no line.
const SMALL: Act = Act::OfflineSale { minor: 500 };

/// Every script.
pub const FLOWS: &[Flow] = &[
    core("sale", &[Act::Sale { minor: 1_250 }]),
    flow("sale beyond the card's limit", &[Act::Sale { minor: 3_000_000 }]),
    flow("sale with a wrong PIN", &[Act::MistypedSale { minor: 1_250 }, Act::Sale { minor: 1_250 }]),
    flow("sale whose request is lost", &[Act::LoseRequests(1), Act::Sale { minor: 1_250 }]),
    core("sale whose answer is lost", &[Act::LoseResponses(1), Act::Sale { minor: 1_250 }]),
    flow("sale and reversal without answers", &[Act::LoseResponses(3), Act::Sale { minor: 1_250 }]),
    flow("sale that arrives twice", &[Act::DoubleRequest, Act::DoubleResponse, Act::Sale { minor: 1_250 }]),
    flow("card pulled at once", &[Act::PullCardAfter(0), Act::Sale { minor: 1_250 }]),
    flow("card pulled before its first word", &[Act::PullCardAfter(4), Act::Sale { minor: 1_250 }]),
    flow("card pulled before its last word", &[Act::PullCardAfter(6), Act::Sale { minor: 1_250 }]),
    core("void", &[Act::Sale { minor: 1_250 }, Act::VoidLastSale]),
    flow("void whose answer is lost", &[Act::Sale { minor: 1_250 }, Act::LoseResponses(1), Act::VoidLastSale]),
    core(
        "two refunds of one sale",
        &[Act::Sale { minor: 1_250 }, Act::RefundLastSale { minor: 500 }, Act::RefundLastSale { minor: 750 }],
    ),
    flow(
        "refund whose answer is lost",
        &[Act::Sale { minor: 1_250 }, Act::LoseResponses(1), Act::RefundLastSale { minor: 500 }],
    ),
    flow("refund of too much", &[Act::Sale { minor: 1_250 }, Act::RefundLastSale { minor: 1_251 }]),
    flow("hold", &[Act::PreAuthorise { minor: 5_000 }]),
    flow("hold whose answer is lost", &[Act::LoseResponses(1), Act::PreAuthorise { minor: 5_000 }]),
    flow("hold set free", &[Act::PreAuthorise { minor: 5_000 }, Act::VoidAuthorisation]),
    flow(
        "hold set free without an answer",
        &[Act::PreAuthorise { minor: 5_000 }, Act::LoseResponses(1), Act::VoidAuthorisation],
    ),
    flow("hold taken", &[Act::PreAuthorise { minor: 5_000 }, Act::Complete { minor: 4_000 }]),
    flow(
        "hold taken without an answer",
        &[Act::PreAuthorise { minor: 5_000 }, Act::LoseResponses(1), Act::Complete { minor: 5_500 }],
    ),
    flow(
        "hold taken by notice",
        &[Act::PreAuthorise { minor: 5_000 }, Act::LoseResponses(1), Act::CompleteByNotice { minor: 4_000 }],
    ),
    flow(
        "completion taken back",
        &[Act::PreAuthorise { minor: 5_000 }, Act::Complete { minor: 4_000 }, Act::VoidCompletion],
    ),
    flow("balance", &[Act::Balance]),
    core("offline sale", &[Act::OfflineSale { minor: 1_250 }]),
    flow(
        "offline sales whose answers are lost",
        &[Act::LoseResponses(2), Act::OfflineSale { minor: 1_250 }, Act::OfflineSale { minor: 350 }, Act::Settle],
    ),
    flow("sale for which no line could be had", &[SMALL, SMALL, SMALL, Act::RefuseLines(2), SMALL]),
    flow("offline sale taken back", &[Act::OfflineSale { minor: 1_250 }, Act::LoseResponses(1), Act::VoidLastSale]),
    core("tip", &[Act::Sale { minor: 1_250 }, Act::Tip { minor: 200 }, Act::Settle]),
    flow(
        "tip whose answer is lost",
        &[Act::Sale { minor: 1_250 }, Act::LoseResponses(1), Act::Tip { minor: 200 }, Act::VoidLastSale],
    ),
    flow("instalments", &[Act::SellByInstalments { minor: 6_000, count: 6 }, Act::LoseResponses(1), Act::VoidLastSale]),
    flow(
        "instalments whose answer is lost",
        &[Act::LoseResponses(1), Act::SellByInstalments { minor: 6_000, count: 3 }],
    ),
    flow("QR sale", &[Act::QrSale { minor: 1_250 }]),
    flow("QR sale whose answer is lost", &[Act::LoseResponses(1), Act::QrSale { minor: 1_250 }]),
    flow("QR sale whose buyer is asked", &[Act::BuyerPaysAt(2), Act::QrSale { minor: 60_000 }]),
    core("QR order", &[Act::BuyerPaysAt(1), Act::QrOrder { minor: 880 }]),
    flow("QR order that nobody pays", &[Act::QrOrder { minor: 880 }]),
    flow("QR order paid at the last moment", &[Act::BuyerPaysAt(24), Act::QrOrder { minor: 880 }]),
    flow("QR void", &[Act::QrSale { minor: 1_250 }, Act::LoseResponses(1), Act::VoidLastSale, Act::VoidLastSale]),
    flow(
        "QR refunds and settlement",
        &[
            Act::BuyerPaysAt(1),
            Act::QrOrder { minor: 880 },
            Act::LoseResponses(1),
            Act::RefundLastSale { minor: 500 },
            Act::RefundLastSale { minor: 380 },
            Act::Settle,
        ],
    ),
    core(
        "settlement",
        &[
            Act::Sale { minor: 1_250 },
            Act::Sale { minor: 350 },
            Act::VoidLastSale,
            Act::Settle,
            Act::Sale { minor: 99 },
        ],
    ),
    flow("settlement whose answer is lost", &[Act::Sale { minor: 1_250 }, Act::LoseResponses(1), Act::Settle]),
    flow("sign-off and a sale", &[Act::SignOff, Act::Sale { minor: 1_250 }]),
    flow("new master key", &[Act::NewMasterKey, Act::SignIn, Act::Sale { minor: 1_250 }]),
    flow(
        "copies of slips",
        &[Act::Sale { minor: 1_250 }, Act::Reprint, Act::Settle, Act::ReprintSettlement, Act::Echo],
    ),
];

/// Whose disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Node {
    /// The till's.
    Till,
    /// The PED's.
    Ped,
    /// The host's.
    Host,
}

impl Node {
    /// All three.
    pub const ALL: [Node; 3] = [Node::Till, Node::Ped, Node::Host];
}

/// What goes wrong in a play.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// On whose disk.
    pub node: Node,
    /// Which operation, counted from 0 since the beginning of the flow.
    pub operation: u64,
    /// How.
    pub when: When,
    /// Decides what torn sectors hold.
    pub draw: u64,
    /// Which operation behind the return of power, and how, if that goes wrong too.
    pub again: Option<(u64, When)>,
}

/// What came of a play.
#[derive(Clone, Debug)]
pub struct Played {
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// Operations of each disk since the beginning of the flow.
    pub operations: BTreeMap<Node, u64>,
    /// Operations of the disk that failed since its power came back; 0 if it did not fail.
    pub recovery: u64,
    /// Whether the operation that was named was reached.
    pub struck: bool,
    /// Whether the operation of the recovery was reached too.
    pub struck_twice: bool,
    /// Operations of the till by how they ended.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// First slips by what stands on them.
    pub slips: BTreeMap<&'static str, u64>,
}

/// Plays a flow, perhaps with a cut.
///
/// # Errors
/// If the world cannot be set up; nothing that happens in it is an error.
pub fn play(flow: &Flow, cut: Option<Cut>) -> anyhow::Result<Played> {
    play_on(flow, cut, false)
}

/// Plays a flow on disks that call everything synced and sync nothing: a canary, which must be caught.
///
/// # Errors
/// If the world cannot be set up.
pub fn play_on_lying_disks(flow: &Flow, cut: Cut) -> anyhow::Result<Played> {
    play_on(flow, Some(cut), true)
}

fn play_on(flow: &Flow, cut: Option<Cut>, lying: bool) -> anyhow::Result<Played> {
    let node = |number: u64| Ok::<_, anyhow::Error>(Rc::new(RefCell::new(SqliteNode::new(number)?)));
    let draws = cut.map_or(0, |cut| (cut.operation * TORN_DRAWS + cut.draw) << 2);
    let nodes =
        BTreeMap::from([(Node::Till, node(draws)?), (Node::Ped, node(draws + 1)?), (Node::Host, node(draws + 2)?)]);
    let shared = |which: Node| Rc::clone(&nodes[&which]);
    let owned = Nodes { till: shared(Node::Till), ped: shared(Node::Ped), host: shared(Node::Host) };
    let left = match cut.map(|cut| cut.when) {
        None | Some(When::Refused) => When::After,
        Some(when) => when,
    };
    let mut world = World::scripted(Plan::of_script(SEED), Script::new(owned, left))?;
    world.settle_down();
    world.play(&[Act::SignIn]);
    let begun: BTreeMap<Node, u64> = nodes.iter().map(|(which, node)| (*which, node.borrow().operations())).collect();
    if let Some(cut) = cut {
        let fault = Fault { operation: begun[&cut.node] + cut.operation, when: cut.when };
        let again = cut.again.map(|(operation, when)| Fault { operation, when });
        nodes[&cut.node].borrow_mut().plan(fault, again);
    }
    if lying {
        nodes.values().for_each(|node| node.borrow_mut().lie());
    }
    world.play(flow.acts);
    world.audit_script();
    let operations = nodes.iter().map(|(which, node)| (*which, node.borrow().operations() - begun[which])).collect();
    let failed = cut.map(|cut| nodes[&cut.node].borrow());
    Ok(Played {
        violations: world.auditor.violations().to_vec(),
        operations,
        recovery: failed.as_ref().map_or(0, |node| node.recovery_operations()),
        struck: failed.as_ref().is_some_and(|node| node.has_failed()),
        struck_twice: cut.is_some_and(|cut| cut.again.is_some()) && failed.is_some_and(|node| node.has_failed_twice()),
        outcomes: world.outcomes.clone(),
        slips: world.slips_by_title.clone(),
    })
}

/// What came of many plays of one flow.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Operations of each disk in a play without a cut.
    pub operations: BTreeMap<Node, u64>,
    /// Plays.
    pub plays: u64,
    /// Those in which the operation was reached and went wrong.
    pub struck: u64,
    /// Those in which an operation of the recovery went wrong too.
    pub struck_twice: u64,
    /// Cuts behind which promises were broken.
    pub broken: Vec<(Cut, Vec<Violation>)>,
}

impl Tally {
    fn count(&mut self, cut: Cut, played: &Played) {
        self.plays += 1;
        self.struck += u64::from(played.struck);
        self.struck_twice += u64::from(played.struck_twice);
        if !played.violations.is_empty() {
            self.broken.push((cut, played.violations.clone()));
        }
    }
}

/// Lets every `stride`th operation of every disk go wrong in each way, and plays it to its end.
///
/// # Errors
/// If a world cannot be set up, or the flow breaks a promise without any cut.
pub fn try_operations(flow: &Flow, stride: u64) -> anyhow::Result<Tally> {
    let whole = play(flow, None)?;
    anyhow::ensure!(whole.violations.is_empty(), "{}: {:?}", flow.name, whole.violations);
    let mut tally = Tally { operations: whole.operations, plays: 1, ..Tally::default() };
    let mut turn = 0;
    for node in Node::ALL {
        for operation in 0..tally.operations[&node] {
            let draws = |when: When| 0..if when == When::Torn { TORN_DRAWS } else { 1 };
            for (when, draw) in When::ALL.into_iter().flat_map(|when| draws(when).map(move |draw| (when, draw))) {
                turn += 1;
                if turn % stride == 0 {
                    let cut = Cut { node, operation, when, draw, again: None };
                    let played = play(flow, Some(cut))?;
                    tally.count(cut, &played);
                }
            }
        }
    }
    Ok(tally)
}

/// Lets the power go at every `stride`th pair of an operation and one of the recovery behind it.
///
/// # Errors
/// If a world cannot be set up.
pub fn try_recoveries(flow: &Flow, stride: u64, tally: &mut Tally) -> anyhow::Result<()> {
    let mut turn = 0;
    for node in Node::ALL {
        for operation in 0..tally.operations[&node] {
            let first = Cut { node, operation, when: When::Torn, draw: 0, again: None };
            let recovery = play(flow, Some(first))?.recovery;
            for again in 0..recovery {
                turn += 1;
                if turn % stride == 0 {
                    let cut = Cut { again: Some((again, When::Torn)), ..first };
                    let played = play(flow, Some(cut))?;
                    tally.count(cut, &played);
                }
            }
        }
    }
    Ok(())
}
