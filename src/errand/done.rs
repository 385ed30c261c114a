//! What is answered. As JSON each is promised by a page of `docs/schema`; dates are seconds since 1970.
use super::asked::Guest;
use serde::{Deserialize, Serialize};

/// What an errand came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "kebab-case")]
pub enum Done {
    /// To [`Errand::Link`](super::Errand::Link).
    Link(Link),
    /// To [`Errand::Shared`](super::Errand::Shared) and [`Errand::Share`](super::Errand::Share).
    Shared(SharedFolder),
    /// To [`Errand::Protect`](super::Errand::Protect).
    Protected(Protected),
    /// To [`Errand::Fetch`](super::Errand::Fetch).
    Fetching(Fetching),
    /// To [`Errand::Fetches`](super::Errand::Fetches).
    Fetches {
        /// The newest last; the oldest of very many are left out.
        jobs: Vec<Job>,
    },
    /// To [`Errand::Fetched`](super::Errand::Fetched).
    Fetched(FetchResult),
    /// To [`Errand::Import`](super::Errand::Import).
    Imported(Imported),
    /// To [`Errand::Info`](super::Errand::Info) of a file.
    File(Box<FileFacts>),
    /// To [`Errand::Info`](super::Errand::Info) of a folder.
    Folder(Box<FolderFacts>),
}

/// A link.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Of what, as it was called.
    pub path: String,
    /// The public URL.
    pub url: String,
    /// A link to the bytes, if one was asked for. Whoever has it can read the file.
    pub direct: Option<String>,
    /// Seconds within which a download by it must begin.
    pub begin_within: Option<u64>,
    /// Seconds for which a download by it may be continued.
    pub continue_within: Option<u64>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("path", &self.path)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Who may see a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFolder {
    /// Which, as it was called.
    pub path: String,
    /// The address of its public page, if it has one.
    pub url: Option<String>,
    /// Whether the page has a password.
    pub password: bool,
    /// The accounts that see it.
    pub guests: Vec<Guest>,
    /// Whose it is, when somebody else shares it.
    pub owner: Option<String>,
}

/// A file whose password or description was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protected {
    /// Which, as it was called.
    pub path: String,
    /// Its public URL.
    pub url: String,
    /// Whether anything is another than before.
    pub changed: bool,
}

/// A request to fetch, taken by the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetching {
    /// Its number.
    pub id: u64,
    /// The folder, as it was called.
    pub into: String,
    /// What is fetched.
    pub urls: Vec<String>,
}

/// A request to fetch, in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// When it was made.
    pub requested: Option<i64>,
    /// When it was carried out; absent while it waits.
    pub executed: Option<i64>,
}

/// What became of a request to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchResult {
    /// As in the list.
    #[serde(flatten)]
    pub job: Job,
    /// What it is to fetch.
    pub urls: Vec<String>,
    /// What became of each so far.
    pub results: Vec<FetchedUrl>,
}

/// What became of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedUrl {
    /// The address.
    pub url: String,
    /// The file it became, if it did.
    pub file: Option<String>,
    /// The service's word for it.
    pub status: String,
    /// What the service says to it.
    pub message: String,
}

impl FetchResult {
    /// Whether nothing more is to come of it.
    pub fn is_over(&self) -> bool {
        self.job.executed.is_some()
    }
}

/// Files taken over from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The folder, as it was called.
    pub into: String,
    /// Those that are there now.
    pub files: Vec<ImportedFile>,
    /// Those that are not.
    pub missed: Vec<MissedLink>,
}

/// A file taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFile {
    /// The link of the other one.
    pub from: String,
    /// The new one, in this account.
    pub url: String,
}

/// A link that became no file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedLink {
    /// The link.
    pub from: String,
    /// Why not.
    pub reason: String,
}

/// All the service knows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the service's own flags")]
pub struct FileFacts {
    /// Which, as it was called.
    pub path: String,
    /// Its public URL.
    pub url: String,
    /// Its name as the service stores it.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded.
    pub uploaded: Option<i64>,
    /// The number of its folder; of one's own files only.
    pub folder: Option<u64>,
    /// That folder's path in the account.
    pub folder_path: Option<String>,
    /// Its Whirlpool hash.
    pub whirlpool: Option<String>,
    /// MIME type as the service guesses it.
    pub content_type: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Whether it has a password.
    pub password: bool,
    /// Whether browsers show it instead of saving it.
    pub inline: bool,
    /// Whether its links are plain http.
    pub no_ssl: bool,
    /// Whether its downloads spend the owner's CDN credits.
    pub cdn: bool,
    /// Who may download it, if not everybody.
    pub access: Option<AccessRules>,
}

/// Who may download a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRules {
    /// Addresses, CIDR.
    pub ip: Vec<String>,
    /// Countries, two letters.
    pub country: Vec<String>,
    /// Accounts.
    pub email: Vec<String>,
    /// Paying customers only.
    pub premium: bool,
}

/// All the service knows of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderFacts {
    /// Who may see it.
    #[serde(flatten)]
    pub shared: SharedFolder,
    /// Its number.
    pub id: u64,
    /// Its name as the service stores it.
    pub name: String,
    /// When it was made.
    pub created: Option<i64>,
    /// Folders in it.
    pub folders: u64,
    /// Files in it, those of sub-folders not counted.
    pub files: Option<u64>,
    /// Bytes of those; absent when there are none.
    pub size: Option<u64>,
}
