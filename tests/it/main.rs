//! Tests of the parts against the fake service, without a mount.
mod api;
mod support;
