//! `umount.fuse.fichierfs`, the helper umount(8) calls for mounts of ours, and so systemd at the end of an
//! fstab mount: `umount.fuse.fichierfs DIR [-flnrv] [-N NAMESPACE] [-t TYPE]`.
//!
//! Promises: `umount` returns when the account has what was written, as one of a disk returns when the
//! disk has it; nothing that does not go ahead is waited for longer than two minutes.
use super::exit::{self, Failure, mount8};
use super::helper::{enter_namespace, value_of};
use super::umount::{self, Args};
use crate::logging::{self, Role, Verbosity};
use anyhow::{anyhow, bail};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The names umount(8) may call us by; the table of mounts has the first type.
const NAMES: [&str; 2] = ["umount.fuse.fichierfs", "umount.fichierfs"];

/// How long uploads may stand still before the waiting ends: the service may take minutes to report an
/// upload, but a machine without a network is to be shut down.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the program was called by this name.
pub fn is_called(name: &OsStr) -> bool {
    let file = Path::new(name).file_name();
    NAMES.iter().any(|known| file == Some(OsStr::new(known)))
}

/// Runs as umount(8)'s helper.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let request = match Request::read(arguments) {
        Ok(request) => request,
        Err(why) => return failed(mount8::USAGE, why),
    };
    let verbosity = Verbosity {
        verbose: request.verbose.into(),
        quiet: false,
    };
    logging::init(verbosity, Role::Command);
    if let Some(namespace) = &request.namespace
        && let Err(why) = enter_namespace(namespace)
    {
        return failed(mount8::SYSTEM, why);
    }
    match umount::take_away(&request.args(), Some(PATIENCE)) {
        Ok(code) => code,
        Err(failure) => exit::report(
            NAMES[0],
            Err(Failure {
                code: mount8::MOUNT,
                ..failure
            }),
        ),
    }
}

fn failed(code: u8, why: anyhow::Error) -> ExitCode {
    let why = Some(why);
    exit::report(NAMES[0], Err(Failure { code, why }))
}

/// What umount(8) asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    dir: PathBuf,
    lazy: bool,
    force: bool,
    verbose: bool,
    namespace: Option<PathBuf>,
}

impl Request {
    fn read(arguments: Vec<OsString>) -> anyhow::Result<Self> {
        let mut request = Self::default();
        let mut dirs = Vec::new();
        let mut arguments = arguments.into_iter();
        let mut only_dirs = false;
        while let Some(argument) = arguments.next() {
            let letters = argument.to_str().and_then(|text| text.strip_prefix('-'));
            match letters {
                Some("-") if !only_dirs => only_dirs = true,
                Some(letters) if !only_dirs && !letters.is_empty() => {
                    request.switches(letters, &mut arguments)?;
                }
                _ => dirs.push(argument),
            }
        }
        let [dir] = <[OsString; 1]>::try_from(dirs)
            .map_err(|_| anyhow!("usage: {} DIR [-flnrv]", NAMES[0]))?;
        request.dir = dir.into();
        Ok(request)
    }

    /// Reads one bundle of letters, e.g. `lv`; the last may take a value.
    fn switches(
        &mut self,
        letters: &str,
        more: &mut impl Iterator<Item = OsString>,
    ) -> anyhow::Result<()> {
        for (at, letter) in letters.char_indices() {
            match letter {
                'l' => self.lazy = true,
                'f' => self.force = true,
                'v' => self.verbose = true,
                // There is no mtab, and a mount that is busy stays as it is.
                'n' | 'r' => {}
                'N' | 't' => {
                    let value = value_of(letter, &letters[at + 1..], more)?;
                    if letter == 'N' {
                        self.namespace = Some(value.into());
                    }
                    return Ok(());
                }
                other => bail!("there is no switch -{other}"),
            }
        }
        Ok(())
    }

    /// The same as arguments of `fichierfs umount`. Who forces does not want to wait.
    fn args(&self) -> Args {
        Args {
            mountpoint: self.dir.clone(),
            lazy: self.lazy,
            no_wait: self.force && !self.lazy,
        }
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
        assert!(is_called(OsStr::new("/sbin/umount.fuse.fichierfs")));
        assert!(is_called(OsStr::new("umount.fichierfs")));
        for name in ["fichierfs", "umount", "mount.fichierfs", ""] {
            assert!(!is_called(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn umount8s_arguments_are_understood_in_any_order() {
        let expected = Request {
            dir: "/mnt/x".into(),
            lazy: true,
            verbose: true,
            ..Request::default()
        };
        for arguments in [
            vec!["/mnt/x", "-lv"],
            vec!["-v", "-n", "/mnt/x", "-rl"],
            vec!["-vltfuse.fichierfs", "--", "/mnt/x"],
            vec!["-t", "fuse.fichierfs", "-lv", "/mnt/x"],
        ] {
            assert_eq!(read(&arguments).unwrap(), expected, "{arguments:?}");
        }
        let forced = read(&["-f", "-x/y", "/z"]);
        assert!(forced.is_err(), "an unknown switch");
        assert!(read(&["-f", "/z"]).unwrap().args().no_wait);
        let namespace = read(&["-N", "/proc/1/ns/mnt", "/z"]).unwrap().namespace;
        assert_eq!(namespace, Some("/proc/1/ns/mnt".into()));
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [vec![], vec!["/x", "/y"], vec!["/x", "-t"], vec!["/x", "-q"]] {
            assert!(read(&arguments).is_err(), "{arguments:?}");
        }
    }

    proptest! {
        #[test]
        fn no_arguments_panic(arguments in proptest::collection::vec("(-[lfnrvtN]{0,4})?.{0,5}", 0..5)) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let _ = read(&arguments);
        }
    }
}
