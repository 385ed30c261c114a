//! `mount.fichierfs`, the helper mount(8) calls for fstab lines of the type `fichierfs`:
//! `mount.fichierfs ACCOUNT DIR [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]`.
//!
//! It translates these arguments into those of `fichierfs mount` and the exit code back into
//! mount(8)'s. ACCOUNT may be written `fichierfs:NAME`, as the table of mounts shows it, so that
//! `mount -a` sees that it is mounted.
use super::exit::{self, Failure, mount8};
use super::mount::start_background;
use crate::mount::background::Outcome;
use crate::mount::mountinfo::SOURCE_PREFIX;
use anyhow::{Context, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The names mount(8) calls us by: for the type `fichierfs`, and for `fuse.fichierfs`.
const NAMES: [&str; 2] = ["mount.fichierfs", "mount.fuse.fichierfs"];

/// What it is called as in its messages.
const NAME: &str = NAMES[0];

/// Whether the program was called by this name.
pub fn is_called(name: &OsStr) -> bool {
    let file = Path::new(name).file_name();
    NAMES.iter().any(|known| file == Some(OsStr::new(known)))
}

/// Runs as mount(8)'s helper.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match Request::read(arguments) {
        Ok(request) => request.run(),
        Err(why) => {
            let failure = Failure {
                code: mount8::USAGE,
                why: Some(why),
            };
            exit::report(NAME, Err(failure))
        }
    }
}

/// What mount(8) asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    account: String,
    dir: OsString,
    options: Vec<OsString>,
    sloppy: bool,
    fake: bool,
    verbose: bool,
    namespace: Option<PathBuf>,
}

impl Request {
    fn read(arguments: Vec<OsString>) -> anyhow::Result<Self> {
        let mut request = Self::default();
        let mut places = Vec::new();
        let mut arguments = arguments.into_iter();
        let mut only_places = false;
        while let Some(argument) = arguments.next() {
            let Some(letters) = argument
                .to_str()
                .and_then(|text| text.strip_prefix('-'))
                .filter(|letters| !only_places && !letters.is_empty())
            else {
                places.push(argument);
                continue;
            };
            if letters == "-" {
                only_places = true;
                continue;
            }
            request.switches(letters, &mut arguments)?;
        }
        let [spec, dir] = <[OsString; 2]>::try_from(places)
            .map_err(|_| anyhow!("usage: {NAME} ACCOUNT DIR [-sfnv] [-o OPTIONS]"))?;
        let spec = spec.into_string().unwrap_or_default();
        spec.strip_prefix(SOURCE_PREFIX)
            .unwrap_or(&spec)
            .clone_into(&mut request.account);
        request.dir = dir;
        Ok(request)
    }

    /// Reads one bundle of letters, e.g. `sfo` or `oro,noexec`; the last may take a value.
    fn switches(
        &mut self,
        letters: &str,
        more: &mut impl Iterator<Item = OsString>,
    ) -> anyhow::Result<()> {
        for (at, letter) in letters.char_indices() {
            match letter {
                's' => self.sloppy = true,
                'f' => self.fake = true,
                'v' => self.verbose = true,
                // There is no mtab to be kept out of any more.
                'n' => {}
                'o' | 't' | 'N' => {
                    let value = value_of(letter, &letters[at + 1..], more)?;
                    match letter {
                        'o' => self.options.push(value),
                        'N' => self.namespace = Some(value.into()),
                        // The type is known: we are it.
                        _ => {}
                    }
                    return Ok(());
                }
                other => bail!("there is no switch -{other}"),
            }
        }
        Ok(())
    }

    /// The same as arguments of `fichierfs`.
    fn translated(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["mount".into()];
        arguments.push(format!("--account={}", self.account).into());
        for list in &self.options {
            arguments.push("-o".into());
            arguments.push(list.clone());
        }
        let switches = [
            (self.sloppy, "--sloppy"),
            (self.fake, "--fake"),
            (self.verbose, "--verbose"),
        ];
        arguments.extend(
            switches
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, name)| OsString::from(name)),
        );
        arguments.extend(["--".into(), self.dir.clone()]);
        arguments
    }

    fn run(&self) -> ExitCode {
        let arguments = self.translated();
        if let Err(err) = super::parse(&arguments) {
            return failed(mount8::USAGE, &super::one_line(&err, &arguments));
        }
        let entered = self.namespace.as_deref().map_or(Ok(()), enter_namespace);
        let outcome = entered.and_then(|()| Ok(start_background(&arguments)?));
        match outcome {
            Ok(Outcome::Ready) => ExitCode::SUCCESS,
            Ok(Outcome::Ended(0)) if self.fake => ExitCode::SUCCESS,
            Ok(Outcome::Ended(0)) => failed(mount8::MOUNT, "the mount ended at once"),
            Ok(Outcome::Ended(exit::USAGE)) => ExitCode::from(mount8::USAGE),
            Ok(Outcome::Ended(_)) => ExitCode::from(mount8::MOUNT),
            Ok(Outcome::Broken(why)) => failed(mount8::MOUNT, &why),
            Err(why) => failed(mount8::SYSTEM, &exit::sentence(&why)),
        }
    }
}

/// Moves into the mount namespace at `path`, before any thread is started.
pub(super) fn enter_namespace(path: &Path) -> anyhow::Result<()> {
    let entered = File::open(path).and_then(|namespace| {
        let kind = Some(LinkNameSpaceType::Mount);
        Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
    });
    entered.with_context(|| format!("cannot enter the namespace {}", path.display()))
}

fn failed(code: u8, why: &str) -> ExitCode {
    // Where there is no standard error, nobody can be told.
    let _ = writeln!(io::stderr(), "{NAME}: {why}");
    ExitCode::from(code)
}

/// The value of the switch `letter`: the rest of its bundle, else the next argument.
pub(super) fn value_of(
    letter: char,
    rest: &str,
    more: &mut impl Iterator<Item = OsString>,
) -> anyhow::Result<OsString> {
    if rest.is_empty() {
        more.next()
            .ok_or_else(|| anyhow!("-{letter} takes a value"))
    } else {
        Ok(rest.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(arguments: &[&str]) -> anyhow::Result<Request> {
        Request::read(arguments.iter().map(OsString::from).collect())
    }

    #[test]
    fn it_is_known_by_its_names() {
        for name in [
            "mount.fichierfs",
            "/sbin/mount.fichierfs",
            "/x/mount.fuse.fichierfs",
        ] {
            assert!(is_called(OsStr::new(name)), "{name}");
        }
        for name in [
            "fichierfs",
            "",
            "/mount.fichierfs/fichierfs",
            "mount.fichierfs2",
        ] {
            assert!(!is_called(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn mount8s_arguments_are_understood_in_any_order() {
        let expected = Request {
            account: "work".into(),
            dir: "/mnt/x".into(),
            options: vec!["ro,uid=7".into()],
            sloppy: true,
            fake: true,
            verbose: true,
            namespace: None,
        };
        for arguments in [
            vec!["work", "/mnt/x", "-sfnv", "-o", "ro,uid=7"],
            vec![
                "-s",
                "-f",
                "fichierfs:work",
                "-v",
                "/mnt/x",
                "-oro,uid=7",
                "-t",
                "fichierfs",
            ],
            vec!["-vsfo", "ro,uid=7", "--", "work", "/mnt/x"],
        ] {
            assert_eq!(read(&arguments).unwrap(), expected, "{arguments:?}");
        }
        let translated = expected.translated();
        assert_eq!(
            translated,
            [
                "mount",
                "--account=work",
                "-o",
                "ro,uid=7",
                "--sloppy",
                "--fake",
                "--verbose",
                "--",
                "/mnt/x"
            ]
        );
        super::super::parse(&translated).unwrap();
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            vec![],
            vec!["work"],
            vec!["work", "/x", "/y"],
            vec!["work", "/x", "-o"],
            vec!["work", "/x", "-q"],
        ] {
            assert!(read(&arguments).is_err(), "{arguments:?}");
        }
    }

    proptest! {
        #[test]
        fn no_arguments_panic(arguments in proptest::collection::vec("(-[sfnvotN]{0,4})?.{0,5}", 0..6)) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            if let Ok(request) = read(&arguments) {
                let _ = super::super::parse(&request.translated());
            }
        }
    }
}
