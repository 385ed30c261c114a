//! Assembles the parts, runs the session, ends it cleanly.
//!
//! [`serve`](run) is the assembly, of parts made beforehand (`parts`) and with an `ending` of its own, which
//! the next mount of the account may `take_over`. Around it: what must be right beforehand ([`check`]), the kernel's
//! side of a mount ([`kernel`], [`mountinfo`], [`stale`]), a process in the background
//! ([`background`]), [`signals`], systemd's `watchdog`, its [`cache`] as commands see it, and who keeps a mount busy
//! ([`users`]). The same parts without a mount answer commands in [`offline`].
mod account;
mod answers;
pub mod background;
pub mod cache;
pub mod check;
mod duplicates;
mod ending;
pub mod errands;
mod explain;
mod fusermount;
mod hooking;
mod index;
pub mod kernel;
pub mod mountinfo;
pub mod offline;
mod outgoing;
mod parts;
mod serve;
pub mod signals;
mod snapshot;
pub mod stale;
mod state;
mod take_over;
pub mod users;
mod watchdog;

pub use serve::run;
