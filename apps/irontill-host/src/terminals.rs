//! The acquirer's machines as the host driver sees them.

use acquirer::{Acquirer, Event, HostConfig, Record};
use driver::HostKind;
use machine::MachineId;
use machine::store::{Journal, Outcome, Row};
use machine::wire::Malformed;
use std::sync::Arc;
use types::TerminalId;

/// One machine a terminal, all under one configuration.
pub struct Terminals {
    config: Arc<HostConfig>,
}

impl Terminals {
    /// Machines of this configuration.
    pub fn new(config: Arc<HostConfig>) -> Self {
        Self { config }
    }
}

impl HostKind for Terminals {
    type Machine = Acquirer;

    fn restore(&self, id: MachineId, journal: &Journal) -> Result<Acquirer, Malformed> {
        let terminal =
            TerminalId::parse(id.text()).map_err(|_| Malformed { offset: 0, what: "a terminal's journal" })?;
        Acquirer::restore(self.config.clone(), terminal, journal)
    }

    fn power_on(&self) -> Option<Event> {
        Some(Event::PowerOn)
    }

    fn appended(&self, outcome: Outcome) -> Event {
        Event::Appended(outcome)
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn rows(&self, record: &Record) -> Vec<Row> {
        acquirer::rows(record)
    }

    fn is_snapshot(&self, record: &Record) -> bool {
        record.is_snapshot()
    }

    fn unanswered(&self, machine: Acquirer) -> Vec<Event> {
        machine.into_unanswered()
    }
}
