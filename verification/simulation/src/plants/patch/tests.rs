#![allow(clippy::unwrap_used)]

use super::*;

const SOURCE: &str = "\
impl Counter {
    fn up(&mut self) {
        self.count += 1;
        self.told = false;
    }

    fn down(&mut self) {
        self.count -= 1;
        self.told = false;
    }
}
";

fn patch(name: &str, hunk: &str) -> Patch {
    let text = format!("Counts wrongly\nFound by: simulation\n\n--- counter.rs\n{hunk}");
    Patch::parse(name.to_owned(), &text).unwrap()
}

fn apply(patches: &[Patch]) -> Result<String, String> {
    let source: Vec<&str> = SOURCE.lines().collect();
    let mut edits = Edits::new();
    for patch in patches {
        for hunk in &patch.hunks {
            let known = |name: &str| {
                let at = patches.iter().position(|patch| patch.name == name)?;
                Some(format!("is({at})"))
            };
            patch.note(hunk, &source, &mut edits, known)?;
        }
    }
    Ok(edited(&source, &edits))
}

#[test]
fn a_hunk_applies_in_the_named_block_only() {
    let told = patch("told", "@@ fn down\n self.told = false;\n+        self.told |= PLANTED;\n");
    let text = apply(&[told]).unwrap();
    let expected = SOURCE.replace(
        "count -= 1;\n        self.told = false;\n",
        "count -= 1;\n        self.told = false;\n        self.told |= is(0);\n",
    );
    assert_eq!(text, expected);
}

#[test]
fn a_removed_line_is_replaced_whatever_its_indentation() {
    let off = patch("off", "@@ fn up\n-self.count += 1;\n+        self.count += 2;\n");
    assert_eq!(apply(&[off]).unwrap(), SOURCE.replace("+= 1", "+= 2"));
}

#[test]
fn patches_add_to_the_same_place_in_the_order_of_their_names() {
    let hunk = |code: &str| format!("@@ fn up\n self.count += 1;\n+        {code}\n");
    let both = [patch("a", &hunk("first(PLANTED);")), patch("b", &hunk("PLANTED(\"a\");"))];
    let text = apply(&both).unwrap();
    assert!(text.contains("        first(is(0));\n        is(0);\n        self.told"), "{text}");
}

#[test]
fn a_patch_that_does_not_apply_says_which_it_is_and_why() {
    let cases = [
        ("@@ fn up\n self.count += 3;\n", "`fn up` does not contain `self.count += 3;`"),
        ("@@ fn sideways\n self.count += 1;\n", "`fn sideways` occurs in 0 lines"),
        ("@@ self.told\n }\n", "`self.told` occurs in 2 lines"),
        ("@@ impl Counter\n self.told = false;\n", "more than once"),
        ("@@ fn up\n+    more();\n", "names no line of the source"),
        ("@@ fn up\n self.count += 1;\n+ PLANTED(\"none\")\n", "there is no bug called none"),
    ];
    for (hunk, why) in cases {
        let told = apply(&[patch("stale", hunk)]).unwrap_err();
        assert!(told.contains("plants/stale.patch no longer applies to counter.rs"), "{told}");
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn two_patches_cannot_remove_the_same_line() {
    let hunk = "@@ fn up\n-self.count += 1;\n";
    let told = apply(&[patch("a", hunk), patch("b", hunk)]).unwrap_err();
    assert!(told.contains("a.patch changes the same line"), "{told}");
}

#[test]
fn a_file_that_is_not_a_patch_is_refused() {
    for text in [
        "Title\n--- a\n@@ b\n c\n",
        "Title\nFound by: luck\n",
        "Title\nFound by: corpus\n@@ b\n",
        "Title\nFound by: corpus\n--- a\n c\n",
        "Title\nFound by: corpus\n--- a\n@@ b\n#c\n",
    ] {
        assert!(Patch::parse("x".to_owned(), text).is_err(), "{text}");
    }
}
