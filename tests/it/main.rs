//! The parts against the fake service, over HTTP and without a mount; and the program's commands.
mod cli;
mod common;
mod read;
