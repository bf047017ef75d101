//! Holds dependencies against `deny.toml`, as `cargo deny check bans licenses sources` does, in a second and with nothing to install.
//!
//! cargo-deny takes minutes to build, so the gate runs this instead; `./verify advisories` and the workflow run cargo-deny too. Both
//! read the same lists. A key of `deny.toml` that this module does not know is a finding, so neither checks less than the file says.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::{licences, metadata::Package};

/// Where crates may come from: `[sources]` denies every other registry and every git repository.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The rules of `deny.toml`.
#[derive(Debug)]
pub struct Rules {
    licences: Vec<String>,
    exceptions: Vec<(String, Vec<String>)>,
}

/// The keys that this module checks, or that only cargo-deny can check: advisories want a network and a database.
const KNOWN: &[(&str, &[&str])] = &[
    ("graph", &["all-features"]),
    ("licenses", &["allow", "confidence-threshold", "exceptions", "private"]),
    ("bans", &["multiple-versions", "wildcards", "allow-wildcard-paths"]),
    ("sources", &["unknown-registry", "unknown-git"]),
    ("advisories", &["yanked", "ignore"]),
];

/// The settings that the checks below are written for.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("bans", "multiple-versions", "warn"),
    ("bans", "wildcards", "deny"),
    ("sources", "unknown-registry", "deny"),
    ("sources", "unknown-git", "deny"),
];

impl Rules {
    /// Reads the text of `deny.toml`.
    ///
    /// # Errors
    /// The text is not TOML, or has a key or setting that this module does not know.
    pub fn read(text: &str) -> Result<Self, String> {
        let rules: Table = text.parse().map_err(|error| format!("deny.toml: {error}"))?;
        for (name, section) in &rules {
            let known =
                KNOWN.iter().find(|(section, _)| section == name).map_or(&[][..], |known| known.1);
            for key in section.as_table().into_iter().flat_map(Table::keys) {
                if !known.contains(&key.as_str()) {
                    return Err(format!("deny.toml: this check does not know `{key}` of [{name}]"));
                }
            }
        }
        for (section, key, value) in SETTINGS {
            let found =
                rules.get(*section).and_then(|section| section.get(key)).and_then(Value::as_str);
            if found != Some(value) {
                return Err(format!(
                    "deny.toml: this check is written for {key} = \"{value}\" in [{section}]"
                ));
            }
        }
        let licences = rules.get("licenses");
        let exceptions =
            licences.and_then(|section| section.get("exceptions")).and_then(Value::as_array);
        Ok(Self {
            licences: strings(licences.and_then(|section| section.get("allow"))),
            exceptions: exceptions
                .into_iter()
                .flatten()
                .map(|exception| {
                    let name = exception.get("crate").and_then(Value::as_str).unwrap_or_default();
                    (name.to_owned(), strings(exception.get("allow")))
                })
                .collect(),
        })
    }

    /// Returns what breaks the rules among the packages of all workspaces, and which licences are allowed although nothing uses them.
    #[must_use]
    pub fn findings(&self, packages: &[Package]) -> Vec<String> {
        let mut used = BTreeSet::new();
        let mut found: Vec<String> = packages
            .iter()
            .flat_map(|package| {
                self.licence(package, &mut used).into_iter().chain(origins(package))
            })
            .collect();
        let idle = self.licences.iter().filter(|licence| !used.contains(*licence));
        found.extend(
            idle.map(|licence| format!("deny.toml allows {licence}, which no dependency has")),
        );
        found.sort_unstable();
        found.dedup();
        found
    }

    fn licence(&self, package: &Package, used: &mut BTreeSet<String>) -> Option<String> {
        let Package { name, version, .. } = package;
        let Some(licence) = &package.licence else {
            return Some(format!("{name} {version} names no licence"));
        };
        let more =
            self.exceptions.iter().filter(|(other, _)| other == name).flat_map(|(_, more)| more);
        let more: Vec<&String> = more.collect();
        let met = licences::is_met(licence, &mut |wanted| {
            let allowed = self.licences.iter().any(|licence| licence == wanted);
            if allowed {
                used.insert(wanted.to_owned());
            }
            allowed || more.iter().any(|licence| *licence == wanted)
        });
        (!met).then(|| format!("{name} {version}: deny.toml does not allow its licence, {licence}"))
    }
}

/// Finds sources other than crates.io, and dependencies of any version. A member may name another by its path alone.
fn origins(package: &Package) -> Vec<String> {
    let Package { name, version, .. } = package;
    let mut found = Vec::new();
    if let Some(source) = package.source.as_deref().filter(|source| *source != CRATES_IO) {
        found.push(format!("{name} {version} comes from {source}"));
    }
    let any = package.dependencies.iter().filter(|line| line.requirement == "*" && !line.has_path);
    if package.is_member {
        found.extend(any.map(|line| format!("{name} takes any version of {}", line.name)));
    }
    found
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT"]
        exceptions = [{ crate = "fuzzer", allow = ["NCSA"] }]
        [bans]
        multiple-versions = "warn"
        wildcards = "deny"
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
    "#;

    fn package(name: &str, licence: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: Some(licence.to_owned()),
            source: Some(CRATES_IO.to_owned()),
            is_member: false,
            dependencies: Vec::new(),
        }
    }

    fn findings(packages: &[Package]) -> Vec<String> {
        Rules::read(RULES).expect("rules").findings(packages)
    }

    #[test]
    fn allowed_licences_and_exceptions_pass() {
        assert_eq!(
            findings(&[package("a", "MIT OR X"), package("fuzzer", "MIT AND NCSA")]),
            [""; 0]
        );
    }

    #[test]
    fn another_licence_or_none_is_found() {
        let unnamed = Package { licence: None, ..package("b", "") };
        let found = findings(&[package("a", "NCSA"), unnamed, package("c", "MIT")]);
        assert_eq!(
            found,
            ["a 1.0.0: deny.toml does not allow its licence, NCSA", "b 1.0.0 names no licence"]
        );
    }

    #[test]
    fn a_licence_that_nothing_uses_is_found() {
        assert_eq!(findings(&[]), ["deny.toml allows MIT, which no dependency has"]);
    }

    #[test]
    fn another_registry_and_a_git_repository_are_found() {
        let other = Package {
            source: Some("registry+https://example.org".to_owned()),
            ..package("a", "MIT")
        };
        let git =
            Package { source: Some("git+https://example.org/b".to_owned()), ..package("b", "MIT") };
        let found = findings(&[other, git]);
        assert_eq!(
            found,
            [
                "a 1.0.0 comes from registry+https://example.org",
                "b 1.0.0 comes from git+https://example.org/b"
            ]
        );
    }

    #[test]
    fn a_member_may_not_depend_on_any_version_but_by_a_path() {
        let line = |name: &str, has_path| Dependency {
            name: name.to_owned(),
            requirement: "*".to_owned(),
            has_path,
            is_optional: false,
            is_dev: false,
        };
        let dependencies = vec![line("b", false), line("c", true)];
        let member = Package { source: None, is_member: true, dependencies, ..package("a", "MIT") };
        assert_eq!(findings(&[member]), ["a takes any version of b"]);
    }

    #[test]
    fn a_rule_that_this_check_does_not_know_is_refused() {
        let unknown = RULES.replace("[bans]", "[bans]\ndeny = [\"openssl\"]");
        assert!(Rules::read(&unknown).is_err_and(|error| error.contains("`deny` of [bans]")));
        let laxer = RULES.replace("unknown-git = \"deny\"", "unknown-git = \"allow\"");
        assert!(Rules::read(&laxer).is_err_and(|error| error.contains("unknown-git")));
        let other = RULES.replace("[bans]", "[other]\nkey = 1\n[bans]");
        assert!(Rules::read(&other).is_err_and(|error| error.contains("`key` of [other]")));
    }
}
