//! `docs/trouble.md` explains messages by their words: those words are in the program, and what the program says
//! of a failed call is on the page.
use std::fs;
use std::path::Path;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All texts of the program, each line break of a long literal undone.
fn sources(folder: &Path, into: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let mut continued = false;
            for line in fs::read_to_string(&path).unwrap().lines() {
                let line = if continued { line.trim_start() } else { line };
                continued = line.ends_with('\\');
                into.push_str(line.trim_end_matches('\\'));
                if !continued {
                    into.push('\n');
                }
            }
        }
    }
}

/// The table below a heading: the pieces of code in its first column.
fn explained(page: &str, heading: &str) -> Vec<String> {
    let table = page.split(heading).nth(1).unwrap();
    let table = table.split("\n#").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let first = row.split(" | ").next().unwrap().to_owned();
        let pieces: Vec<String> = first
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        pieces
    })
    .collect()
}

#[test]
fn messages_that_are_explained_exist() {
    let page = fs::read_to_string(repository().join("docs/trouble.md")).unwrap();
    let mut program = String::new();
    sources(&repository().join("src"), &mut program);
    let messages = explained(&page, "### In the log, and from commands\n");
    assert!(messages.len() > 50, "only {} messages", messages.len());
    let stale: Vec<&String> = messages
        .iter()
        .filter(|it| !program.contains(it.as_str()))
        .collect();
    assert!(stale.is_empty(), "nothing says this any more: {stale:#?}");
}

#[test]
fn what_is_said_of_a_failed_call_is_explained() {
    use fichierfs::api::ErrorKind as K;
    let page = fs::read_to_string(repository().join("docs/trouble.md")).unwrap();
    for kind in [
        K::Flood,
        K::IpBanned,
        K::KeyRefused,
        K::NotCustomer,
        K::OwnerLocked,
        K::NotFound,
        K::NotAllowed,
        K::Password,
        K::TooManyLocations,
        K::NetworkRefused,
        K::NothingRenamed,
        K::OverQuota,
        K::TooManyConnections,
        K::Maintenance,
        K::Server,
        K::LinkExpired,
        K::UploadMalformed,
        K::NodeTrouble,
        K::ReportPending,
        K::ReportEmpty,
        K::Malformed,
        K::WrongBytes,
        K::Network,
        K::Tls,
        K::HostRefused,
        K::Timeout,
        K::SourceFailed,
    ] {
        let says = kind.says().split([';', '`']).next().unwrap();
        assert!(page.contains(says), "{kind:?}: {says}");
    }
}
