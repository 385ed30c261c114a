//! Open files by the number the kernel knows them by.
use crate::util::sync::{read, write};
use crate::write::volume::OpenFile;
use fuser::FileHandle;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// The table of open files. Numbers are never used twice, so a late request on a closed handle
/// finds nothing instead of somebody else's file. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct HandleTable {
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: RwLock<HashMap<u64, Arc<OpenFile>>>,
    issued: AtomicU64,
}

impl HandleTable {
    /// Adds an open file.
    pub(super) fn add(&self, file: OpenFile) -> FileHandle {
        let number = self.table.issued.fetch_add(1, Ordering::Relaxed) + 1;
        write(&self.table.open).insert(number, Arc::new(file));
        FileHandle(number)
    }

    /// The open file of a number.
    pub(super) fn get(&self, number: FileHandle) -> Option<Arc<OpenFile>> {
        read(&self.table.open).get(&number.0).cloned()
    }

    /// Closes a file; it ends with the last request on it that is under way.
    pub(super) fn remove(&self, number: FileHandle) -> Option<Arc<OpenFile>> {
        write(&self.table.open).remove(&number.0)
    }

    /// How many files are open.
    pub(super) fn len(&self) -> usize {
        read(&self.table.open).len()
    }
}
