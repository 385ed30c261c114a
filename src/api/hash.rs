//! The hash the service identifies contents with, computed as bytes come.
//!
//! Promises: the same digits as the service's `checksum` and `whirlpool` fields (API reference
//! 4.3). About 100 MB/s per core, so feed it on a blocking thread. Never knows where bytes come from.
use super::types::Whirlpool;
use whirlpool::Digest;

/// A Whirlpool computation under way.
#[derive(Clone)]
pub struct WhirlpoolHasher(whirlpool::Whirlpool);

impl WhirlpoolHasher {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self(whirlpool::Whirlpool::new())
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything taken.
    pub fn finish(self) -> Whirlpool {
        Whirlpool(self.0.finalize().into())
    }
}

impl Default for WhirlpoolHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Whirlpool {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = WhirlpoolHasher::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_service_s_own_vector_and_the_iso_vectors_hold() {
        let listed = Whirlpool::of(b"Hello world\n").to_string();
        assert!(listed.starts_with("0a894ff0"), "{listed}");
        assert!(listed.ends_with("f006a2c5"), "{listed}");
        let vectors: [(&[u8], &str); 3] = [
            (
                b"",
                "19fa61d75522a4669b44e39c1d2e1726c530232130d407f89afee0964997f7a7\
                 3e83be698b288febcf88e3e03c4f0757ea8964e59b63d93708b138cc42a66eb3",
            ),
            (
                b"a",
                "8aca2602792aec6f11a67206531fb7d7f0dff59413145e6973c45001d0087b42\
                 d11bc645413aeff63a42391a39145a591a92200d560195e53b478584fdae231a",
            ),
            (
                b"abc",
                "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c\
                 7181eebdb6c57e277d0e34957114cbd6c797fc9d95d8b582d225292076d4eef5",
            ),
        ];
        for (input, digits) in vectors {
            assert_eq!(Whirlpool::of(input), Whirlpool::parse(digits).unwrap());
        }
    }

    proptest! {
        #[test]
        fn pieces_hash_as_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let cut = cut.min(bytes.len());
            let mut hasher = WhirlpoolHasher::new();
            hasher.update(&bytes[..cut]);
            hasher.update(&bytes[cut..]);
            prop_assert_eq!(hasher.finish(), Whirlpool::of(&bytes));
        }
    }
}
