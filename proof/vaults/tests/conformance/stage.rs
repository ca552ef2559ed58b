//! What a custody's kind brings along so that the suite can be played on it.

use keys::MasterCustody;

/// One of the custodies on a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one in use.
    Own,
    /// The same device's next key, or the next passphrase.
    Next,
    /// Another device of the same kind, with everything else named the same.
    Foreign,
    /// The one in use, with a wrong PIN, authorisation value or passphrase.
    WrongSecret,
}

/// Devices of one kind, ready to be used.
pub trait Stage {
    /// The address of one of its custodies, as an operator would write it.
    fn address(&self, which: Which) -> String;

    /// Turns the device off and on again, as far as it has a switch.
    fn restart(&mut self);

    /// Takes the device away.
    fn take_away(&mut self);

    /// Brings it back.
    fn bring_back(&mut self);

    /// Destroys the key in use.
    fn destroy_key(&mut self) {
        self.custody(Which::Own).destroy().unwrap();
    }

    /// A fresh custody, made from its address as the key process makes it.
    fn custody(&self, which: Which) -> Box<dyn MasterCustody> {
        irontill_keys::custody(&self.address(which)).unwrap()
    }

    /// A fresh custody with its key in place.
    fn prepared(&self, which: Which) -> Box<dyn MasterCustody> {
        let mut custody = self.custody(which);
        custody.prepare().unwrap();
        custody
    }
}
