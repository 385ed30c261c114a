//! Takes files of others into the account: `file/cp` on their links (API reference 5.9).
use super::asked::Target;
use super::done::{Done, Imported, ImportedFile, MissedLink};
use super::refusal::Refusal;
use super::run::{Desk, News, Places, not_a_link};
use crate::api::{ApiError, Copied, ErrorKind, FileId, FileUrl, FolderId};
use crate::secret::Password;
use std::collections::HashSet;

/// Links of one call at most, as for other calls on many files (API reference 5.10).
pub const LINKS_AT_ONCE: usize = 100;

/// Refusals after which no more links are tried one by one: many refusals count as abuse (API reference
/// 2.2).
const MOST_REFUSED: usize = 5;

impl<P: Places> Desk<'_, P> {
    /// Takes files over.
    pub(super) async fn import(
        &self,
        links: &[String],
        into: &Target,
        name: Option<String>,
        password: Option<&Password>,
    ) -> Result<Done, Refusal> {
        let mut files = Vec::new();
        for link in links {
            let file = FileUrl::parse(link).ok_or_else(|| not_a_link(link))?;
            if !files.contains(&file) {
                files.push(file);
            }
        }
        if files.is_empty() || files.len() > LINKS_AT_ONCE {
            return Err(Refusal(format!(
                "from 1 to {LINKS_AT_ONCE} links are taken over by one call"
            )));
        }
        if name.is_some() && files.len() > 1 {
            return Err(Refusal::new("one name is for one link"));
        }
        let (subject, folder) = self
            .folder(
                into,
                "this is a file; what is taken over goes into a folder",
            )
            .await?;
        let terms = Terms {
            folder,
            name: name.as_deref(),
            password,
        };
        let mut came = Came::default();
        match self.copy(&files, terms).await {
            Ok(copied) => came.take(&files, copied),
            // One of them may be to blame for all.
            Err(error) if files.len() > 1 && is_of_one(error.kind) => {
                self.one_by_one(&files, terms, &mut came).await;
            }
            Err(error) => {
                let what = match &files[..] {
                    [one] => one.to_string(),
                    more => format!("{} links", more.len()),
                };
                return Err(Refusal::of_call(&what, &error));
            }
        }
        if !came.files.is_empty() {
            self.places.hear(News::Came {
                folder,
                files: came.ids,
            });
        }
        Ok(Done::Imported(Imported {
            into: subject.path,
            files: came.files,
            missed: came.missed,
        }))
    }

    async fn one_by_one(&self, files: &[FileUrl], terms: Terms<'_>, came: &mut Came) {
        let mut refused = 0;
        for file in files {
            if refused == MOST_REFUSED {
                came.miss(file, "not tried: too many others were refused".to_owned());
                continue;
            }
            let one = std::slice::from_ref(file);
            match self.copy(one, terms).await {
                Ok(copied) => came.take(one, copied),
                Err(error) => {
                    refused += 1;
                    let why = Refusal::of_call(&file.to_string(), &error);
                    came.miss(file, why.to_string());
                }
            }
        }
    }

    async fn copy(&self, files: &[FileUrl], terms: Terms<'_>) -> Result<Copied, ApiError> {
        self.client
            .file_import(&self.ask(), files, terms.folder, terms.name, terms.password)
            .await
    }
}

#[derive(Clone, Copy)]
struct Terms<'a> {
    folder: FolderId,
    name: Option<&'a str>,
    password: Option<&'a Password>,
}

/// What has come of the links so far.
#[derive(Default)]
struct Came {
    files: Vec<ImportedFile>,
    ids: Vec<FileId>,
    missed: Vec<MissedLink>,
}

impl Came {
    fn take(&mut self, asked: &[FileUrl], copied: Copied) {
        let done: HashSet<FileId> = copied.copies.iter().map(|(from, _)| from.id()).collect();
        for (from, to) in copied.copies {
            self.ids.push(to.id());
            self.files.push(ImportedFile {
                from: from.to_string(),
                url: to.to_string(),
            });
        }
        for file in asked.iter().filter(|file| !done.contains(&file.id())) {
            let why =
                "the service left it out: there is no such file, or it wants another password";
            self.miss(file, why.to_owned());
        }
    }

    fn miss(&mut self, file: &FileUrl, reason: String) {
        self.missed.push(MissedLink {
            from: file.to_string(),
            reason,
        });
    }
}

/// Whether a failure may be about one of several links.
fn is_of_one(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::NotAllowed | ErrorKind::Password | ErrorKind::Refused
    )
}
