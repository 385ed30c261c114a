//! What `--json` prints is what `docs/schema` promises.
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Fails with every difference between `printed` and `docs/schema/<name>.json`.
pub(crate) fn check(name: &str, printed: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(printed)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\nin {printed:#}");
}
