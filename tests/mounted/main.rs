//! What a person at the mountpoint sees: the real program on the fake service. Needs /dev/fuse.
mod harness;
mod life;
mod names;
mod reading;
mod trouble;
