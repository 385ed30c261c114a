//! The folder that a mount shows as its root.
use super::inode::Ino;
use super::listing::{Listing, Surroundings};
use super::node::NodeKey;
use super::numbering::Numbering;
use crate::api::{ApiError, Ask, Client, ErrorKind, FolderId, Priority, Requester, UnixSeconds};
use crate::util::deadline::Deadline;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// A folder of the account that becomes the root of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFolder {
    /// Its number.
    pub id: FolderId,
    /// When it was made, if that is known.
    pub created: Option<UnixSeconds>,
    /// The folders above it: none of them can be inside the mount.
    pub above: Vec<FolderId>,
}

impl RootFolder {
    /// The root of the account.
    pub fn account() -> Self {
        Self {
            id: FolderId::ROOT,
            created: None,
            above: Vec::new(),
        }
    }
}

/// Why a path does not name a folder of the account.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A path that leads out of itself.
    #[error("{0:?} must not contain `..`; give the path from the root of the account")]
    Upwards(PathBuf),
    /// There is no such folder.
    #[error(
        "there is no folder {0:?} in the account; see `fichierfs mount` without --root for what is there"
    )]
    Missing(PathBuf),
    /// It is a file.
    #[error("{0:?} is a file; only a folder can be mounted")]
    NotAFolder(PathBuf),
    /// It is not in the part of its parent that the service lists.
    #[error(
        "{0:?} is not among the entries that the service lists; move it to a folder with fewer"
    )]
    Unseen(PathBuf),
    /// A call failed.
    #[error("cannot look for {path:?}: {source}")]
    Api {
        /// As far as it was looked for.
        path: PathBuf,
        /// Why.
        source: ApiError,
    },
}

/// Finds the folder at `path`, which names folders as a mount of the whole account shows them. One
/// call per component.
pub async fn resolve_root(
    client: &Client,
    path: &Path,
    deadline: Deadline,
) -> Result<RootFolder, RootError> {
    let mut found = RootFolder::account();
    let mut walked = PathBuf::from("/");
    for component in path.components() {
        let name = match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir => return Err(RootError::Upwards(path.to_owned())),
            Component::Normal(name) => name,
        };
        walked.push(name);
        found = step(client, found, name, &walked, deadline).await?;
    }
    Ok(found)
}

/// The folder called `name` inside `parent`.
async fn step(
    client: &Client,
    parent: RootFolder,
    name: &OsStr,
    walked: &Path,
    deadline: Deadline,
) -> Result<RootFolder, RootError> {
    let ask = Ask::new(Priority::Wanted, deadline, Requester::SELF);
    let answer = match client.list_folder(&ask, parent.id).await {
        // Perhaps because of too many files; the sub-folders alone will do.
        Err(error) if error.kind == ErrorKind::Refused => {
            client.list_sub_folders(&ask, parent.id).await
        }
        answer => answer,
    };
    let answer = answer.map_err(|source| RootError::Api {
        path: walked.to_owned(),
        source,
    })?;
    let (listing, _) = Listing::build(
        &answer,
        &Surroundings {
            ino: Ino::ROOT,
            number: &|key, taken| Ino::of(key).filter(|ino| !taken(*ino)),
            numbering: &Numbering::default(),
            fetched: deadline.clock().now(),
            kept: &[],
            is_complete: !answer.is_cut(),
        },
    );
    match listing.get(name).map(|node| (node.key(), node.created())) {
        Some((NodeKey::Folder(id), created)) => {
            let mut above = parent.above;
            above.push(parent.id);
            Ok(RootFolder { id, created, above })
        }
        Some((NodeKey::File(_) | NodeKey::Own(_), _)) => {
            Err(RootError::NotAFolder(walked.to_owned()))
        }
        None if listing.is_complete() => Err(RootError::Missing(walked.to_owned())),
        None => Err(RootError::Unseen(walked.to_owned())),
    }
}
