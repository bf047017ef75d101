//! The layers of this crate. An import runs from a higher layer to a lower one, and never ties two modules in a circle.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The modules by layer, the lowest first. A module imports from lower layers only.
const LAYERS: &[&[&str]] = &[
    &["keys", "rng", "server_request", "endpoint"],
    &["config", "stats"],
    &["failure"],
    &["event"],
    &["loss"],
    &["link", "tables"],
    &["policy", "resend"],
    &["machine"],
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|modules| modules.contains(&module));
    found.unwrap_or_else(|| panic!("`{module}` belongs to no layer: add it to LAYERS"))
}

/// The source files of this crate other than this one and lib.rs, with the module at the root that each belongs to.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let root = folders[0].clone();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
            let module = Path::new(&first).file_stem().unwrap().to_str().unwrap().to_owned();
            if !["lib", "layers"].contains(&module.as_str()) {
                sources.push((module, fs::read_to_string(path).unwrap()));
            }
        }
    }
    sources
}

/// The text without comments.
fn code(source: &str) -> String {
    let lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join(" ")
}

/// The names that follow `crate::` in a text, in groups too.
fn imports(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(first_name(rest));
            continue;
        };
        let mut depth = 1;
        let mut item = String::new();
        for character in group.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => names.extend([first_name(&std::mem::take(&mut item))]),
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if character != ',' || depth > 1 {
                item.push(character);
            }
        }
        names.insert(first_name(&item));
    }
    names.remove("");
    names
}

fn first_name(path: &str) -> String {
    let path = path.trim_start();
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The module of each name that lib.rs exports, and of each macro that the crate exports.
fn exported() -> BTreeMap<String, String> {
    let mut exported = BTreeMap::new();
    let lib = code(include_str!("lib.rs"));
    for statement in lib.split(';') {
        let Some(path) = statement.trim().strip_prefix("pub use ") else { continue };
        let (module, names) = path.split_once("::").unwrap_or((path, ""));
        for name in names.trim_matches(['{', '}', ' ']).split(',') {
            exported.insert(name.trim().to_owned(), module.to_owned());
        }
    }
    for (module, source) in sources() {
        for rest in code(&source).split("#[macro_export]").skip(1) {
            let (_, name) = rest.split_once("macro_rules!").unwrap();
            exported.insert(first_name(name), module.clone());
        }
    }
    exported
}

#[test]
fn imports_run_from_higher_layers_to_lower_ones() {
    let exported = exported();
    assert_eq!(exported["Machine"], "machine");
    let mut seen = BTreeSet::new();
    for (module, source) in sources() {
        for name in imports(&code(&source)) {
            let other = exported.get(&name).unwrap_or(&name);
            // What `pub use config::*` and `endpoint::*` export is in the lowest layers, like the crates below this one.
            let below = name.starts_with(char::is_uppercase) && !exported.contains_key(&name);
            if below || other.starts_with("zraft_") || *other == module {
                continue;
            }
            assert!(
                layer(other) < layer(&module),
                "`{module}` imports `{name}` of `{other}`, which is not in a lower layer"
            );
            seen.insert((module.clone(), other.clone()));
        }
    }
    assert!(seen.contains(&("machine".to_owned(), "resend".to_owned())), "{seen:?}");
    assert!(seen.contains(&("resend".to_owned(), "tables".to_owned())), "{seen:?}");
}
