//! A stricter stand-in for the 1fichier.com service.
