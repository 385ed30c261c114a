//! Who is told of changes: `--on-change`.
//!
//! Promises: an address begins with `http://` or `https://` and holds no blank; everything else is a command,
//! whose first word is an absolute path. Words are separated by blanks; `\` takes the next character as it is.
//! There is no shell, so what only a shell would understand is refused. Neither is printed: an address may hold
//! a token, and so may an argument.
use std::fmt;
use std::str::FromStr;

/// Who is told of changes.
#[derive(Clone, PartialEq, Eq)]
pub enum OnChange {
    /// A program, by its absolute path, and its first arguments.
    Program {
        /// Its path.
        program: String,
        /// What stands between it and the changed folders.
        arguments: Vec<String>,
    },
    /// An address that is posted to.
    Url(String),
}

impl fmt::Debug for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { program, .. } => write!(f, "Program({program}, …)"),
            Self::Url(_) => f.write_str("Url(…)"),
        }
    }
}

impl FromStr for OnChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))
        {
            let is_sound = rest.bytes().all(|b| b.is_ascii_graphic())
                && !rest
                    .split(['/', '?', '#'])
                    .next()
                    .unwrap_or_default()
                    .is_empty();
            return if is_sound {
                Ok(Self::Url(text.into()))
            } else {
                Err("an address is written http://HOST:PORT/PATH, without blanks".into())
            };
        }
        let mut words = split(text)?;
        if words.is_empty() || !words[0].starts_with('/') {
            return Err(
                "give a command by its absolute path, or an address that begins with http:// or https://"
                    .into(),
            );
        }
        let program = words.remove(0);
        Ok(Self::Program {
            program,
            arguments: words,
        })
    }
}

/// Splits a command at its blanks.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let next = letters
                    .next()
                    .ok_or("a character is missing behind the last \\")?;
                word.get_or_insert_default().push(next);
            }
            '\0' => return Err("a command holds no zero byte".into()),
            '"' | '\'' | '|' | '&' | ';' | '<' | '>' | '`' | '$' => {
                return Err(format!(
                    "{letter} means nothing here, because no shell is used; put the command into a script, \
                     or write \\{letter}"
                ));
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        match text.parse().unwrap() {
            OnChange::Program { program, arguments } => {
                let mut words = vec![program];
                words.extend(arguments);
                words
            }
            OnChange::Url(url) => panic!("{url}"),
        }
    }

    #[test]
    fn commands_and_addresses_are_told_apart() {
        assert_eq!(words(" /bin/a  -x\tb "), ["/bin/a", "-x", "b"]);
        assert_eq!(words(r"/my\ bin/a \\ \'"), ["/my bin/a", r"\", "'"]);
        for url in ["http://127.0.0.1:8096/x?api_key=1", "https://host"] {
            assert_eq!(url.parse(), Ok(OnChange::Url(url.into())));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, says) in [
            ("", "absolute path"),
            ("refresh.sh", "absolute path"),
            ("./refresh.sh", "absolute path"),
            ("ftp://host/x", "absolute path"),
            ("http://", "http://HOST"),
            ("http:///x", "http://HOST"),
            ("http://host/a b", "without blanks"),
            ("/bin/a \"b c\"", "no shell"),
            ("/bin/a; rm x", "no shell"),
            ("/bin/a $HOME", "no shell"),
            ("/bin/a \\", "missing"),
        ] {
            let error = text.parse::<OnChange>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn neither_is_printed_whole() {
        for text in ["http://host/?token=s3cret", "/bin/a --token s3cret"] {
            let shown = format!("{:?}", text.parse::<OnChange>().unwrap());
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<OnChange>();
        }

        #[test]
        fn escaped_words_come_back(words in proptest::collection::vec("[^\0]{1,8}", 1..5)) {
            let escape = |word: &String| word.chars().flat_map(|c| ['\\', c]).collect::<String>();
            let text: Vec<String> = words.iter().map(escape).collect();
            prop_assert_eq!(split(&text.join(" ")).unwrap(), words);
        }
    }
}
