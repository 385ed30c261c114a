//! What a server said, made fit for a log line: one line, bounded, no markup.
use reqwest::header::HeaderValue;

/// Characters of a server's text kept in an error: enough for every message of the catalogue.
const KEPT_CHARS: usize = 200;

/// `text` without line breaks and control characters, cut to a line.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::new();
    let mut kept = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        for c in (!out.is_empty())
            .then_some(' ')
            .into_iter()
            .chain(word.chars())
        {
            if kept == KEPT_CHARS {
                out.push('…');
                return out;
            }
            out.push(c);
            kept += 1;
        }
    }
    out
}

/// A line made by [`one_line`] without `secret`, be it that the line was cut within it.
pub(super) fn without(line: &str, secret: &str) -> String {
    let line = line.replace(secret, "…");
    let Some(kept) = line.strip_suffix('…') else {
        return line;
    };
    let mut beginnings = secret.char_indices().rev().map(|(at, _)| &secret[..at]);
    let rest = beginnings.find_map(|beginning| kept.strip_suffix(beginning));
    format!("{}…", rest.unwrap_or(kept))
}

/// What a person would read on an HTML page, or `body` itself when it is none. Lossy in everything
/// but letters: entities stay as they are.
pub(super) fn visible(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut in_tag = false;
    for c in body.chars() {
        match c {
            '<' => {
                in_tag = true;
                out.push(' ');
            }
            '>' if in_tag => in_tag = false,
            _ if !in_tag => out.push(c),
            _ => {}
        }
    }
    out
}

/// A header's text in lower case, empty when absent or unreadable.
pub(super) fn header_text(value: Option<&HeaderValue>) -> String {
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_a_line() {
        let page = "<html>\n<body class=\"x\">Services <b>en</b>\r\nmaintenance\u{7}</body>";
        assert_eq!(one_line(&visible(page)), "Services en maintenance");
        let long = one_line(&"é".repeat(1000));
        assert_eq!(long.chars().count(), KEPT_CHARS + 1);
        assert_eq!(one_line(" \n "), "");
    }

    #[test]
    fn no_part_of_a_secret_is_left() {
        const SECRET: &str = "abab-cdé";
        for (line, left) in [
            ("no such user abab-cdé #93", "no such user … #93"),
            ("key abab-cdé", "key …"),
            ("key abab-cd…", "key …"),
            ("key abab…", "key …"),
            ("it ends with abab", "it ends with abab"),
            ("nothing of it…", "nothing of it…"),
            ("a…", "…"),
            ("", ""),
        ] {
            assert_eq!(without(line, SECRET), left);
        }
        let long = "x".repeat(KEPT_CHARS - 5) + SECRET;
        assert_eq!(
            without(&one_line(&long), SECRET),
            "x".repeat(KEPT_CHARS - 5) + "…"
        );
    }
}
