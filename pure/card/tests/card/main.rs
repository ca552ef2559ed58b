//! The card from outside: every command, every profile, as a terminal sees them.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod payments;
#[cfg(test)]
mod pin;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod terminal;
