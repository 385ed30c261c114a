//! The fake service seen from outside.

mod calls;
mod client;
mod downloads;
mod failing;
mod limits;
mod secure;
mod uploads;
mod wire;
