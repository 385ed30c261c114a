//! Open files by the number the kernel knows them by.
use crate::read::Handle;
use crate::util::sync::{read, write};
use fuser::FileHandle;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// The table of open files. Numbers are never used twice, so a late request on a closed handle
/// finds nothing instead of somebody else's file.
#[derive(Debug, Default)]
pub(super) struct HandleTable {
    open: RwLock<HashMap<u64, Arc<Handle>>>,
    issued: AtomicU64,
}

impl HandleTable {
    /// Adds an open file.
    pub(super) fn add(&self, handle: Handle) -> FileHandle {
        let number = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
        write(&self.open).insert(number, Arc::new(handle));
        FileHandle(number)
    }

    /// The open file of a number.
    pub(super) fn get(&self, number: FileHandle) -> Option<Arc<Handle>> {
        read(&self.open).get(&number.0).cloned()
    }

    /// Closes a file; the handle itself ends with the last read under way.
    pub(super) fn remove(&self, number: FileHandle) -> Option<Arc<Handle>> {
        write(&self.open).remove(&number.0)
    }

    /// How many files are open.
    pub(super) fn len(&self) -> usize {
        read(&self.open).len()
    }
}
