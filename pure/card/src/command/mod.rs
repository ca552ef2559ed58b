//! The commands, one file an idea.

mod authenticate;
mod generate_ac;
mod get_data;
mod issuer;
mod processing_options;
mod read_record;
mod select;
mod verify;
