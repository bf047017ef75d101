//! The program of the page "Write your own state machine", and the page "Running the server".

use std::{fmt::Write, fs, path::Path, sync::mpsc, thread, time::Duration};

use zraft_server::{Alarm, ServerConfig};

#[path = "../../examples/raffle/main.rs"]
mod program;

/// Far more than the program takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn program_of_the_guide_runs() {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(program::main().map_err(|error| error.to_string())));
    wait.recv_timeout(LIMIT).expect("it ends").expect("it succeeds");
}

fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(file)).expect("it exists")
}

#[test]
fn page_about_running_shows_the_program_as_it_is() {
    let page = read("docs/server/running.md");
    let (_, rest) = page.split_once("<!-- file: ").expect("a program");
    let (file, rest) = rest.split_once(" -->\n```rust\n").expect("its code");
    let (code, _) = rest.split_once("```\n").expect("its end");
    assert_eq!(code, read(file));
}

#[test]
fn page_about_running_lists_each_option_with_its_default() {
    let mut table = String::from("| option | default | meaning |\n| --- | --- | --- |\n");
    for option in ServerConfig::options() {
        let default = option.default().map(|value| format!("`{value}`")).unwrap_or_default();
        let _ = writeln!(table, "| `{option}` | {default} | {} |", option.text());
    }
    let page = read("docs/server/running.md");
    assert!(page.ends_with(&table), "docs/server/running.md must end with\n{table}");
}

#[test]
fn configuration_on_the_page_is_valid() {
    let page = read("docs/server/running.md");
    let blocks: Vec<_> = page.split("```toml\n").skip(1).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let (text, _) = block.split_once("```\n").expect("its end");
        let mut config = ServerConfig::default();
        config.read_file("the page", text).expect("valid");
        config.check().expect("it fits together");
    }
}

/// Returns the rows of the table under a heading.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let rest = rest.split("\n## ").next().unwrap_or_default();
    let rows = rest.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        cells.collect()
    });
    cells.collect()
}

#[test]
fn page_about_operations_lists_each_metric() {
    let page = read("docs/server/operations.md");
    let metrics = zraft_server::metrics().map(|metric| {
        let labels = metric.labels().split(", ").filter(|label| !label.is_empty());
        let labels: Vec<_> = labels.map(|label| format!("`{label}`")).collect();
        let name = format!("`{}`", metric.name());
        vec![name, metric.kind().to_owned(), labels.join(", "), metric.text().to_owned()]
    });
    let metrics: Vec<_> = metrics.collect();
    assert_eq!(rows(&page, "Metrics"), metrics);
}

#[test]
fn page_about_operations_explains_each_alarm() {
    let page = read("docs/server/operations.md");
    let rows = rows(&page, "Alarms");
    let names: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, Alarm::ALL.map(|alarm| format!("`{}`", alarm.name())));
    for row in rows {
        assert_eq!(row.len(), 3, "alarm, meaning, what to do: {row:?}");
        assert!(row[1..].iter().all(|cell| cell.len() > 20), "{row:?}");
    }
}
