//! `docs/configuration.md`: the reference of options, printed from their declaration.
use crate::config::layers::variable;
use clap::Arg;
use std::fmt::Write;

/// Prose before the tables.
const HEAD: &str = include_str!("reference_head.md");

/// The whole page. A test compares it with the file.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    let declaration = super::declaration();
    let Some(mount) = declaration.find_subcommand("mount") else {
        return page;
    };
    for heading in headings(mount) {
        let _ = write!(
            page,
            "\n### {heading}\n\n\
             | command line | environment | config file, `-o` | meaning |\n\
             |---|---|---|---|\n"
        );
        for arg in mount.get_arguments() {
            if arg.get_help_heading() == Some(heading.as_str()) && !arg.is_hide_set() {
                page.push_str(&row(arg));
            }
        }
    }
    page
}

/// The headings of a command's options, in the order of their first option.
fn headings(command: &clap::Command) -> Vec<String> {
    let mut headings: Vec<String> = Vec::new();
    for arg in command.get_arguments() {
        if let Some(heading) = arg.get_help_heading().filter(|_| !arg.is_hide_set())
            && !headings.iter().any(|known| known == heading)
        {
            headings.push(heading.to_owned());
        }
    }
    headings
}

fn row(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let value = match arg.get_value_names() {
        Some([name, ..]) if name == "BOOL" => String::new(),
        Some([name, ..]) => format!(" {}", name.replace('|', "\\|")),
        _ => String::new(),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.replace('\n', " ").replace('|', "\\|");
    // `account` chooses the table in the file, so it cannot stand in it.
    let file = match long {
        "account" => "(`-o` only)".to_owned(),
        _ => format!("`{long}`"),
    };
    format!(
        "| `--{long}{value}` | `{}` | {file} | {help} |\n",
        variable(long)
    )
}
