//! Texts that people read, kept as files: help and the reference of options. After a wanted
//! change: `UPDATE_EXPECTED=1 cargo test --test it`, and look at what git shows.
use super::Home;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compare(path: &Path, now: &str) {
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, now).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        now,
        expected,
        "{} differs from what the program says; run with UPDATE_EXPECTED=1 if that is wanted",
        path.display()
    );
}

fn expected(name: &str) -> PathBuf {
    repository().join("tests/it/cli/expected").join(name)
}

#[test]
fn help_is_what_the_files_say() {
    let home = Home::new();
    for (name, arguments) in [
        ("help.txt", vec!["--help"]),
        ("mount.txt", vec!["mount", "--help"]),
        ("umount.txt", vec!["umount", "--help"]),
        ("status.txt", vec!["status", "--help"]),
        ("refresh.txt", vec!["refresh", "--help"]),
        ("sync.txt", vec!["sync", "--help"]),
        ("retry.txt", vec!["retry", "--help"]),
        ("discard.txt", vec!["discard", "--help"]),
        ("warm.txt", vec!["warm", "--help"]),
        ("cache.txt", vec!["cache", "--help"]),
        ("cache-status.txt", vec!["cache", "status", "--help"]),
        ("cache-clear.txt", vec!["cache", "clear", "--help"]),
        ("cache-verify.txt", vec!["cache", "verify", "--help"]),
        ("bwlimit.txt", vec!["bwlimit", "--help"]),
        ("explain.txt", vec!["explain", "--help"]),
        ("dupes.txt", vec!["dupes", "--help"]),
        ("export-index.txt", vec!["export-index", "--help"]),
        ("state.txt", vec!["state", "--help"]),
        ("state-export.txt", vec!["state", "export", "--help"]),
        ("state-import.txt", vec!["state", "import", "--help"]),
        ("login.txt", vec!["login", "--help"]),
        ("account.txt", vec!["account", "--help"]),
        ("doctor.txt", vec!["doctor", "--help"]),
        ("fstab.txt", vec!["fstab", "--help"]),
        ("completions.txt", vec!["completions", "--help"]),
        ("link.txt", vec!["link", "--help"]),
        ("share.txt", vec!["share", "--help"]),
        ("protect.txt", vec!["protect", "--help"]),
        ("fetch.txt", vec!["fetch", "--help"]),
        ("import.txt", vec!["import", "--help"]),
        ("info.txt", vec!["info", "--help"]),
    ] {
        let ended = home.run(&arguments);
        ended.succeeded();
        assert!(ended.err.is_empty(), "{ended:?}");
        compare(&expected(name), &ended.out);
    }
}

#[test]
fn the_reference_of_options_is_up_to_date() {
    compare(
        &repository().join("docs/configuration.md"),
        &fichierfs::cli::reference::markdown(),
    );
}

#[test]
fn the_reference_of_metrics_is_up_to_date() {
    compare(
        &repository().join("docs/metrics.md"),
        &fichierfs::page::metrics::markdown(),
    );
}

#[test]
fn the_reference_names_every_option_and_variable() {
    let page = fichierfs::cli::reference::markdown();
    let declaration = fichierfs::cli::declaration();
    let mount = declaration.find_subcommand("mount").unwrap();
    let named = mount
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_help_heading().is_some());
    let mut count = 0;
    for arg in named {
        let long = arg.get_long().unwrap();
        assert!(page.contains(&format!("| `--{long}")), "--{long}");
        count += 1;
    }
    assert!(count >= 17, "only {count} options are documented");
    let other = ["FICHIERFS_API_KEY", "FICHIERFS_LOG", "FICHIERFS_READ_ONLY"];
    assert!(other.iter().all(|name| page.contains(name)));
}

/// The table in the README names options that exist, with their values and defaults as the help has
/// them.
#[test]
fn the_readme_agrees_with_the_help() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let declaration = fichierfs::cli::declaration();
    let mount = declaration.find_subcommand("mount").unwrap();
    let mut count = 0;
    for line in readme.lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (option, default) = (cells[1].trim_matches('`'), cells[2].trim_matches('`'));
        let (long, value) = option.split_once(' ').unwrap_or((option, ""));
        let arg = mount
            .get_arguments()
            .find(|arg| arg.get_long() == Some(&long[2..]))
            .unwrap_or_else(|| panic!("there is no {long}"));
        let help = arg.get_help().unwrap().to_string();
        if value.is_empty() {
            assert_eq!(default, "off", "{long}: a switch is off");
            assert!(!help.contains("[default"), "{long}: {help}");
        } else {
            assert_eq!(arg.get_value_names().unwrap(), [value], "{long}");
            let says = format!("[default: {default}]");
            assert!(help.contains(&says), "{long}: {says} is not in: {help}");
        }
        count += 1;
    }
    assert!(count >= 7, "only {count} options in the table");
    let shown = declaration.get_subcommands().filter(|it| !it.is_hide_set());
    for command in shown.map(clap::Command::get_name) {
        let named = readme.contains(&format!("fichierfs {command}"));
        assert!(
            named || command == "account" || command == "help",
            "{command}"
        );
    }
}

#[test]
fn the_version_is_the_packages() {
    let ended = Home::new().run(["--version"]);
    ended.succeeded();
    assert_eq!(
        ended.out.trim(),
        concat!("fichierfs ", env!("CARGO_PKG_VERSION"))
    );
}
