//! What the service makes of file and folder names (API reference 4.1).

use crate::config::Config;

/// Why a name was not taken; the text goes into the `message` of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadName(pub(crate) &'static str);

/// Longest file name in characters; a guess of the reference (4.1), like the limit in bytes.
const FILE_NAME_CHARS: usize = 250;

/// Longest file name in bytes.
const FILE_NAME_BYTES: usize = 255;

/// True for a character the service refuses or alters.
pub(crate) fn forbidden(c: char) -> bool {
    matches!(
        c,
        '\\' | '<' | '>' | '"' | '\'' | '$' | '`' | '/' | '\x00'..='\x1f' | '\x7f'
    )
}

/// A file name out of a JSON call.
pub(crate) fn file_from_json(raw: &str, config: &Config) -> Result<String, BadName> {
    let name = from_json(raw, config)?;
    if name.chars().count() > FILE_NAME_CHARS || name.len() > FILE_NAME_BYTES {
        return Err(BadName("File name too long #331"));
    }
    Ok(name)
}

/// A folder name out of a JSON call.
pub(crate) fn folder_from_json(raw: &str, config: &Config) -> Result<String, BadName> {
    let name = from_json(raw, config)?;
    if name.chars().count() > config.folder_name_max {
        return Err(BadName("Folder name too long #332"));
    }
    Ok(name)
}

/// A file name out of a multipart header: last component, bad characters replaced, spaces at the ends dropped.
pub(crate) fn file_from_upload(raw: &str) -> Result<String, BadName> {
    let last = raw.rsplit(['/', '\\']).next().unwrap_or_default();
    let changed: String = last
        .chars()
        .map(|c| if forbidden(c) { '_' } else { c })
        .collect();
    let name = changed.trim_matches(' ');
    if name.is_empty() || name == "." || name == ".." {
        return Err(BadName("empty name"));
    }
    if name.chars().count() > FILE_NAME_CHARS || name.len() > FILE_NAME_BYTES {
        return Err(BadName("name too long"));
    }
    Ok(name.to_owned())
}

fn from_json(raw: &str, config: &Config) -> Result<String, BadName> {
    let bad = |c: char| forbidden(c) || (config.refuse_acute_accent && c == '\u{b4}');
    let name = if raw.chars().any(bad) {
        if !config.rewrite_bad_names {
            return Err(BadName("Invalid character in name #330"));
        }
        raw.chars().map(|c| if bad(c) { '_' } else { c }).collect()
    } else {
        raw.to_owned()
    };
    let name = name.trim_matches(' ');
    if name.is_empty() || name == "." || name == ".." {
        return Err(BadName("Invalid name #329"));
    }
    Ok(name.to_owned())
}

/// The name under which a careful client stores a file called `local`: characters the service refuses become
/// their look-alikes, and look-alikes that were meant as themselves are marked with U+201B, as rclone does it.
pub(crate) fn as_clients_store(local: &str) -> String {
    const MARK: char = '\u{201b}';
    let last = local.chars().count().saturating_sub(1);
    let mut stored = String::new();
    for (at, c) in local.chars().enumerate() {
        match c {
            ' ' if at == 0 || at == last => stored.push('\u{2420}'),
            '\u{2420}' if at == 0 || at == last => stored.extend([MARK, c]),
            '\u{1}'..='\u{1f}' => stored.extend(char::from_u32(u32::from(c) + 0x2400)),
            '\u{7f}' => stored.push('\u{2421}'),
            '\\' | '<' | '>' | '"' | '\'' | '$' | '`' => {
                stored.extend(char::from_u32(u32::from(c) + 0xfee0));
            }
            '＼'
            | '＜'
            | '＞'
            | '＂'
            | '＇'
            | '＄'
            | '｀'
            | MARK
            | '\u{2400}'..='\u{241f}'
            | '\u{2421}' => {
                stored.extend([MARK, c]);
            }
            _ => stored.push(c),
        }
    }
    stored
}

/// MIME type by the ending of a name.
pub(crate) fn mime(name: &str) -> &'static str {
    let ending = name
        .rsplit_once('.')
        .map(|(_, e)| e.to_ascii_lowercase())
        .unwrap_or_default();
    match ending.as_str() {
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "mp4" | "m4v" => "video/mp4",
        "mkv" => "video/x-matroska",
        "avi" => "video/x-msvideo",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_are_refused_or_rewritten() {
        let mut config = Config::default();
        for bad in [
            "a\\b", "a<b", "a>b", "a\"b", "a'b", "a$b", "a`b", "a/b", "a\nb", "a\x7fb", "", "  ",
            "..", ".",
        ] {
            assert!(file_from_json(bad, &config).is_err(), "{bad:?}");
        }
        assert_eq!(
            file_from_json(" été 1.bin ", &config).as_deref(),
            Ok("été 1.bin")
        );
        config.rewrite_bad_names = true;
        assert_eq!(file_from_json("it's", &config).as_deref(), Ok("it_s"));
    }

    #[test]
    fn lengths() {
        let config = Config::default();
        assert!(folder_from_json(&"é".repeat(250), &config).is_ok());
        assert!(folder_from_json(&"é".repeat(251), &config).is_err());
        assert!(file_from_json(&"é".repeat(128), &config).is_err());
        assert!(file_from_json(&"a".repeat(250), &config).is_ok());
    }

    #[test]
    fn uploads_keep_the_last_component() {
        assert_eq!(
            file_from_upload("/tmp/dir/a b.txt").as_deref(),
            Ok("a b.txt")
        );
        assert_eq!(
            file_from_upload("C:\\dir\\it's.txt ").as_deref(),
            Ok("it_s.txt")
        );
        assert!(file_from_upload("dir/").is_err());
    }
}
