//! The tables `[passwords]` and `[account.NAME.passwords]` of the config file: passwords of files of the
//! account.
//!
//! ```toml
//! [passwords]
//! default = ["tried first", "tried next"]      # on files that want one
//! abcdefghij0123456789 = "of the file with this id"
//! "https://1fichier.com/?abcdefghij0123456789" = "of the file with this link"
//! "/films/a.mkv" = "of the file at this path of the account"
//! ```
//!
//! Promises: no error shows a password.
use super::values::AccountPath;
use crate::api::{FileId, FileUrl, MOST_TRIED, PasswordList};
use crate::secret::Password;

/// The table's name.
pub(super) const TABLE: &str = "passwords";

/// The key of those to be tried on every file.
const TRIED: &str = "default";

/// Reads a table; the error is a key in it, if one is to blame, and what is wrong.
pub(super) fn read(value: &toml::Value) -> Result<PasswordList, (Option<&str>, String)> {
    let table = value
        .as_table()
        .ok_or_else(|| (None, format!("is a table, [{TABLE}]")))?;
    let mut list = PasswordList::default();
    for (key, value) in table {
        let fail = |why: String| (Some(key.as_str()), why);
        if key == TRIED {
            list.tried = tried(value).map_err(fail)?;
            continue;
        }
        let password = one(value).map_err(fail)?;
        if let Some(file) = FileId::parse(key).or_else(|| Some(FileUrl::parse(key)?.id())) {
            list.by_file.insert(file, password);
        } else if key.starts_with('/') {
            let path: AccountPath = key.parse().map_err(fail)?;
            list.by_path.insert(path.as_str().into(), password);
        } else {
            return Err(fail(format!(
                "is neither a file\'s id or link, nor a path that begins with /, nor `{TRIED}`"
            )));
        }
    }
    Ok(list)
}

/// The passwords of an account over those of the whole file.
pub(super) fn over(upper: PasswordList, mut lower: PasswordList) -> PasswordList {
    lower.by_file.extend(upper.by_file);
    lower.by_path.extend(upper.by_path);
    if !upper.tried.is_empty() {
        lower.tried = upper.tried;
    }
    lower
}

fn tried(value: &toml::Value) -> Result<Vec<Password>, String> {
    let Some(values) = value.as_array() else {
        return Ok(vec![one(value)?]);
    };
    if values.len() > MOST_TRIED {
        return Err(format!(
            "at most {MOST_TRIED} passwords are tried on every file, because the service takes many \
             wrong ones for an attack; name files for the others"
        ));
    }
    values.iter().map(one).collect()
}

fn one(value: &toml::Value) -> Result<Password, String> {
    let text = value.as_str().ok_or("takes a text")?;
    Password::parse(text).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PasswordList, String> {
        let value = toml::Value::Table(text.parse().unwrap());
        read(&value).map_err(|(key, why)| format!("{}: {why}", key.unwrap_or("-")))
    }

    #[test]
    fn files_are_named_by_id_link_and_path() {
        let list = parse(
            "default = ['first 1', 'second']\nabcdefghij = 'by id 1'\n\
             'https://1fichier.com/?zzzzzzzzzz&af=1' = 'by link'\n'/films//a.mkv' = 'by path'",
        )
        .unwrap();
        assert_eq!((list.tried.len(), list.by_file.len()), (2, 2));
        let path = list.by_path.iter().next().unwrap();
        assert_eq!(
            (path.0.to_str(), path.1.expose()),
            (Some("/films/a.mkv"), "by path")
        );
        assert_eq!(parse("default = 'alone 1'").unwrap().tried.len(), 1);
        let both = over(parse("abcdefghij = 'upper 1'").unwrap(), list);
        assert_eq!(both.tried.len(), 2);
        let file = FileId::parse("abcdefghij").unwrap();
        assert_eq!(both.by_file[&file].expose(), "upper 1");
    }

    #[test]
    fn mistakes_are_named_by_their_key() {
        for (text, says) in [
            (
                "abcdefghij = 's3cr'",
                "abcdefghij: a password has at least 6",
            ),
            ("abcdefghij = 7", "takes a text"),
            ("'films/a' = 's3cret'", "films/a: is neither"),
            ("'/films/../a' = 's3cret'", "without `..`"),
            ("default = ['s3cret', 7]", "default: takes a text"),
            (
                "default = ['aaaaaa','bbbbbb','cccccc','dddddd','eeeeee','ffffff']",
                "at most 5",
            ),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(says) && !said.contains("s3cr"), "{said}");
        }
        assert!(read(&toml::Value::Integer(1)).is_err());
    }
}
