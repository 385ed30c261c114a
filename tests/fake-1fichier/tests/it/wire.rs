//! The fake answers the exchanges of the API reference as they stand there. The client is tested with the
//! same files, so that both cannot be wrong in the same way unnoticed.

use fake_1fichier::{EmptyArrays, Fake};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

use crate::client::call;

/// Parts of an answer that are made up by the service: only their form is compared.
const MADE_UP: [&str; 5] = ["create_date", "to_url", "checksum", "id", "url"];

/// Ids in the files and what they stand for: the folder `photos`, which holds `a.txt`; another folder; and
/// the folder that is made.
const PHOTOS: u64 = 4_100_021;
const OTHER: u64 = 4_100_022;
const MADE: u64 = 4_100_099;
const FILE: &str = "https://1fichier.com/?aaaabbbbccccddddeeee";

fn exchanges() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../it/wire");
    let mut files: Vec<PathBuf> = folder
        .read_dir()
        .expect("the exchanges")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// The same with every value replaced that `replace` has another one for.
fn replaced(value: &Value, replace: &impl Fn(&Value) -> Option<Value>) -> Value {
    if let Some(other) = replace(value) {
        return other;
    }
    match value {
        Value::Array(all) => all.iter().map(|it| replaced(it, replace)).collect(),
        Value::Object(all) => all
            .iter()
            .map(|(key, it)| (key.clone(), replaced(it, replace)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// A text with each run of letters and digits as one `x`.
fn form(value: &Value) -> Option<String> {
    let mut form = String::new();
    for letter in value.as_str()?.chars() {
        let letter = if letter.is_alphanumeric() {
            'x'
        } else {
            letter
        };
        if letter != 'x' || !form.ends_with('x') {
            form.push(letter);
        }
    }
    Some(form)
}

/// What differs, by the path of the value; a list's first element stands for all.
fn differences(path: &str, wanted: &Value, got: &Value, out: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            for (key, wanted) in wanted {
                let path = format!("{path}.{key}");
                match got.get(key) {
                    Some(got) if MADE_UP.contains(&&**key) && form(wanted) == form(got) => {}
                    Some(got) => differences(&path, wanted, got, out),
                    None => out.push(format!("lacks {path}")),
                }
            }
            let more = got.keys().filter(|key| !wanted.contains_key(*key));
            out.extend(more.map(|key| format!("adds {path}.{key}")));
        }
        (Value::Array(wanted), Value::Array(got)) => match (wanted.first(), got.first()) {
            (Some(wanted), Some(got)) => differences(&format!("{path}[0]"), wanted, got, out),
            (None, None) => {}
            _ => out.push(format!("{path}: {wanted:?} is not {got:?}")),
        },
        _ if wanted == got => {}
        _ => out.push(format!("{path}: {wanted} is not {got}")),
    }
}

#[test]
fn the_exchanges_of_the_reference_are_answered_as_there() {
    let (mut compared, mut found) = (0, Vec::new());
    for path in exchanges() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let exchange: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let fake = Fake::builder()
            .config(|config| {
                config.empty_arrays = match &*name {
                    "folder-ls" => EmptyArrays::Empty,
                    _ => EmptyArrays::Absent,
                }
            })
            .start()
            .unwrap();
        let account = fake.account();
        let photos = account.mkdir(0, "photos");
        let other = account.mkdir(0, "other");
        if name == "folder-ls-root" {
            account.remove_folder(other);
        }
        let url = account.add_bytes(photos, "a.txt", &b"Hello world\n"[..]);
        account.set_date(&url, "2025-02-03 10:12:00");
        if name.ends_with("refused") {
            account.set_offer(0);
        }
        let request = replaced(&exchange["request"], &|value| match value {
            Value::String(text) if text == FILE => Some(url.clone().into()),
            value if *value == PHOTOS => Some(photos.into()),
            value if *value == OTHER => Some(other.into()),
            _ => None,
        });
        let endpoint = exchange["path"].as_str().unwrap();
        let endpoint = endpoint
            .strip_prefix("/v1/")
            .and_then(|it| it.strip_suffix(".cgi"));
        let answer = call(&fake, endpoint.unwrap(), &request).json();
        let got = replaced(&answer, &|value| match value {
            Value::String(text) if *text == url => Some(FILE.into()),
            value if *value == photos => Some(PHOTOS.into()),
            value if *value == other => Some(OTHER.into()),
            value if value.as_u64().is_some_and(|id| id > other) && name == "folder-mkdir" => {
                Some(MADE.into())
            }
            _ => None,
        });
        if name == "user-info" {
            // The figures are the account's own, and the reference leaves most of them out.
            for (key, wanted) in exchange["answer"].as_object().unwrap() {
                if wanted.is_string() != got[key].is_string() || got[key].is_null() {
                    found.push(format!("{name}.{key}: {wanted} is not {}", got[key]));
                }
            }
        } else {
            differences(&name, &exchange["answer"], &got, &mut found);
        }
        compared += 1;
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(compared >= 11, "{compared}");
}
