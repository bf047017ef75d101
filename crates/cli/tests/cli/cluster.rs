//! `zraft cluster`: looking at a running cluster and changing it.

use std::{fs, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    processes::{Cluster, PATIENT},
    support::{PATIENCE, Running, run, stderr, stdout},
};

impl Cluster {
    /// Runs a command of `zraft cluster` on the folders of the members.
    fn ask(&self, words: &[&str]) -> std::process::Output {
        let dir = self.folder.path().to_str().unwrap();
        // A busy machine may need longer than the default.
        let patience = PATIENCE.as_secs().to_string();
        run(&[&["cluster"], words, &["--dir", dir, "--timeout", &patience]].concat())
    }

    /// Runs a command that must succeed, and returns what it prints.
    fn done(&self, words: &[&str]) -> String {
        let output = self.ask(words);
        assert!(output.status.success(), "{words:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.done(&["status", "--json"])).unwrap()
    }

    /// Returns the admin address of a member.
    fn admin(&self, number: usize) -> String {
        admin_address(&self.folder.path().join(format!("node-{number}")))
    }
}

fn admin_address(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("node.toml")).unwrap();
    let (_, rest) = text.split_once("[admin]\naddress = \"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Starts the member that a command has added.
fn start(printed: &str) -> Running {
    let command = printed.lines().find_map(|line| line.strip_prefix("  zraft ")).unwrap();
    let words: Vec<_> = command.split(' ').collect();
    Running::start_in(&words, &PATIENT)
}

fn names(status: &Value) -> Vec<String> {
    let leader = status["leader"].as_str().unwrap();
    let members = status["members"].as_array().unwrap();
    let own = |member: &&Value| member["status"]["member"] == leader;
    let known = members.iter().find(own).unwrap()["status"]["members"].as_array().unwrap();
    known.iter().map(|member| member["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn status_shows_the_leader_and_every_member() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = format!("node-{}", cluster.leader_at(0) + 1);
    // This waits until the leader serves.
    cluster.done(&["settings"]);
    let status = cluster.status();
    assert_eq!(status["leader"], leader.as_str());
    let members = status["members"].as_array().unwrap();
    assert_eq!(members.len(), 3);
    for (number, member) in (1..).zip(members) {
        assert_eq!(member["status"]["member"], format!("node-{number}"));
        assert_eq!(member["admin"], cluster.admin(number));
    }
    let text = cluster.done(&["status"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("cluster ") && lines[1].contains(&format!("{leader} in term")));
    for number in 1..=3 {
        let row = lines.iter().find(|line| line.starts_with(&format!("node-{number} "))).unwrap();
        let is_leader = leader == format!("node-{number}");
        assert!(row.contains(if is_leader { "leader" } else { "voter" }), "{text}");
    }
}

#[test]
fn leadership_moves_and_the_command_says_who_leads() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0) + 1;
    let next = format!("node-{}", leader % 3 + 1);
    assert_eq!(cluster.done(&["move-leader", &next]), format!("{next} leads\n"));
    assert_eq!(cluster.status()["leader"], next.as_str());
    let again = cluster.ask(&["move-leader", &next]);
    assert_eq!(again.status.code(), Some(3));
    assert!(stderr(&again).contains(&format!("{next} leads already")), "{}", stderr(&again));
    let printed = cluster.done(&["move-leader"]);
    assert_ne!(printed, format!("{next} leads\n"));
}

#[test]
fn settings_are_shown_and_changed() {
    let mut cluster = Cluster::start(&PATIENT);
    cluster.leader_at(0);
    assert!(cluster.done(&["settings"]).contains("sessions = 65536\n"));
    let changed = cluster.done(&["settings", "sessions=77", "session_timeout_millis=60000"]);
    assert!(changed.contains("sessions = 77\nsession_timeout_millis = 60000\n"), "{changed}");
    let json: Value = serde_json::from_str(&cluster.done(&["settings", "--json"])).unwrap();
    assert_eq!(json["sessions"], 77);
    for (change, status, text) in [
        ("sessions=many", 1, "is not of the form NAME=VALUE"),
        ("sessions=0", 3, "sessions: 0 is not from 1"),
        ("session=1", 3, "there is no setting session"),
    ] {
        let output = cluster.ask(&["settings", change]);
        assert_eq!(output.status.code(), Some(status), "{change}");
        assert!(stderr(&output).contains(text), "{}", stderr(&output));
    }
}

/// Adds a second token to a file.
fn add_token(file: &Path) {
    let tokens = fs::read_to_string(file).unwrap() + "0123456789abcdef\n";
    fs::write(file, tokens).unwrap();
}

#[test]
fn member_is_added_votes_and_is_removed_again() {
    let mut cluster = Cluster::start(&PATIENT);
    cluster.leader_at(0);
    let token = |member: &str| cluster.folder.path().join(member).join("admin.token");
    add_token(&token("node-1"));
    let printed = cluster.done(&["add", "node-4"]);
    let folder = cluster.folder.path().join("node-4");
    // While the token is changed, the new member takes both, too.
    assert_eq!(fs::read(token("node-4")).unwrap(), fs::read(token("node-1")).unwrap());
    let toml = fs::read_to_string(folder.join("node.toml")).unwrap();
    assert!(toml.contains("application = \"append-log\""), "as the others: {toml}");
    let again = cluster.ask(&["add", "node-4", "--folder", &format!("{}-b", folder.display())]);
    assert_eq!(again.status.code(), Some(3));
    assert!(stderr(&again).contains("there is a member node-4"), "{}", stderr(&again));

    let nowhere = ["add", "node-5", "--insecure", "--peer-address", "0.0.0.0:0"];
    let nowhere = cluster.ask(&nowhere);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("by --advertise"), "{}", stderr(&nowhere));

    let member = start(&printed);
    assert_eq!(cluster.done(&["promote", "node-4"]), "node-4 votes\n");
    assert_eq!(names(&cluster.status()), ["node-1", "node-2", "node-3", "node-4"]);

    let removed = cluster.done(&["remove", "node-4"]);
    assert!(removed.starts_with("removed node-4"), "{removed}");
    let (status, log) = member.end();
    assert_eq!(status, Some(5), "{log}");
    assert!(log.contains("the cluster has removed this member"), "{log}");
    assert_eq!(names(&cluster.status()), ["node-1", "node-2", "node-3"]);
}

#[test]
fn each_change_prints_one_object_of_json() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0) + 1;
    let json = |words: &[&str]| -> Value {
        let printed = cluster.done(&[words, &["--json"]].concat());
        assert_eq!(printed.lines().count(), 1, "{printed}");
        serde_json::from_str(&printed).unwrap()
    };
    let next = format!("node-{}", leader % 3 + 1);
    assert_eq!(json(&["move-leader", &next])["leader"], next.as_str());
    assert!(json(&["snapshot", "--member", "node-1"])["index"].as_u64().unwrap() > 0);
    let file = cluster.folder.path().join("backup");
    let file = file.to_str().unwrap();
    let backup = json(&["backup", file]);
    assert_eq!(backup["file"], file);
    assert!(backup["bytes"].as_u64().unwrap() > 0, "{backup}");
    let added = json(&["add", "node-4"]);
    let folder = cluster.folder.path().join("node-4");
    assert_eq!(
        (&added["member"], &added["directory"]),
        (&"node-4".into(), &folder.to_str().unwrap().into())
    );
    assert!(added["endpoint"].as_str().unwrap().starts_with("tcp://127.0.0.1:"), "{added}");
    assert_eq!(added["missing"], serde_json::json!([]));
    let member = Running::start_in(&["server", folder.to_str().unwrap()], &PATIENT);
    assert_eq!(
        json(&["promote", "node-4"]),
        serde_json::json!({ "member": "node-4", "role": "voter" })
    );
    assert_eq!(json(&["remove", "node-4"]), serde_json::json!({ "removed": "node-4" }));
    assert_eq!(member.end().0, Some(5));

    let dir = cluster.folder.path().join("restored");
    let arguments = [
        "cluster",
        "restore",
        file,
        "--dir",
        dir.to_str().unwrap(),
        "--base-port",
        "0",
        "--application",
        "append-log",
        "--json",
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let restored: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(restored["restored"]["index"], backup["index"]);
    assert_eq!(restored["members"][2]["member"], "node-3");
}

#[test]
fn leader_is_replaced_by_a_new_member() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    let name = format!("node-{}", leader + 1);
    let member = start(&cluster.done(&["replace", &name, "node-4"]));
    assert_eq!(cluster.done(&["promote", "node-4"]), "node-4 votes\n");
    let (status, log) = cluster.take(leader).end();
    assert_eq!(status, Some(5), "{log}");
    let names = names(&cluster.status());
    assert!(names.contains(&"node-4".to_owned()) && !names.contains(&name), "{names:?}");
    assert_eq!(names.len(), 3);
    assert_eq!(member.terminate(), Some(143));
}

#[test]
fn new_members_of_a_cluster_with_tls_get_certificates_from_its_ca() {
    let options = ["--application", "append-log", "--tls"];
    let mut cluster = Cluster::start_with(&PATIENT, &options);
    cluster.leader_at(0);
    let path = |name: &str| cluster.folder.path().join(name).to_str().unwrap().to_owned();
    let ca = path("ca");
    let wrong = cluster.ask(&["add", "node-4", "--ca", &path("node-1")]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("give --ca the folder ca"), "{}", stderr(&wrong));
    let printed = cluster.done(&["add", "node-4", "--ca", &ca]);
    assert!(printed.contains("endpoint: node-4=tls://"), "{printed}");
    assert!(!printed.contains("put into"), "it is complete: {printed}");
    let token = |folder: &str| fs::read(cluster.folder.path().join(folder).join("client.token"));
    assert_eq!(token("node-4").unwrap(), token("node-1").unwrap());
    let fourth = start(&printed);
    assert_eq!(cluster.done(&["promote", "node-4"]), "node-4 votes\n");

    // An operator with another CA learns what to ask it for.
    let printed = cluster.done(&["add", "node-5"]);
    let remark = printed.lines().find(|line| line.starts_with("before that, put into ")).unwrap();
    for part in [
        "peer.pem, peer.key and peer-ca.pem, for the DNS name member-5.",
        "client.pem and client.key, for the name of its endpoint",
        "client-ca.pem, as the other members have it",
    ] {
        assert!(remark.contains(part), "{remark}");
    }
    let (status, log) = start(&printed).end();
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("client.pem: No such file"), "{log}");

    // After the loss of a majority, too, the new cluster needs new certificates.
    assert_eq!(fourth.terminate(), Some(143));
    for member in 0..3 {
        cluster.take(member).send(Signal::KILL);
    }
    let path = |name: &str| cluster.folder.path().join(name).to_str().unwrap().to_owned();
    let words = ["cluster", "force-new", &path("node-1"), &path("forced"), "--accept-loss"];
    // The killed process may hold the folder for a moment.
    let mut output = run(&[&words[..], &["--ca", &ca]].concat());
    while stderr(&output).contains("is in use") {
        output = run(&[&words[..], &["--ca", &ca]].concat());
    }
    assert!(output.status.success(), "{}", stderr(&output));
    let mut member = Running::start_in(&["server", &path("forced")], &PATIENT);
    while !member.complaint().starts_with("zraft: leads ") {}
    assert_eq!(member.terminate(), Some(143));
}

#[test]
fn commands_reach_admin_ports_with_tls_and_send_the_token_to_no_other_certificate() {
    let variables = [
        &PATIENT[..],
        &[("ZRAFT_ADMIN_CERTIFICATE", "client.pem"), ("ZRAFT_ADMIN_KEY", "client.key")],
    ];
    let options = ["--application", "append-log", "--tls"];
    let mut cluster = Cluster::start_with(&variables.concat(), &options);
    cluster.leader_at(0);
    let path = |name: &str| cluster.folder.path().join(name).to_str().unwrap().to_owned();
    let (ca, other) = (path("client-ca.pem"), path("ca/peer-ca.pem"));
    let status = cluster.done(&["status", "--tls-ca", &ca, "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(names(&status), ["node-1", "node-2", "node-3"]);
    let named = ["status", "--tls-ca", &ca, "--tls-server-name", "localhost"];
    assert!(cluster.done(&named).contains("node-3"));
    let backup = path("backup");
    assert!(cluster.done(&["backup", &backup, "--tls-ca", &ca]).contains(&backup));

    for (options, expected) in [
        (&["--tls-ca", &other][..], "is not signed by the CA in --tls-ca"),
        (&["--tls-ca", &ca, "--tls-server-name", "other.test"], "by --tls-server-name"),
        (&[], "no answer"),
    ] {
        let dir = cluster.folder.path().to_str().unwrap();
        let words = ["cluster", "status", "--dir", dir, "--timeout", "1"];
        let output = run(&[&words[..], options].concat());
        let texts = stdout(&output) + &stderr(&output);
        assert!(texts.contains(expected), "{options:?}: {texts}");
    }
    let plain = cluster.ask(&["status", "--tls-ca", &path("node.toml")]);
    assert_eq!(plain.status.code(), Some(1), "{}", stderr(&plain));
}

#[test]
fn snapshots_are_taken_by_all_members_or_by_one() {
    let mut cluster = Cluster::start(&PATIENT);
    cluster.leader_at(0);
    let printed = cluster.done(&["snapshot"]);
    assert_eq!(printed.matches("has a snapshot at entry").count(), 3, "{printed}");
    let one = cluster.done(&["snapshot", "--member", "node-2"]);
    assert!(one.starts_with("node-2 has a snapshot") && one.lines().count() == 1, "{one}");
    let unknown = cluster.ask(&["snapshot", "--member", "node-9"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("node-9 does not answer"), "{}", stderr(&unknown));
}

#[test]
fn backup_is_taken_while_members_run_and_becomes_a_new_cluster() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = format!("node-{}", cluster.leader_at(0) + 1);
    cluster.done(&["settings", "sessions=77"]);
    let path = |name: &str| cluster.folder.path().join(name).to_str().unwrap().to_owned();
    let file = path("backup");
    let printed = cluster.done(&["backup", &file]);
    assert!(printed.starts_with("backed up node-") && printed.contains(&file), "{printed}");
    assert!(!printed.contains(&leader), "a follower spares the leader: {printed}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = cluster.ask(&["backup", &file]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("exists: choose another file"), "{}", stderr(&again));
    let of_leader = cluster.done(&["backup", &path("second"), "--member", &leader]);
    assert!(of_leader.starts_with(&format!("backed up {leader} ")), "{of_leader}");
    let unknown = cluster.ask(&["backup", &path("third"), "--member", "node-9"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", stderr(&unknown));
    assert!(!Path::new(&path("third.partial")).exists(), "it is removed");

    let dir = path("restored");
    let restore = |file: &str, application: &str| {
        let words = ["--members", "2", "--base-port", "0", "--application", application, "--tls"];
        run(&[&["cluster", "restore", file, "--dir", &dir], &words[..]].concat())
    };
    let foreign = restore(&file, "kv-store");
    assert_eq!(foreign.status.code(), Some(1));
    assert!(stderr(&foreign).contains("name the application"), "{}", stderr(&foreign));
    assert!(!Path::new(&dir).exists(), "nothing was made");
    let restored = restore(&file, "append-log");
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert!(stdout(&restored).starts_with("restored the state at entry "));
    // A leader needs both, so the new certificates name the new members.
    let mut members = ["restored/node-1", "restored/node-2"]
        .map(|folder| Running::start_in(&["server", &path(folder)], &PATIENT));
    let leads = |line: &str| line.starts_with("zraft: leads ") || line.contains(": follows node-");
    members.iter_mut().for_each(|member| while !leads(&member.complaint()) {});
    let patience = PATIENCE.as_secs().to_string();
    let settings = run(&["cluster", "settings", "--dir", &dir, "--timeout", &patience]);
    assert!(stdout(&settings).contains("sessions = 77\n"), "{}", stderr(&settings));
    for member in members {
        assert_eq!(member.terminate(), Some(143));
    }
}

#[test]
fn member_that_is_down_is_an_alarm_with_its_own_exit_status() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    let down = (leader + 1) % 3;
    cluster.take(down).send(Signal::KILL);
    let output = cluster.ask(&["status", "--exit-code"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("alarm: no answer: "), "{text}");
    assert!(text.contains(&format!("node-{} ", down + 1)), "the leader still knows it: {text}");
    assert_eq!(cluster.ask(&["status"]).status.code(), Some(0), "the command succeeds");
}

#[test]
fn members_that_cannot_be_asked_are_named_with_a_remedy() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    let dir = cluster.folder.path().to_str().unwrap().to_owned();

    let other = cluster.admin((leader + 1) % 3 + 1);
    let follower = ["cluster", "settings", "--dir", &dir, "--admin", &other, "--timeout", "1"];
    let output = run(&follower);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("node-{} leads, and was not asked", leader + 1);
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));

    let token = cluster.folder.path().join("token");
    fs::write(&token, "0123456789abcdef").unwrap();
    let output = cluster.ask(&["status", "--token-file", token.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the token is not the one"), "{}", stderr(&output));

    let open = cluster.ask(&["status", "--admin", "127.0.0.1:1,192.0.2.1:7003"]);
    assert_eq!(open.status.code(), Some(1));
    let refused = "192.0.2.1:7003 is on another machine, and the token would cross the network";
    assert!(stderr(&open).contains(refused), "{}", stderr(&open));

    let nowhere = run(&["cluster", "status", "--dir", &format!("{dir}/nowhere")]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("give the folder of a member"), "{}", stderr(&nowhere));

    let unknown = cluster.ask(&["promote", "node-9"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(stderr(&unknown).contains("zraft cluster add node-9"), "{}", stderr(&unknown));

    for member in 0..3 {
        cluster.take(member).send(Signal::KILL);
    }
    let output = run(&["cluster", "status", "--dir", &dir, "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no member answers"), "{}", stderr(&output));
}

#[test]
fn cluster_that_has_lost_its_majority_is_made_again_from_one_member() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    for member in 0..3 {
        cluster.take(member).send(Signal::KILL);
    }
    let folder = |name: &str| cluster.folder.path().join(name).to_str().unwrap().to_owned();
    let (from, to) = (folder(&format!("node-{}", leader + 1)), folder("new"));
    let force = |more: &[&str]| run(&[&["cluster", "force-new", &from, &to], more].concat());
    let unconfirmed = force(&[]);
    assert_eq!(unconfirmed.status.code(), Some(1));
    assert!(stderr(&unconfirmed).contains("--accept-loss"), "{}", stderr(&unconfirmed));
    assert!(!Path::new(&to).exists(), "nothing was made");

    let token = |folder: &str| Path::new(folder).join("admin.token");
    add_token(&token(&from));
    // The killed process may hold the folder for a moment.
    let mut output = force(&["--accept-loss"]);
    while stderr(&output).contains("is in use") {
        output = force(&["--accept-loss"]);
    }
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning: "), "{}", stderr(&output));
    let printed = stdout(&output);
    let name = format!("node-{}", leader + 1);
    assert!(printed.contains(&format!(" from {name} of cluster ")), "{printed}");
    let run_it = format!("run its only member, {name}: zraft server {to}");
    assert!(printed.contains(&run_it), "{printed}");
    assert_eq!(fs::read(token(&to)).unwrap(), fs::read(token(&from)).unwrap());
    let mut member = Running::start(&["server", &to]);
    let line = member.line();
    assert!(line.starts_with(&format!("member node-{} of cluster ", leader + 1)), "{line}");
    while !member.complaint().starts_with("zraft: leads in term ") {}
    let status = run(&["cluster", "status", "--dir", &to, "--json"]);
    let status: Value = serde_json::from_str(&stdout(&status)).unwrap();
    assert_eq!(status["alarms"], serde_json::json!([]));
    assert_eq!(member.terminate(), Some(143));
}
