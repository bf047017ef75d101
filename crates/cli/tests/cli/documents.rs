//! `zraft completion` and `zraft man`: what is made from the commands and options.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::support::{run, stderr, stdout};

/// Returns the names of the commands in a help text.
fn commands(of: &[&str]) -> Vec<String> {
    let help = stdout(&run(&[of, &["-h"]].concat()));
    let list = help.split_once("Commands:\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

#[test]
fn each_command_has_a_manual_page_with_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    let output = run(&["man", "--dir", dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let all = commands(&[]);
    assert!(all.len() >= 15, "{all:?}");
    for name in &all {
        let page = fs::read_to_string(dir.join(format!("zraft-{name}.1"))).unwrap();
        assert!(
            page.contains(&format!(".TH zraft-{name} 1 ")) && page.contains("\\-\\-help"),
            "{name}"
        );
    }
    for (above, inner) in [("cluster", commands(&["cluster"])), ("context", commands(&["context"]))]
    {
        assert!(inner.len() >= 5, "{inner:?}");
        for name in inner {
            let page = fs::read_to_string(dir.join(format!("zraft-{above}-{name}.1"))).unwrap();
            assert!(page.replace("\\-", "-").contains(&format!("zraft {above} {name}")), "{name}");
        }
    }
    let main = stdout(&run(&["man"]));
    assert_eq!(main, fs::read_to_string(dir.join("zraft.1")).unwrap());
    assert!(main.contains("zraft\\-status(1)"), "{main}");
}

/// Of the others, `inspect` prints JSON anyway, and the last two print files of another form.
#[test]
fn each_command_that_prints_a_result_has_json() {
    let inner = |above: &'static str| {
        let names = commands(&[above]).into_iter();
        names.map(move |name| vec![above.to_owned(), name])
    };
    let all = commands(&[]).into_iter().map(|name| vec![name]);
    let all = all.chain(inner("cluster")).chain(inner("context"));
    let others = ["cluster", "context", "inspect", "completion", "man"];
    for words in all.filter(|words| words.len() > 1 || !others.contains(&words[0].as_str())) {
        let words: Vec<_> = words.iter().map(String::as_str).chain(["-h"]).collect();
        let help = stdout(&run(&words));
        assert!(help.contains(" --json "), "{words:?}: {help}");
    }
}

#[test]
fn each_shell_has_a_script_that_knows_all_commands() {
    let all = commands(&[]);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&run(&["completion", shell]));
        for word in all.iter().map(String::as_str).chain(["move-leader", "exit-code", "base64"]) {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let unknown = run(&["completion", "ksh"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("bash"), "{}", stderr(&unknown));
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_and_options() {
    let script = stdout(&run(&["completion", "bash"]));
    let completed = |words: &str| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_zraft zraft \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\necho \"${{COMPREPLY[@]}}\""
        );
        let bash = Command::new("bash").args(["-c", &ask]).stderr(Stdio::null()).output();
        stdout(&bash.unwrap()).trim_end().to_owned()
    };
    assert_eq!(completed("zraft comp"), "completion");
    assert_eq!(completed("zraft cluster mov"), "move-leader");
    assert_eq!(completed("zraft get --exit"), "--exit-code");
    assert_eq!(completed("zraft query --input b"), "base64");
}
