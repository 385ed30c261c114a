//! `fichierfs export-index`: names, sizes, hashes, dates and links of all files, as they come: however many there are,
//! a line of them is in memory.
use super::desk;
use super::exit::Failure;
use super::files;
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::control::index::Kept;
use crate::control::{self, Answer, IndexedFile, Request};
use anyhow::Context;
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `export-index`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is known of the tree is told: no download, no call, with a running mount or without one.\n\n\
    csv has a heading and is as RFC 4180 says; json has an object per line, see \
    docs/schema/export-index.json; whirlpool is a sum file with paths from the exported folder on, \
    which `rhash --whirlpool --check` compares with the files, in that folder of a mount or of a \
    copy. Files without a hash cannot be in a sum file, nor can names that `rhash` does not read (with a \
    backslash, a carriage return, or a blank at the end); how many these are is told. The exit code is 3 when a part of the tree is not known yet."
)]
pub struct Args {
    /// A folder in a mount, or its path in the account: only what is below [default: everything]
    pub path: Option<PathBuf>,

    /// How it is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "csv")]
    pub format: Format,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// How an index is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table: a heading, then a line per file
    Csv,
    /// A JSON object per file and line
    Json,
    /// Hashes and paths, as `rhash --whirlpool` writes and checks them
    Whirlpool,
}

/// Columns of the table, in their order.
const HEADING: &str =
    "path,size,whirlpool,uploaded,modified,id,url,content_type,password,state\r\n";

/// Writes the index to standard output.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let target = desk::open(args.path.as_deref(), args.given, false)?;
    let mut desk = target.desk;
    let mut out = Writer::new(args.format, BufWriter::new(io::stdout().lock()));
    out.begin();
    let request = Request::Index {
        within: target.within,
    };
    let answer = desk.ask(request, |told| {
        if let Answer::Indexed { files } = told {
            for file in &files {
                out.file(file);
            }
        }
    })?;
    desk.finish()?;
    let Answer::IndexEnd(seen) = answer else {
        return Err(AskError::Malformed.into());
    };
    out.end()?;
    desk::ended(&seen)
}

/// Writes files as they come. After a failure it goes on without writing, and says so at the end.
struct Writer<W> {
    format: Format,
    out: W,
    outcome: io::Result<()>,
    /// Files that cannot be in a sum file.
    left_out: u64,
}

impl<W: Write> Writer<W> {
    fn new(format: Format, out: W) -> Self {
        Self {
            format,
            out,
            outcome: Ok(()),
            left_out: 0,
        }
    }

    fn write(&mut self, text: &str) {
        if self.outcome.is_ok() {
            self.outcome = self.out.write_all(text.as_bytes());
        }
    }

    fn begin(&mut self) {
        if self.format == Format::Csv {
            self.write(HEADING);
        }
    }

    fn file(&mut self, file: &IndexedFile) {
        let line = match self.format {
            Format::Csv => csv(file),
            Format::Json => control::json_line(file),
            Format::Whirlpool => {
                let Some(line) = sum(file) else {
                    self.left_out += 1;
                    return;
                };
                line
            }
        };
        self.write(&line);
    }

    fn end(mut self) -> anyhow::Result<()> {
        let written = self.outcome.and_then(|()| self.out.flush());
        match written {
            // A reader that has seen enough (`| head`) is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.context("cannot write")?,
        }
        if self.left_out > 0 {
            log::warn!(
                "{} left out: no hash is known of them, or their names cannot be in a sum file",
                files::count(self.left_out)
            );
        }
        Ok(())
    }
}

fn csv(file: &IndexedFile) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let state = match file.state {
        Kept::Clean => "clean",
        Kept::Waiting => "waiting",
        Kept::Local => "local",
    };
    let fields = [
        file.path.clone(),
        file.size.to_string(),
        text(&file.whirlpool),
        text(&file.uploaded),
        text(&file.modified),
        text(&file.id),
        text(&file.url),
        text(&file.content_type),
        file.password.to_string(),
        state.to_owned(),
    ];
    let fields: Vec<Cow<'_, str>> = fields.iter().map(|field| quoted(field)).collect();
    fields.join(",") + "\r\n"
}

/// A field as RFC 4180 has it: in quotes when it must be, quotes in it doubled.
fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\r', '\n']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

/// A line of a sum file; `None` for what cannot be in one. As `rhash` reads it (1.4.3, tried): a path from `./` on, so
/// that a blank or a star at its beginning is not taken for something else; a line break escaped, which a backslash
/// before the hash says. It takes other backslashes for slashes, and blanks at the end for nothing.
fn sum(file: &IndexedFile) -> Option<String> {
    let hash = file.whirlpool.as_deref()?;
    let path = &file.below;
    if path.contains(['\\', '\r']) || path.ends_with(char::is_whitespace) {
        return None;
    }
    Some(if path.contains('\n') {
        format!("\\{hash}  ./{}\n", path.replace('\n', "\\n"))
    } else {
        format!("{hash}  ./{path}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> IndexedFile {
        IndexedFile {
            path: format!("/{path}"),
            below: path.to_owned(),
            size: 3,
            whirlpool: Some("ab".into()),
            ..IndexedFile::default()
        }
    }

    #[test]
    fn a_field_is_quoted_when_it_must_be() {
        assert_eq!(csv(&file("a b")), "/a b,3,ab,,,,,,false,clean\r\n");
        assert_eq!(
            csv(&file("a,\"b\"\nc")),
            "\"/a,\"\"b\"\"\nc\",3,ab,,,,,,false,clean\r\n"
        );
        assert_eq!(
            HEADING.split(',').count(),
            csv(&file("a")).split(',').count()
        );
    }

    #[test]
    fn a_sum_file_holds_what_it_can() {
        assert_eq!(sum(&file("a/b c")).unwrap(), "ab  ./a/b c\n");
        assert_eq!(sum(&file("a\nb")).unwrap(), "\\ab  ./a\\nb\n");
        for name in ["a\rb", "a\\b", "a "] {
            assert_eq!(sum(&file(name)), None);
        }
        let unknown = IndexedFile {
            whirlpool: None,
            ..file("a")
        };
        assert_eq!(sum(&unknown), None);
    }
}
