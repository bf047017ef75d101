//! Compares the picture of the crates in ARCHITECTURE.md with the dependencies that cargo knows.
//!
//! The picture leaves out arrows that others imply. So each arrow must be a dependency, each dependency must follow from the
//! arrows, and no arrow may follow from the others. A solid arrow is a dependency that is always there, a dotted one belongs to a
//! feature. Dependencies of tests are not drawn.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::Package;

/// An arrow from a crate to one that it uses, without the common prefix of their names.
type Arrow = (String, String);

/// The crates and arrows of a Mermaid flowchart.
#[derive(Debug, Default)]
pub struct Picture {
    crates: BTreeSet<String>,
    /// Each arrow, and whether it is dotted.
    arrows: BTreeMap<Arrow, bool>,
}

impl Picture {
    /// Reads the first Mermaid block of a Markdown text: lines of `crate["label"]`, `a --> b` and `a -.-> b`, where either side may
    /// be several crates with `&` between them. Lines of subgraphs and styles are passed over.
    ///
    /// # Errors
    /// There is no such block, or a line of it is of another form.
    pub fn read(markdown: &str) -> Result<Self, String> {
        let (_, rest) = markdown.split_once("```mermaid\n").ok_or("there is no Mermaid block")?;
        let (block, _) = rest.split_once("```").ok_or("the Mermaid block has no end")?;
        let mut picture = Self::default();
        for line in block.lines().map(str::trim) {
            let first = line.split_whitespace().next().unwrap_or_default();
            if ["", "flowchart", "subgraph", "end", "direction", "classDef", "class", "%%"]
                .contains(&first)
            {
                continue;
            }
            let sides = line.split_once(" --> ").map(|sides| (sides, false));
            if let Some(((from, to), is_dotted)) =
                sides.or_else(|| line.split_once(" -.-> ").map(|sides| (sides, true)))
            {
                picture.draw(from, to, is_dotted);
            } else if let Some((name, _)) = line.split_once('[') {
                picture.crates.insert(name.to_owned());
            } else {
                return Err(format!(
                    "a line of the picture is neither a crate nor an arrow: {line}"
                ));
            }
        }
        Ok(picture)
    }

    fn draw(&mut self, from: &str, to: &str, is_dotted: bool) {
        for from in from.split('&').map(str::trim) {
            for to in to.split('&').map(str::trim) {
                self.arrows.insert((from.to_owned(), to.to_owned()), is_dotted);
            }
        }
    }

    /// Returns where the picture and the workspace differ.
    #[must_use]
    pub fn findings(&self, packages: &[Package]) -> Vec<String> {
        let members: BTreeMap<String, &Package> = packages
            .iter()
            .filter(|package| package.is_member)
            .map(|package| (short(&package.name).to_owned(), package))
            .collect();
        let mut real: BTreeMap<Arrow, bool> = BTreeMap::new();
        for (name, package) in &members {
            for line in package.dependencies.iter().filter(|line| !line.is_dev) {
                let to = short(&line.name);
                if members.contains_key(to) {
                    real.insert((name.clone(), to.to_owned()), line.is_optional);
                }
            }
        }
        let mut found = Vec::new();
        for name in members.keys().filter(|name| !self.crates.contains(*name)) {
            found.push(format!("the crate {name} is not in the picture"));
        }
        for name in self.crates.iter().filter(|name| !members.contains_key(*name)) {
            found.push(format!("the picture has {name}, which is not a crate"));
        }
        for (arrow @ (from, to), is_dotted) in &self.arrows {
            match real.get(arrow) {
                None => {
                    found.push(format!("{from} does not depend on {to}, but the picture says so"));
                }
                Some(is_optional) if is_optional != is_dotted => {
                    found.push(format!(
                        "the arrow from {from} to {to} must be dotted if and only if it is optional"
                    ));
                }
                Some(_) if self.leads(from, to, Some(arrow), *is_dotted) => {
                    found
                        .push(format!("other arrows lead from {from} to {to}: leave this one out"));
                }
                Some(_) => {}
            }
        }
        for ((from, to), is_optional) in &real {
            if !self.leads(from, to, None, *is_optional) {
                found.push(format!("{from} depends on {to}, but no arrows lead there"));
            }
        }
        found
    }

    /// Returns true if arrows other than `without` lead from one crate to another. An optional dependency may follow from dotted arrows;
    /// one that is always there must follow from solid ones.
    fn leads(&self, from: &str, to: &str, without: Option<&Arrow>, over_dotted: bool) -> bool {
        let mut reached = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            for (arrow, is_dotted) in &self.arrows {
                let usable = Some(arrow) != without && (over_dotted || !is_dotted);
                if arrow.0 == at && usable && reached.insert(&arrow.1) {
                    open.push(&arrow.1);
                }
            }
        }
        reached.contains(to)
    }
}

/// A crate's name as the picture writes it.
fn short(name: &str) -> &str {
    name.strip_prefix("zraft-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn member(name: &str, uses: &[&str]) -> Package {
        let dependencies = uses.iter().map(|used| Dependency {
            name: format!("zraft-{}", used.trim_matches(['?', '!'])),
            requirement: "^0.1".to_owned(),
            has_path: true,
            is_optional: used.ends_with('?'),
            is_dev: used.ends_with('!'),
        });
        Package {
            name: format!("zraft-{name}"),
            version: "0.1.0".to_owned(),
            licence: None,
            source: None,
            is_member: true,
            dependencies: dependencies.collect(),
        }
    }

    fn findings(arrows: &str) -> Vec<String> {
        let crates = "a[\"a\"]\nb[\"b\"]\nc[\"c\"]\n";
        let text = format!("# Picture\n```mermaid\nflowchart TD\n{crates}{arrows}```\n");
        let picture = Picture::read(&text).expect("a picture");
        picture.findings(&[member("a", &["b", "c"]), member("b", &["c"]), member("c", &["a!"])])
    }

    #[test]
    fn dependencies_that_follow_from_others_are_left_out() {
        assert_eq!(findings("a --> b\nb --> c\n"), [""; 0]);
        assert_eq!(
            findings("a --> b & c\nb --> c\n"),
            ["other arrows lead from a to c: leave this one out"]
        );
    }

    #[test]
    fn an_arrow_without_a_dependency_is_found() {
        assert_eq!(
            findings("a --> b\nb --> c\nc --> a\n").first().map(String::as_str),
            Some("c does not depend on a, but the picture says so")
        );
    }

    #[test]
    fn a_dependency_without_arrows_is_found() {
        assert_eq!(findings("a --> b & c\n"), ["b depends on c, but no arrows lead there"]);
    }

    #[test]
    fn a_dependency_that_is_always_there_is_not_dotted() {
        assert_eq!(
            findings("a --> b\nb -.-> c\na --> c\n"),
            [
                "the arrow from b to c must be dotted if and only if it is optional",
                "b depends on c, but no arrows lead there"
            ]
        );
    }

    #[test]
    fn crates_that_are_missing_and_that_do_not_exist_are_found() {
        let picture = Picture::read("```mermaid\nz[\"z\"]\n```").expect("a picture");
        assert_eq!(
            picture.findings(&[member("a", &[])]),
            ["the crate a is not in the picture", "the picture has z, which is not a crate"]
        );
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        assert!(Picture::read("```mermaid\na ==> b\n```").is_err());
        assert!(Picture::read("no picture").is_err());
    }
}
