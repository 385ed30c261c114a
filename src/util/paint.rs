//! Colours, by the convention of no-color.org: on a terminal only, and not when `NO_COLOR` is set to
//! anything or the terminal says of itself that it is dumb.
use std::ffi::OsStr;
use std::io::IsTerminal;

/// Paints what goes to one stream, or leaves it plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// For what is written to `stream` in this process.
    pub fn of(stream: &impl IsTerminal) -> Self {
        Self {
            is_on: decide(
                stream.is_terminal(),
                std::env::var_os("NO_COLOR").as_deref(),
                std::env::var_os("TERM").as_deref(),
            ),
        }
    }

    /// Leaves everything plain.
    pub fn plain() -> Self {
        Self { is_on: false }
    }

    /// Whether anything is painted.
    pub fn is_on(self) -> bool {
        self.is_on
    }

    /// Something failed: bold red.
    pub fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Something wants a look: yellow.
    pub fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Something is as it should be: green.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn decide(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    is_terminal
        && no_color.is_none_or(OsStr::is_empty)
        && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_wants_colours_gets_them() {
        let some = |text: &'static str| Some(OsStr::new(text));
        assert!(decide(true, None, some("xterm")));
        assert!(decide(true, some(""), some("xterm")));
        assert!(!decide(false, None, some("xterm")));
        assert!(!decide(true, some("1"), some("xterm")));
        assert!(!decide(true, some("0"), some("xterm")), "set to anything");
        assert!(!decide(true, None, some("dumb")));
        assert!(!decide(true, None, None));
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Paint::plain().bad("x"), "x");
        let on = Paint { is_on: true };
        assert_eq!(on.bad("x"), "\x1b[1;31mx\x1b[0m");
    }
}
