//! `fichierfs completions SHELL` and `fichierfs man FOLDER`: what a shell and man(1) want to know, made
//! from the declaration of the commands, so that neither can know an option the program does not.
use super::exit::{self, Failure};
use super::output::print;
use anyhow::Context;
use clap::{Arg, ArgAction, Command, ValueEnum};
use clap_complete::aot::{Shell as Generator, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What stands at the foot of each page.
const SOURCE: &str = concat!("fichierfs ", env!("CARGO_PKG_VERSION"));

/// What stands at the head of each page.
const MANUAL: &str = "fichierfs";

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The package installs them. Otherwise, for this user:\n\
    \n  bash  fichierfs completions bash >~/.local/share/bash-completion/completions/fichierfs\
    \n  zsh   fichierfs completions zsh >FOLDER/_fichierfs, with a FOLDER of $fpath\
    \n  fish  fichierfs completions fish >~/.config/fish/completions/fichierfs.fish")]
pub struct CompletionsArgs {
    /// The shell they are for
    pub shell: Shell,
}

/// Shells that completions are tested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash with the package bash-completion.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The folder the pages are written to; it is made if need be
    pub folder: PathBuf,
}

/// Prints the completions of one shell.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    print(completions_of(args.shell))
}

/// Writes all manual pages.
pub fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for page in pages()? {
        let path = folder.join(&page.file);
        fs::write(&path, &page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn completions_of(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut super::declaration(), "fichierfs", &mut text);
    text
}

/// One manual page.
struct Page {
    /// Its file's name, e.g. `fichierfs-mount.1`.
    file: String,
    text: Vec<u8>,
}

fn pages() -> io::Result<Vec<Page>> {
    // The pages of `help` would repeat all others.
    let mut root = super::declaration().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    user_pages(&root, &[], &mut pages)?;
    let helper = helper();
    let see = ["fichierfs(1)", "fichierfs-fstab(1)", "mount(8)", "fstab(5)"];
    pages.push(page(&helper, "mount.fichierfs", "8", &see)?);
    Ok(pages)
}

/// The page of a command and those of the commands below it.
fn user_pages(command: &Command, above: &[&str], pages: &mut Vec<Page>) -> io::Result<()> {
    let mut names = above.to_vec();
    names.push(command.get_name());
    let name = names.join("-");
    let visible = || {
        command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
    };
    let mut see: Vec<String> = visible()
        .map(|below| format!("{name}-{}(1)", below.get_name()))
        .collect();
    if above.is_empty() {
        see.push("mount.fichierfs(8)".into());
    } else {
        see.insert(0, format!("{}(1)", above.join("-")));
    }
    let see: Vec<&str> = see.iter().map(String::as_str).collect();
    pages.push(page(command, &name, "1", &see)?);
    for below in visible() {
        user_pages(below, &names, pages)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str, section: &str, see: &[&str]) -> io::Result<Page> {
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section(section)
        .source(SOURCE)
        .manual(MANUAL);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    // By hand: a command below another is known to man(1) by both names.
    let about = command.get_about().map(ToString::to_string);
    section_of(
        &mut text,
        "NAME",
        &format!("{name} - {}", about.unwrap_or_default()),
    )?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    man.render_options_section(&mut text)?;
    if let Some(notes) = command.get_after_help() {
        section_of(&mut text, "NOTES", &notes.to_string())?;
    }
    exit_status(&mut text, section)?;
    if section == "1" {
        environment(&mut text)?;
    }
    section_of(&mut text, "SEE ALSO", &see.join(", "))?;
    let file = format!("{name}.{section}");
    Ok(Page { file, text })
}

/// A section of plain text; an empty line begins a paragraph, an indented one stands as it is.
fn section_of(text: &mut dyn Write, heading: &str, words: &str) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    let mut as_it_is = false;
    for line in words.lines() {
        let indented = line.starts_with("  ");
        if indented != as_it_is {
            roff.control(if indented { "nf" } else { "fi" }, []);
            as_it_is = indented;
        }
        if line.trim().is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    if as_it_is {
        roff.control("fi", []);
    }
    roff.to_writer(text)
}

fn exit_status(text: &mut dyn Write, section: &str) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    let codes = if section == "8" {
        exit::MOUNT8_CODES
    } else {
        exit::CODES
    };
    for (code, meaning) in codes {
        roff.control("TP", []);
        roff.text([bold(code.to_string())]);
        roff.text([roman(*meaning)]);
    }
    roff.to_writer(text)
}

fn environment(text: &mut dyn Write) -> io::Result<()> {
    const VARIABLES: &[(&str, &str)] = &[
        (
            "FICHIERFS_API_KEY",
            "The API key; better is `fichierfs login`, a key file or a systemd credential.",
        ),
        (
            "FICHIERFS_LOG",
            "A filter such as info,fichierfs::api=debug; goes before -v and --quiet.",
        ),
        (
            "FICHIERFS_...",
            "Any option of fichierfs-mount(1), e.g. FICHIERFS_CACHE_SIZE=20GB.",
        ),
        ("NO_COLOR", "Set to anything: no colours on a terminal."),
    ];
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in VARIABLES {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
    roff.to_writer(text)
}

/// What mount(8) calls, which clap does not parse: declared for its page alone.
fn helper() -> Command {
    let switch = |id: &'static str, help: &'static str| {
        Arg::new(id)
            .short(id.chars().next())
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let value = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id)
            .short(id.chars().next())
            .value_name(name)
            .help(help)
    };
    let place = |name: &'static str, help: &'static str| {
        Arg::new(name).value_name(name).required(true).help(help)
    };
    Command::new("mount.fichierfs")
        .about("what mount(8) and fstab(5) call for the type fichierfs")
        .long_about(
            "mount(8) calls this program for file systems of the type fichierfs. It returns when the \
             mount answers; the process that serves it stays in the background and logs to NAME/log in \
             the state folder.\n\n\
             umount(8) calls umount.fuse.fichierfs for mounts made with _netdev, as every line of `fichierfs \
             fstab` has it. It waits until the account has everything that was written, though no longer than \
             two minutes without any progress. Without _netdev umount returns at once. The process uploads \
             the rest all the same, and what it cannot upload is uploaded by the next mount.",
        )
        .override_usage(
            "mount.fichierfs ACCOUNT DIR [-sfnv] [-o OPTIONS] [-N NAMESPACE] [-t TYPE]\n\
             umount.fuse.fichierfs DIR [-flnrv] [-N NAMESPACE] [-t TYPE]",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(place(
            "ACCOUNT",
            "the account's name, NAME or fichierfs:NAME; the latter is how the table of mounts has it",
        ))
        .arg(place("DIR", "the folder it is mounted in"))
        .arg(value(
            "o",
            "OPTIONS",
            "options, separated by commas: those of fichierfs-mount(1) by name, with _ or - \
             (cache_size=20GB), ro, rw, exec, noexec, noatime; what concerns fstab only (_netdev, nofail, \
             noauto, user, users, x-..., comment=...) is passed over",
        ))
        .arg(switch("f", "check everything, but do not mount"))
        .arg(switch("s", "pass over unknown options"))
        .arg(switch("v", "tell more"))
        .arg(switch("n", "nothing; there is no mtab to be kept out of"))
        .arg(value("N", "NAMESPACE", "mount in this mount namespace"))
        .arg(value("t", "TYPE", "passed over: the type is known"))
        .after_help(
            "For fstab, written by `fichierfs fstab`:\n\n\
             \x20 fichierfs:work /mnt/work fichierfs _netdev,nofail,allow_other,uid=jellyfin 0 0\n\n\
             The key is that of whoever mounts: root's stored login is kept by \
             `sudo fichierfs login --account work`.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command as Process, Output, Stdio};

    /// What a program says about `input`; `None` where it is not installed.
    fn ask(program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
        let mut child = Process::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .inspect_err(|_| eprintln!("!!! SKIPPED: {program} is not installed !!!"))
            .ok()?;
        let mut stdin = child.stdin.take()?;
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Some(output)
    }

    #[test]
    fn every_command_has_a_page_with_its_sections() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        for name in [
            "fichierfs.1",
            "fichierfs-mount.1",
            "fichierfs-cache-verify.1",
            "fichierfs-fstab.1",
            "mount.fichierfs.8",
        ] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert!(
            !names.iter().any(|name| name.contains("man.1")),
            "{names:?}"
        );
        for page in &pages {
            let text = String::from_utf8(page.text.clone()).unwrap();
            for section in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "\"EXIT STATUS\"",
                "\"SEE ALSO\"",
            ] {
                let heading = format!(".SH {section}\n");
                assert_eq!(
                    text.matches(&heading).count(),
                    1,
                    "{}: {section}",
                    page.file
                );
            }
        }
    }

    #[test]
    fn groff_has_nothing_to_warn_of() {
        for page in pages().unwrap() {
            let arguments = ["-man", "-Tutf8", "-Kutf8", "-ww", "-z"];
            let Some(output) = ask("groff", &arguments, &page.text) else {
                return;
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{}: {said}",
                page.file
            );
        }
    }

    #[test]
    fn shells_can_read_their_completions() {
        for (shell, program) in [
            (Shell::Bash, "bash"),
            (Shell::Zsh, "zsh"),
            (Shell::Fish, "fish"),
        ] {
            let text = completions_of(shell);
            let words = String::from_utf8(text.clone()).unwrap();
            for word in ["umount", "cache-size", "read-only"] {
                assert!(words.contains(word), "{program}: {word}");
            }
            let Some(output) = ask(program, &["-n"], &text) else {
                continue;
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{program}: {said}"
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = PathBuf::from("/dev/null/pages");
        let failure = man(&ManArgs { folder }).unwrap_err();
        assert!(exit::sentence(&failure.why.unwrap()).contains("/dev/null/pages"));
    }
}
