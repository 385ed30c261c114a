//! Files that are whole in the disk cache, read by the kernel itself (FUSE passthrough).
//!
//! Only where nothing can change (`--read-only`) and root mounts, since the kernel asks for that. Such
//! reads go past our checksums, so a file is lent only when every part of it was read and found sound
//! since the machine started, and is on the disk itself. An inode is either lent or not: all that have it open at a
//! time have it open in the same way, or the kernel would refuse the second.
//!
//! Promises: whatever stands against it, the file opens in the ordinary way.
use crate::read::{Handle, Loan, Reader};
use crate::util::sync::lock;
use fuser::{BackingId, InitFlags, KernelConfig, ReplyOpen};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// File systems that may lie below: the cache's own, but none that is stacked on another.
const STACK_DEPTH: u32 = 1;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Passthrough {
    granted: AtomicBool,
    inodes: Mutex<HashMap<u64, Mode>>,
}

/// How an inode is open, and how often.
#[derive(Debug)]
enum Mode {
    Ordinary(u64),
    Lent(u64, Arc<Lent>),
}

/// A file the kernel reads itself.
#[derive(Debug)]
pub(super) struct Lent {
    // In this order: the kernel gives it back before it may be evicted.
    pub(super) backing: BackingId,
    _loan: Loan,
}

impl Passthrough {
    /// Asks the kernel for it.
    pub(super) fn negotiate(&self, config: &mut KernelConfig) {
        let granted = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(STACK_DEPTH).is_ok();
        if !granted {
            log::info!("this kernel offers no passthrough; going on without it");
        }
        self.granted.store(granted, Ordering::Relaxed);
    }

    /// Notes that an inode is being opened; what is to be answered when it is lent. `handle` is that of a file
    /// that is as the account has it; one changed by an earlier mount has none. Every call is followed by one of
    /// [`Passthrough::released`].
    pub(super) fn opened(
        &self,
        ino: u64,
        handle: Option<&Handle>,
        reader: &Reader,
        reply: &ReplyOpen,
    ) -> Option<Arc<Lent>> {
        if !self.granted.load(Ordering::Relaxed) {
            return None;
        }
        let mut inodes = lock(&self.inodes);
        match inodes.entry(ino) {
            Entry::Occupied(mut known) => match known.get_mut() {
                Mode::Ordinary(count) => {
                    *count += 1;
                    None
                }
                Mode::Lent(count, lent) => {
                    *count += 1;
                    Some(Arc::clone(lent))
                }
            },
            Entry::Vacant(place) => {
                let lent = handle.and_then(|handle| self.lend(handle, reader, reply));
                let lent = lent.map(Arc::new);
                place.insert(match &lent {
                    Some(lent) => Mode::Lent(1, Arc::clone(lent)),
                    None => Mode::Ordinary(1),
                });
                lent
            }
        }
    }

    /// An inode was closed once.
    pub(super) fn released(&self, ino: u64) {
        let mut inodes = lock(&self.inodes);
        let Entry::Occupied(mut known) = inodes.entry(ino) else {
            return;
        };
        let (Mode::Ordinary(count) | Mode::Lent(count, _)) = known.get_mut();
        *count -= 1;
        if *count == 0 {
            known.remove();
        }
    }

    fn lend(&self, handle: &Handle, reader: &Reader, reply: &ReplyOpen) -> Option<Lent> {
        let loan = reader.lend(handle)?;
        match reply.open_backing(loan.data()?) {
            Ok(backing) => Some(Lent {
                backing,
                _loan: loan,
            }),
            Err(error) => {
                log::info!(
                    "the kernel does not read the disk cache itself ({error}); its folder may be on a \
                     stacked file system. Going on without"
                );
                self.granted.store(false, Ordering::Relaxed);
                None
            }
        }
    }
}
