//! `fichierfs fstab`: prints the line of fstab(5) that mounts an account as `fichierfs mount` with the same
//! options would, and tells on standard error what else it takes.
//!
//! Promises: a line that is printed is one mount(8) and systemd read back as it was meant; what cannot
//! stand in fstab is refused. Nothing is changed.
use super::exit::{self, Failure};
use super::output::{hint, print};
use crate::config::layers::{self, Setting};
use crate::config::{AccountName, MountOptions, Surroundings, Terms, key, mount_opts};
use crate::mount::mountinfo::SOURCE_PREFIX;
use anyhow::{Context, anyhow, bail};
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Options whose values are paths, which mean nothing without the folder they were typed in.
const PATHS: &[&str] = &["api-key-file", "ca-cert", "state-dir", "cache-dir"];

/// Where mount(8) looks for its helper.
const HELPER: &str = "/sbin/mount.fichierfs";

/// Arguments of `fstab`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "fichierfs fstab [OPTIONS] ACCOUNT MOUNTPOINT",
    after_help = "Takes the options of `fichierfs mount`. The line goes to standard output, what else is to \
    be done to standard error:\n\n  fichierfs fstab --allow-other work /mnt/work | sudo tee -a /etc/fstab"
)]
pub struct Args {
    /// Name of the account, as `fichierfs login --account NAME` knows it
    #[arg(value_name = "ACCOUNT")]
    pub name: AccountName,

    /// The folder the account shall appear in
    #[arg(value_name = "MOUNTPOINT")]
    pub mountpoint: PathBuf,

    /// Mount it when somebody looks at it for the first time, instead of at boot
    #[arg(long)]
    pub automount: bool,

    /// Let an ordinary user mount and unmount it, with a key of their own
    #[arg(long)]
    pub user: bool,

    /// Mount options, separated by commas, as mount(8) takes them
    #[arg(short = 'o', value_name = "OPTIONS", action = clap::ArgAction::Append)]
    pub options: Vec<String>,

    /// All other options.
    #[command(flatten)]
    pub given: MountOptions,
}

/// The account is an argument here, and so no option.
pub(super) fn without_account_option(fstab: clap::Command) -> clap::Command {
    fstab.mut_arg("account", |account| account.hide(true))
}

/// Prints the line. `arguments` are the program's own: options stand in it as they were typed.
pub fn run(args: &Args, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let line = checked(args, arguments).map_err(|why| Failure {
        code: exit::USAGE,
        why: Some(why),
    })?;
    print(&line)?;
    for line in hints(args) {
        hint(&format!("# {line}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn checked(args: &Args, arguments: &[OsString]) -> anyhow::Result<Vec<u8>> {
    if args.given.account.account.is_some() {
        bail!("--account: the account is the first argument here");
    }
    let matches = super::matches(arguments)?;
    let matches = matches
        .subcommand_matches("fstab")
        .context("no arguments of fstab")?;
    let mut options = vec!["_netdev".to_owned(), "nofail".to_owned()];
    if args.automount {
        options.push("x-systemd.automount".to_owned());
    }
    if args.user {
        options.push("user".to_owned());
    }
    for option in listed(&args.options)? {
        if !options.contains(&option) {
            options.push(option);
        }
    }
    options.extend(typed(matches)?);
    line(&args.name, &args.mountpoint, &options)
}

/// What was given with `-o`, once it is known to make sense.
fn listed(lists: &[String]) -> anyhow::Result<Vec<String>> {
    let terms = Terms {
        root: true,
        sloppy: false,
    };
    let mut options = Vec::new();
    for list in lists {
        if list.contains(['\\', '"']) {
            bail!("-o {list}: {REFUSED}");
        }
        let settings = mount_opts::settings(list, terms, layers::is_option)?;
        if settings.iter().any(|setting| setting.long == "account") {
            bail!("-o account: the account is the first argument here");
        }
        check_secrets(&settings)?;
        layers::parse(&settings)?;
        let items = list.split(',').map(str::trim);
        options.extend(items.filter(|item| !item.is_empty()).map(str::to_owned));
    }
    Ok(options)
}

/// The long options as they were typed, in the order of their declaration.
fn typed(matches: &ArgMatches) -> anyhow::Result<Vec<String>> {
    let mut options = Vec::new();
    for long in layers::long_names() {
        let id = long.replace('-', "_");
        if matches.value_source(&id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let Some(value) = matches
            .get_raw(&id)
            .and_then(|mut values| values.next_back())
        else {
            continue;
        };
        let mut value = value.to_owned();
        if PATHS.contains(&long.as_str()) {
            value = absolute(Path::new(&value))?.into_os_string();
        }
        let value = value
            .into_string()
            .map_err(|_| anyhow!("--{long}: the value is not UTF-8"))?;
        if value.contains([',', '"', '\\']) || value.chars().any(char::is_control) {
            bail!("--{long}: {REFUSED}");
        }
        check_secrets(&[Setting::new("", &long, Some(&value))])?;
        let is_switch = value == "true" || value == "yes" || value == "on";
        options.push(match (long.as_str(), is_switch) {
            ("read-only", true) => "ro".to_owned(),
            (_, true) => id,
            (_, false) => format!("{id}={value}"),
        });
    }
    Ok(options)
}

/// What to do about a value that fstab cannot hold.
const REFUSED: &str = "commas, quotes, backslashes and control characters cannot stand in fstab; write the \
                       option into config.toml";

/// Everybody may read fstab.
fn check_secrets(settings: &[Setting]) -> anyhow::Result<()> {
    let is_secret = |setting: &Setting| {
        let value = setting.value.as_deref().unwrap_or_default();
        setting.long == "proxy" && value.contains('@')
    };
    if settings.iter().any(is_secret) {
        bail!(
            "a proxy's password cannot stand in fstab, which everybody may read; write it into config.toml"
        );
    }
    Ok(())
}

fn line(account: &AccountName, mountpoint: &Path, options: &[String]) -> anyhow::Result<Vec<u8>> {
    let mountpoint = absolute(mountpoint)?;
    if mountpoint == Path::new("/") {
        bail!("/ is where the system is; give a folder below it");
    }
    let source = format!("{SOURCE_PREFIX}{account}");
    let fields = [
        escaped(OsStr::new(&source)),
        escaped(mountpoint.as_os_str()),
        b"fichierfs".to_vec(),
        escaped(OsStr::new(&options.join(","))),
        b"0".to_vec(),
        b"0".to_vec(),
    ];
    let mut line = fields.join(&b' ');
    line.push(b'\n');
    Ok(line)
}

/// A path that means the same wherever it is read. Nothing has to exist there.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute =
        std::path::absolute(path).with_context(|| format!("cannot look at {}", path.display()))?;
    // `absolute` leaves `..` as it is, since a link may stand before it; fstab may not have it.
    if absolute.components().any(|part| part.as_os_str() == "..") {
        bail!("{}: give the folder without `..`", path.display());
    }
    if absolute
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| *byte < b' ' && *byte != b'\t')
    {
        bail!("control characters in a path cannot stand in fstab");
    }
    // A slash at the end would keep the table of mounts from matching.
    Ok(absolute.components().collect())
}

/// A field of fstab(5): what would end it, or stand for something else, in octal.
fn escaped(field: &OsStr) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in field.as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            _ => text.push(*byte),
        }
    }
    text
}

/// What else is to be done before the line works.
fn hints(args: &Args) -> Vec<String> {
    let mut hints = Vec::new();
    if !Path::new(HELPER).exists() {
        hints.push(format!(
            "mount(8) needs its helper: sudo ln -s \"$(command -v fichierfs)\" {HELPER}"
        ));
    }
    let name = &args.name;
    let root = nix::unistd::geteuid().is_root();
    match (&args.given.account.api_key_file, args.user) {
        (Some(file), _) => hints.push(format!(
            "the key is read from {}, by whoever mounts; mode 0600",
            file.display()
        )),
        (None, true) => hints.push(format!(
            "whoever mounts it needs the key: fichierfs login --account {name}"
        )),
        (None, false) => {
            let folder = Surroundings::of_process().ok().filter(|_| root);
            let folder = folder.map_or("/etc/fichierfs".into(), |around| around.places.config);
            let kept = key::stored_in(&folder, name);
            // Others than root cannot see whether it is there.
            if !root || !kept.exists() {
                hints.push(format!(
                    "root mounts it and needs the key, in {}: sudo fichierfs login --account {name}",
                    kept.display()
                ));
            }
        }
    }
    let mountpoint = absolute(&args.mountpoint).unwrap_or_else(|_| args.mountpoint.clone());
    if !mountpoint.is_dir() {
        hints.push(format!(
            "the folder must be there: sudo mkdir -p '{}'",
            mountpoint.display()
        ));
    }
    hints.push(format!(
        "then: sudo systemctl daemon-reload; sudo mount '{}'",
        mountpoint.display()
    ));
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(arguments: &[&str]) -> Result<String, String> {
        let mut all = vec!["fstab"];
        all.extend(arguments);
        let all: Vec<OsString> = all.into_iter().map(OsString::from).collect();
        let cli = super::super::parse(&all).map_err(|err| super::super::one_line(&err, &all))?;
        let super::super::Command::Fstab(args) = cli.command else {
            return Err("another command".into());
        };
        let line = checked(&args, &all).map_err(|err| exit::sentence(&err))?;
        Ok(String::from_utf8(line).unwrap())
    }

    #[test]
    fn options_stand_in_the_line_as_they_were_typed() {
        for (arguments, line) in [
            (
                vec!["work", "/mnt/work"],
                "fichierfs:work /mnt/work fichierfs _netdev,nofail 0 0\n",
            ),
            (
                vec![
                    "--automount",
                    "--allow-other",
                    "--uid",
                    "root",
                    "work",
                    "/mnt/my films/",
                    "--cache-size=20GB",
                    "--read-only",
                    "--root",
                    "/a b",
                    "-o",
                    "noatime,x-systemd.mount-timeout=2min,nofail",
                ],
                "fichierfs:work /mnt/my\\040films fichierfs _netdev,nofail,x-systemd.automount,noatime,\
                 x-systemd.mount-timeout=2min,root=/a\\040b,ro,allow_other,uid=root,cache_size=20GB 0 0\n",
            ),
            (
                vec!["--user", "a", "/x/./#1", "--no-crawl=no"],
                "fichierfs:a /x/\\0431 fichierfs _netdev,nofail,user,no_crawl=no 0 0\n",
            ),
        ] {
            assert_eq!(printed(&arguments).as_deref(), Ok(line), "{arguments:?}");
        }
        let here = std::env::current_dir().unwrap();
        let line = printed(&["a", "mnt", "--api-key-file", "key"]).unwrap();
        let key = format!("api_key_file={}/key ", here.display());
        assert!(
            line.contains(&key) && line.contains("/mnt fichierfs"),
            "{line}"
        );
    }

    #[test]
    fn what_cannot_stand_in_fstab_is_refused() {
        for (arguments, says) in [
            (vec!["work", "/"], "below it"),
            (vec!["work", "/a/../b"], ".."),
            (vec!["work", "/a\nb"], "control characters"),
            (vec!["work", "/a", "--root", "/x,y"], "config.toml"),
            (vec!["work", "/a", "--root", "/x\"y"], "config.toml"),
            (vec!["work", "/a", "-o", r"root=/x\,y"], "config.toml"),
            (
                vec!["work", "/a", "-o", "frobnicate"],
                "no such mount option",
            ),
            (vec!["work", "/a", "-o", "cache_size=lots"], "20GB"),
            (vec!["work", "/a", "--cache-size", "lots"], "20GB"),
            (vec!["work", "/a", "--proxy", "http://me:x@p:1"], "password"),
            (
                vec!["work", "/a", "-o", "proxy=http://me:x@p:1"],
                "password",
            ),
            (vec!["work", "/a", "--account", "other"], "first argument"),
            (vec!["work", "/a", "-o", "account=other"], "first argument"),
            (vec!["../x", "/a"], "a-z"),
            (vec!["work"], "MOUNTPOINT"),
        ] {
            let said = printed(&arguments).unwrap_err();
            assert!(said.contains(says), "{arguments:?}: {said}");
            assert!(!said.contains("me:x"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn every_field_comes_back(field in "[ -~\t]{0,30}") {
            let text = escaped(OsStr::new(&field));
            prop_assert!(!text.iter().any(|byte| b" \t\n".contains(byte)));
            // As getmntent(3) reads it.
            let mut back = Vec::new();
            let mut rest = text.as_slice();
            while let Some((first, more)) = rest.split_first() {
                let octal = |text: &[u8]| u8::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok();
                let coded = more.get(..3).and_then(octal);
                if let Some(byte) = coded.filter(|_| *first == b'\\') {
                    back.push(byte);
                    rest = &more[3..];
                } else {
                    back.push(*first);
                    rest = more;
                }
            }
            prop_assert_eq!(back, field.into_bytes());
        }
    }
}
