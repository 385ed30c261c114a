//! Errands about one folder: who may see it, its public page, all that is known of it.
//!
//! The service is always told the whole of who may see a folder, so nothing depends on what it makes of
//! fields that are left out, which nobody knows.
use super::asked::{Guest, Sharing, Target};
use super::done::{Done, FolderFacts, Link, SharedFolder};
use super::refusal::Refusal;
use super::run::{Desk, News, Places};
use crate::api::{FolderDetail, FolderId, Share, ShareWith};

/// What a file is told that was to be shared.
const A_FILE: &str = "this is a file; everybody who has its link (`fichierfs link`) can load it, unless it has \
                      a password (`fichierfs protect`)";

impl<P: Places> Desk<'_, P> {
    /// The address of a folder's public page.
    pub(super) async fn folder_link(&self, path: String, id: FolderId) -> Result<Done, Refusal> {
        let detail = self.detail(&path, id).await?;
        let url = detail.public_url.ok_or_else(|| {
            Refusal(format!(
                "{path}: this folder has no public page; `fichierfs share --public` makes one"
            ))
        })?;
        Ok(Done::Link(Link {
            path,
            url: url.into(),
            direct: None,
            begin_within: None,
            continue_within: None,
        }))
    }

    /// Who may see a folder.
    pub(super) async fn shared(&self, of: &Target) -> Result<Done, Refusal> {
        let (subject, id) = self.folder(of, A_FILE).await?;
        let detail = self.detail(&subject.path, id).await?;
        Ok(Done::Shared(state(subject.path, detail)))
    }

    /// From now on these may see a folder.
    pub(super) async fn share(&self, of: &Target, with: Sharing) -> Result<Done, Refusal> {
        let (subject, id) = self.folder(of, A_FILE).await?;
        let has_password = with.password.is_some();
        let accounts = with.guests.iter().map(|guest| ShareWith {
            email: guest.email.as_str().into(),
            writable: guest.writable && !guest.links_hidden,
            hide_links: guest.links_hidden,
        });
        let share = Share {
            public: with.public,
            password: with.password,
            accounts: Some(accounts.collect()),
        };
        let url = self
            .client
            .folder_share(&self.ask(), id, &share)
            .await
            .map_err(|error| Refusal::of_call(&subject.path, &error))?;
        if let Some(folder) = subject.parent {
            self.places.hear(News::Altered { folder });
        }
        if with.public && url.is_none() {
            return Err(Refusal(format!(
                "{}: the service took it and named no address; see `fichierfs share` without options in \
                 half a minute",
                subject.path
            )));
        }
        Ok(Done::Shared(SharedFolder {
            path: subject.path,
            url: url.filter(|_| with.public).map(Into::into),
            password: has_password,
            guests: with.guests,
            owner: None,
        }))
    }

    /// All the service knows of a folder.
    pub(super) async fn folder_info(&self, path: String, id: FolderId) -> Result<Done, Refusal> {
        let detail = self.detail(&path, id).await?;
        Ok(Done::Folder(Box::new(FolderFacts {
            id: detail.folder.0,
            name: detail.name.to_string(),
            created: detail.created,
            folders: detail.folders,
            files: detail.files,
            size: detail.size,
            shared: state(path, detail),
        })))
    }

    async fn detail(&self, path: &str, id: FolderId) -> Result<FolderDetail, Refusal> {
        let detail = self.client.folder_detail(&self.ask(), id).await;
        detail.map_err(|error| Refusal::of_call(path, &error))
    }
}

fn state(path: String, detail: FolderDetail) -> SharedFolder {
    let guests = detail.accounts.into_iter().map(|with| Guest {
        email: with.email.into(),
        writable: with.writable,
        links_hidden: with.hide_links,
    });
    SharedFolder {
        path,
        password: detail.password && detail.public_url.is_some(),
        url: detail.public_url.map(Into::into),
        guests: guests.collect(),
        owner: detail.owner.map(Into::into),
    }
}
