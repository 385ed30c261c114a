//! Errands about one file: its link, its password and description, all that is known of it.
use super::asked::Target;
use super::done::{AccessRules, Done, FileFacts, Link, Protected};
use super::refusal::Refusal;
use super::run::{Desk, News, Places, Subject, What};
use crate::api::{Access, Attributes, ErrorKind, FileInfo, FileUrl, PasswordChange};
use crate::secret::Password;

/// Seconds within which a download by a direct link must begin (API reference 7.2).
const BEGIN_WITHIN: u64 = 300;

/// Seconds for which it may be continued (API reference 7.2).
const CONTINUE_WITHIN: u64 = 1800;

impl<P: Places> Desk<'_, P> {
    /// The link of a file or of a folder's public page.
    pub(super) async fn link(
        &self,
        of: &Target,
        direct: bool,
        password: Option<&Password>,
    ) -> Result<Done, Refusal> {
        let subject = self.find(of).await?;
        let url = match subject.what {
            What::File(url) => url,
            What::Folder(_) if direct => {
                return Err(Refusal(format!(
                    "{}: is a folder; only files have direct links",
                    subject.path
                )));
            }
            What::Folder(id) => return self.folder_link(subject.path, id).await,
        };
        let direct = if direct {
            let link = self
                .client
                .download_link_with(&self.ask(), &url, password)
                .await
                .map_err(|error| Refusal::of_call(&subject.path, &error))?;
            Some(link.expose().to_owned())
        } else {
            None
        };
        Ok(Done::Link(Link {
            path: subject.path,
            url: url.to_string(),
            begin_within: direct.as_ref().map(|_| BEGIN_WITHIN),
            continue_within: direct.as_ref().map(|_| CONTINUE_WITHIN),
            direct,
        }))
    }

    /// Sets a file's password and description.
    pub(super) async fn protect(
        &self,
        of: &Target,
        password: PasswordChange,
        description: Option<String>,
    ) -> Result<Done, Refusal> {
        if password == PasswordChange::Keep && description.is_none() {
            return Err(Refusal::new("there is nothing to be set"));
        }
        let folder =
            "is a folder; its public page gets a password with `fichierfs share --password`";
        let (subject, url) = self.file(of, folder).await?;
        let attributes = Attributes {
            password,
            description: description.map(String::into_boxed_str),
            ..Attributes::default()
        };
        let files = [url.clone()];
        let answer = self
            .client
            .file_chattr(&self.ask(), &files, &attributes)
            .await;
        let changed = match answer {
            Ok(_) => true,
            // It is so already.
            Err(error) if error.kind == ErrorKind::NothingChanged => false,
            Err(error) => return Err(Refusal::of_call(&subject.path, &error)),
        };
        if let Some(folder) = subject.parent.filter(|_| changed) {
            self.places.hear(News::Altered { folder });
        }
        Ok(Done::Protected(Protected {
            path: subject.path,
            url: url.to_string(),
            changed,
        }))
    }

    /// All the service knows of a file or folder.
    pub(super) async fn info(
        &self,
        of: &Target,
        password: Option<&Password>,
    ) -> Result<Done, Refusal> {
        let subject = self.find(of).await?;
        let url = match &subject.what {
            What::Folder(id) => return self.folder_info(subject.path, *id).await,
            What::File(url) => url,
        };
        let info = self
            .client
            .file_info_with(&self.ask(), url, password)
            .await
            .map_err(|error| Refusal::of_call(&subject.path, &error))?;
        Ok(Done::File(Box::new(facts(&subject, url, info))))
    }
}

fn facts(subject: &Subject, url: &FileUrl, info: FileInfo) -> FileFacts {
    FileFacts {
        path: subject.path.clone(),
        url: url.to_string(),
        name: info.name.into(),
        size: info.size,
        uploaded: info.uploaded,
        folder: info.folder.map(|folder| folder.0),
        folder_path: info.path.map(|path| format!("/{path}")),
        whirlpool: info.whirlpool.map(|hash| hash.to_string()),
        content_type: info.content_type.map(Into::into),
        description: info.description.map(Into::into),
        password: info.password,
        inline: info.inline,
        no_ssl: info.no_ssl,
        cdn: info.cdn,
        access: info.access.map(rules),
    }
}

fn rules(access: Access) -> AccessRules {
    let texts = |list: Vec<Box<str>>| list.into_iter().map(Into::into).collect();
    AccessRules {
        ip: texts(access.ip),
        country: texts(access.country),
        email: texts(access.email),
        premium: access.premium == Some(true),
    }
}
