//! The mount's status as a page and as metrics, over HTTP (`--metrics`).
//!
//! ```text
//! server     connections, bounded in number and time
//!  └▶ reply       which answer a request gets: method, host, path, what it accepts   (pure)
//!      ├▶ html        the page for people                                            (pure)
//!      └▶ metrics     which figures have which names
//!          └▶ exposition  how they are written                                       (pure)
//! ```
//!
//! Promises: nothing can be changed through it; a page of another site cannot read it through a browser;
//! whatever a file is called, it is text on the page. It tells what the socket tells ([`crate::control`]),
//! and knows neither the service nor the kernel.
mod exposition;
mod html;
pub mod metrics;
mod reply;
mod server;

pub use reply::Hosts;
pub use server::Page;
