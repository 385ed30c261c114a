//! Mounts a 1fichier.com account as an ordinary drive.
