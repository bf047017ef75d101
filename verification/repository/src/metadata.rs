//! What `cargo metadata` says of a workspace.

use std::{collections::BTreeSet, env, path::Path, process::Command};

use serde_json::Value;

/// A package that a workspace builds: a member, or a dependency on any platform and with any feature.
#[derive(Debug, Clone)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The SPDX expression of its licence, if its manifest has one.
    pub licence: Option<String>,
    /// Where cargo got it: `registry+…`, `git+…`, or `None` for a folder.
    pub source: Option<String>,
    /// Returns true for a member of the workspace.
    pub is_member: bool,
    /// What its manifest depends on.
    pub dependencies: Vec<Dependency>,
}

/// A line of a manifest's dependencies.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The name of the package.
    pub name: String,
    /// The version that the manifest asks for; `*` if it asks for none.
    pub requirement: String,
    /// True if the manifest names a folder.
    pub has_path: bool,
    /// True if only a feature turns it on.
    pub is_optional: bool,
    /// True for a dependency of tests, examples and benchmarks.
    pub is_dev: bool,
}

/// Returns the packages of the workspace of a manifest, as its lock file pins them.
///
/// # Errors
/// `cargo metadata` fails, or writes what this function does not understand.
pub fn packages(manifest: &Path) -> Result<Vec<Package>, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo metadata of {}: {}", manifest.display(), said.trim()));
    }
    parse(&output.stdout).ok_or_else(|| "cargo metadata has an unknown form".to_owned())
}

fn parse(text: &[u8]) -> Option<Vec<Package>> {
    let metadata: Value = serde_json::from_slice(text).ok()?;
    let members: BTreeSet<&str> =
        metadata["workspace_members"].as_array()?.iter().filter_map(Value::as_str).collect();
    metadata["packages"]
        .as_array()?
        .iter()
        .map(|package| self::package(package, &members))
        .collect()
}

fn package(package: &Value, members: &BTreeSet<&str>) -> Option<Package> {
    let text = |name: &str| package[name].as_str().map(str::to_owned);
    Some(Package {
        name: text("name")?,
        version: text("version")?,
        licence: text("license"),
        source: text("source"),
        is_member: members.contains(package["id"].as_str()?),
        dependencies: package["dependencies"]
            .as_array()?
            .iter()
            .map(dependency)
            .collect::<Option<_>>()?,
    })
}

fn dependency(dependency: &Value) -> Option<Dependency> {
    Some(Dependency {
        name: dependency["name"].as_str()?.to_owned(),
        requirement: dependency["req"].as_str()?.to_owned(),
        has_path: dependency["path"].is_string(),
        is_optional: dependency["optional"].as_bool()?,
        is_dev: dependency["kind"].as_str() == Some("dev"),
    })
}
