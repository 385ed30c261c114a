//! The TLS implementation of the whole process.
use std::sync::Once;

/// Installs it. May be called any number of times; before any client of HTTP is made.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that another one is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
