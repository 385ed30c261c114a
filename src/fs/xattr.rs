//! What the service knows of a file, readable without a download: `user.fichier.*`.
//!
//! The names answer to the mount's owner and root only, and are absent from listings of names:
//! `cp -a`, `rsync -X` and Samba would otherwise carry a file's public link along with every copy.
use crate::tree::{Kind, Node};
use crate::write::volume::State;

/// What the names of all of them begin with.
pub(super) const PREFIX: &[u8] = b"user.fichier.";

/// The value of an attribute, `None` when the node has no such attribute. `state` is asked for only when that is
/// what is wanted.
pub(super) fn value(node: &Node, name: &[u8], state: impl FnOnce() -> State) -> Option<String> {
    let name = name.strip_prefix(PREFIX)?;
    match (&node.kind, name) {
        (Kind::Folder(folder), b"id") => Some(folder.id.to_string()),
        (Kind::Folder(folder), b"date") => folder.created.map(date),
        (Kind::File(file), b"id") => Some(file.url.id().to_string()),
        (Kind::File(file), b"url") => Some(file.url.to_string()),
        (Kind::File(file), b"whirlpool") => file.whirlpool.map(|hash| hash.to_string()),
        (Kind::File(file), b"content_type") => file
            .content_type
            .as_deref()
            .map(|it| it.as_str().to_owned()),
        (Kind::File(file), b"date") => file.uploaded.map(date),
        (_, b"state") => Some(state().to_string()),
        _ => None,
    }
}

/// A date as RFC 3339 in UTC.
fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|at| at.to_string())
        .unwrap_or_default()
}
