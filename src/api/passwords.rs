//! Passwords of files, as somebody wrote them down: by file, by path, or a few to be tried.
//!
//! Promises: a refusal is never provoked twice for nothing: what worked for a file is sent the next time at once, and
//! where nothing worked, the others are not tried again. Bounded. Never knows where a path leads: whoever does
//! says so.
use super::error::{ApiError, ErrorKind};
use super::ids::FileId;
use crate::secret::Password;
use crate::util::sync::lock;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Passwords that may be tried on any file at most: each that does not fit is a refusal, and many refusals
/// count as abuse (API reference 2.2).
pub const MOST_TRIED: usize = 5;

/// Files of which it is remembered what works, at most. Beyond, all is forgotten and learnt again.
const MOST_KNOWN: usize = 10_000;

/// Passwords as they were written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordList {
    /// Of files by their ids.
    pub by_file: HashMap<FileId, Password>,
    /// Of files by their paths.
    pub by_path: HashMap<PathBuf, Password>,
    /// To be tried on every file that wants one, in this order; at most [`MOST_TRIED`].
    pub tried: Vec<Password>,
}

/// The same in use.
#[derive(Debug, Default)]
pub struct Passwords {
    list: PasswordList,
    known: Mutex<HashMap<FileId, Known>>,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// This is to be sent.
    Sent(Password),
    /// It wants one, and none of ours.
    NoneFits,
}

impl PasswordList {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_file.is_empty() && self.by_path.is_empty() && self.tried.is_empty()
    }

    /// The same with paths from the folder `root` on; those elsewhere lead nowhere.
    #[must_use]
    pub fn below(mut self, root: &Path) -> Self {
        let paths = std::mem::take(&mut self.by_path).into_iter();
        self.by_path = paths
            .filter_map(|(path, password)| {
                let below = path.strip_prefix(root).ok()?.to_owned();
                Some((below, password))
            })
            .collect();
        self
    }
}

impl Passwords {
    /// With this list.
    pub fn new(list: PasswordList) -> Self {
        Self {
            list,
            known: Mutex::default(),
        }
    }

    /// A file is about to be read that is where `path` says: what is written down for that place is of it.
    pub fn place(&self, file: FileId, path: impl FnOnce() -> Option<PathBuf>) {
        if self.list.by_path.is_empty() || self.list.by_file.contains_key(&file) {
            return;
        }
        let password = path().and_then(|path| self.list.by_path.get(&path));
        if let Some(password) = password {
            self.know(file, Known::Sent(password.clone()));
        }
    }

    /// Makes a call on a file with the password that is known for it, else without one, and, if it wants one, with
    /// those that are to be tried.
    pub(super) async fn with<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        file: FileId,
        mut call: impl FnMut(Option<Password>) -> F,
    ) -> Result<T, ApiError> {
        let known = lock(&self.known).get(&file).cloned();
        let written = self.list.by_file.get(&file).cloned();
        let (first, may_try) = match known {
            Some(Known::Sent(password)) => (Some(password), true),
            Some(Known::NoneFits) => (written, false),
            None => (written, true),
        };
        let refused = match call(first.clone()).await {
            Err(error) if error.kind == ErrorKind::Password && may_try => error,
            other => return other,
        };
        for password in &self.list.tried {
            if first.as_ref() == Some(password) {
                continue;
            }
            match call(Some(password.clone())).await {
                Err(error) if error.kind == ErrorKind::Password => {}
                Ok(answer) => {
                    self.know(file, Known::Sent(password.clone()));
                    return Ok(answer);
                }
                other => return other,
            }
        }
        self.know(file, Known::NoneFits);
        Err(refused)
    }

    fn know(&self, file: FileId, known: Known) {
        let mut all = lock(&self.known);
        if all.len() >= MOST_KNOWN {
            all.clear();
        }
        all.insert(file, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reached;
    use std::cell::RefCell;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn file() -> FileId {
        FileId::parse("abcdefghij").unwrap()
    }

    /// Makes a call on a file with this password; what was sent, and whether it succeeded.
    async fn call(passwords: &Passwords, right: &str) -> (Vec<String>, bool) {
        let sent = RefCell::new(Vec::new());
        let answer = passwords
            .with(file(), |password| {
                let text = password.map_or(String::new(), |it| it.expose().to_owned());
                let is_right = text == right;
                sent.borrow_mut().push(text);
                async move {
                    if is_right {
                        return Ok(());
                    }
                    let error = ErrorKind::Password;
                    Err(ApiError::new(error, "t", Reached::Answered, ""))
                }
            })
            .await;
        (sent.into_inner(), answer.is_ok())
    }

    fn sent(texts: &[&str], is_ok: bool) -> (Vec<String>, bool) {
        (texts.iter().map(|&it| it.to_owned()).collect(), is_ok)
    }

    #[tokio::test]
    async fn what_worked_is_sent_at_once_and_what_did_not_is_not_tried_again() {
        let passwords = Passwords::new(PasswordList {
            tried: vec![password("first 1"), password("second 2")],
            ..PasswordList::default()
        });
        assert_eq!(call(&passwords, "").await, sent(&[""], true));
        let tried = sent(&["", "first 1", "second 2"], true);
        assert_eq!(call(&passwords, "second 2").await, tried);
        assert_eq!(
            call(&passwords, "second 2").await,
            sent(&["second 2"], true)
        );
        // It was changed since.
        let again = call(&passwords, "first 1").await;
        assert_eq!(again, sent(&["second 2", "first 1"], true));
        assert!(!call(&passwords, "third 3").await.1);
        assert_eq!(call(&passwords, "third 3").await, sent(&[""], false));
    }

    #[tokio::test]
    async fn a_file_has_its_own_password_by_its_id_or_its_place() {
        let of_file = Passwords::new(PasswordList {
            by_file: HashMap::from([(file(), password("its own"))]),
            ..PasswordList::default()
        });
        assert_eq!(call(&of_file, "its own").await, sent(&["its own"], true));
        let list = PasswordList {
            by_path: HashMap::from([
                ("/films/a".into(), password("of place")),
                ("/other".into(), password("elsewhere")),
            ]),
            ..PasswordList::default()
        };
        let below = list.below(Path::new("/films"));
        assert_eq!(below.by_path.len(), 1);
        let of_place = Passwords::new(below);
        of_place.place(file(), || Some("b".into()));
        assert_eq!(call(&of_place, "").await, sent(&[""], true));
        of_place.place(file(), || Some("a".into()));
        assert_eq!(call(&of_place, "of place").await, sent(&["of place"], true));
    }
}
