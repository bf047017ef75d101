use std::collections::BTreeSet;

use super::*;

fn read(text: &str) -> Result<ServerConfig, String> {
    let mut config = ServerConfig::default();
    config.read_file("node.toml", text).map_err(|error| error.to_string())?;
    Ok(config)
}

fn error(text: &str) -> String {
    read(text).expect_err("the file is refused")
}

fn with_variables(variables: &[(&str, &str)]) -> Result<ServerConfig, String> {
    let mut config = ServerConfig::default();
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    config.read_environment(variables).map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let mut config = read(
        "name = \"a\"\n[client]\naddress = \"127.0.0.1:1\"\n[peer]\naddress = \"127.0.0.1:2\"\n",
    )
    .expect("valid");
    let variables = [("ZRAFT_CLIENT_ADDRESS", "127.0.0.1:3"), ("ZRAFT_NAME", "b")];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    config.read_environment(variables).expect("valid");
    config.set("name", "c").expect("valid");
    assert_eq!(config.name.as_ref().map(MemberId::as_str), Some("c"));
    assert_eq!(config.client_address.port(), 3);
    assert_eq!(config.peer_address.port(), 2);
    let shown = config.effective();
    for line in [
        "name = \"c\"  # --name",
        "address = \"127.0.0.1:3\"  # ZRAFT_CLIENT_ADDRESS",
        "address = \"127.0.0.1:2\"  # node.toml:5",
        "heartbeat_millis = 50  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing in\n{shown}");
    }
}

#[test]
fn effective_configuration_is_a_file_that_gives_the_same_configuration() {
    let mut config = ServerConfig::default();
    for option in OPTIONS {
        // A value that differs from the default.
        let value = match (&option.kind, option.flag) {
            (_, "cluster") => "00112233445566778899aabbccddeeff".to_owned(),
            (_, "log") => "json".to_owned(),
            (_, "log-level") => "debug".to_owned(),
            (_, "name" | "application") => "with \"quotes\" and \\ and \u{1}".to_owned(),
            (Kind::Text { .. }, _) => "[::1]:9009".to_owned(),
            (Kind::Switch { .. }, _) => "true".to_owned(),
            (Kind::Number { read, most, .. }, _) => {
                (*most).min(read(&ServerConfig::default()) + 1).to_string()
            }
        };
        config.set(option.flag, &value).expect("it fits");
        assert_ne!(option.value(&config), option.default(), "{option}");
    }
    for text in [config.effective(), config.chosen()] {
        let again = read(&text).expect("valid");
        for option in OPTIONS {
            assert_eq!(option.value(&again), option.value(&config), "{option} in\n{text}");
        }
    }
}

#[test]
fn unknown_options_and_sections_are_refused_by_name_and_line() {
    let unknown = error("\n[client]\naddress = \"127.0.0.1:1\"\nadress = \"127.0.0.1:1\"\n");
    assert!(unknown.starts_with("node.toml:4: unknown option client.adress: "), "{unknown}");
    assert!(unknown.contains("address, advertise, certificate, key"), "{unknown}");
    assert!(error("nam = \"a\"").starts_with("node.toml:1: unknown option nam: "));
    let section = error("name = \"a\"\n[klient]\naddress = 1\n");
    assert!(section.starts_with("node.toml:3: unknown section [klient]: "), "{section}");
    assert!(error("[tls]\n").starts_with("node.toml:1: unknown section [tls]"));
    assert!(error("[client.tls]\na = 1\n").contains("unknown option client.tls"));
    assert!(read("[client]\n[peer]\n").is_ok(), "an empty section sets nothing");
}

#[test]
fn the_first_wrong_line_is_the_one_that_is_reported() {
    assert!(error("zzz = 1\naaa = 1\n").starts_with("node.toml:1: "));
    assert!(error("name = \"a\"\nname = \"b\"\n").starts_with("node.toml:2: "));
    let broken = error("name = \"a\"\n[client\n");
    assert!(broken.starts_with("node.toml:2: ") && !broken.contains('\n'), "{broken}");
}

#[test]
fn values_of_another_form_or_out_of_range_are_refused() {
    for (text, expected) in [
        ("name = 1", "name: text in quotation marks is expected"),
        ("insecure = \"yes\"", "insecure: true or false is expected"),
        ("cluster = \"12\"", "cluster: 12 is not 32 hexadecimal digits"),
        ("[client]\naddress = \"localhost:1\"", "localhost:1 is not an IP address with a port"),
        ("[client]\nconnections = 0", "0 is not a whole number from 1 to 10000000"),
        ("[client]\nconnections = -1", "-1 is not a whole number from 1 to 10000000"),
        ("[client]\nconnections = 1.5", "float is not a whole number from 1 to 10000000"),
        ("[client]\nconnections = 10000001", "10000001 is not a whole number"),
    ] {
        let found = error(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
    assert_eq!(read("[client]\nconnections = 0x1_0").expect("valid").ports.client_connections, 16);
}

#[test]
fn advertised_address_has_a_host_and_a_port_that_clients_can_use() {
    let member = |value: &str| {
        let config = read(&format!("[client]\nadvertise = \"{value}\"\n"))?;
        let mut member = config.member("data").map_err(|error| error.to_string())?;
        let bound = ([127, 0, 0, 1], 7001).into();
        let plain = member.client_endpoint(bound);
        let (certificate, key) = ("a.pem".into(), "a.key".into());
        member.client_tls = Some(ClientTls { certificate, key, ca: None });
        Ok::<_, String>((plain.expect("it is known"), member.client_endpoint(bound).expect("too")))
    };
    for (value, plain, with_tls) in [
        ("db-1.example.com:7001", "tcp://db-1.example.com:7001", "tls://db-1.example.com:7001"),
        ("[fd00::1]:9000", "tcp://[fd00::1]:9000", "tls://[fd00::1]:9000"),
        ("tls://10.0.0.1:443", "tls://10.0.0.1:443", "tls://10.0.0.1:443"),
        ("tcp://my_host:1", "tcp://my_host:1", "tcp://my_host:1"),
    ] {
        assert_eq!(member(value), Ok((plain.to_owned(), with_tls.to_owned())));
    }
    for value in [
        "",
        "db-1",
        "db-1:",
        ":7001",
        "db-1:0",
        "db-1:65536",
        "db-1:+1",
        "a b:1",
        "u@h:1",
        "h:1/p",
        "fd00::1:7001",
        "[::]:7001",
        "0.0.0.0:7001",
        "[x]:1",
        "udp://h:1",
        "ipc:///tmp/s",
        "tls://",
    ] {
        let error = member(value).expect_err(value);
        assert!(error.contains("is not an address that clients can use"), "{value}: {error}");
    }
    assert!(member(&format!("{}:1", "x".repeat(511))).is_err());
}

#[test]
fn member_without_an_advertised_address_gives_the_one_that_it_listens_on() {
    let member = ServerConfig::default().member("data").expect("valid");
    let endpoint = |bound: &str| member.client_endpoint(bound.parse().expect("an address"));
    assert_eq!(endpoint("10.0.0.1:7001").as_deref(), Some("tcp://10.0.0.1:7001"));
    assert_eq!(endpoint("[::1]:7001").as_deref(), Some("tcp://[::1]:7001"));
    assert_eq!(endpoint("0.0.0.0:7001"), None);
    assert_eq!(endpoint("[::]:7001"), None);
}

#[test]
fn times_and_limits_that_do_not_fit_together_are_refused() {
    let check = |text: &str| {
        let config = read(text).expect("each value fits");
        config.check().expect_err("they do not fit together").to_string()
    };
    assert!(check("[raft]\nelection_min_millis = 100\n").contains("below three heartbeats"));
    assert!(check("[raft]\nelection_max_millis = 200\n").contains("no room to draw from"));
    let limit = check("[new-cluster]\nsession_timeout_millis = 1\n");
    assert!(limit.contains("[new-cluster]: setting session_timeout_millis: 1 is not"), "{limit}");
}

#[test]
fn address_beyond_loopback_needs_the_switch() {
    for (option, text) in [
        ("client", "[client]\naddress = \"0.0.0.0:7001\""),
        ("peer", "[peer]\naddress = \"[::]:7001\""),
    ] {
        let error = read(text).expect("valid").check().expect_err("refused").to_string();
        assert!(error.starts_with(&format!("{option}.address: ")), "{error}");
        assert!(error.contains("can be read and changed on the way"), "{error}");
        assert!(error.contains(&format!("set {option}.certificate")), "it names a remedy: {error}");
        let allowed = read(&format!("insecure = true\n{text}")).expect("valid");
        allowed.check().expect("allowed");
    }
}

#[test]
fn port_with_certificates_may_be_reached_from_other_machines() {
    let client = "[client]\naddress = \"0.0.0.0:7001\"\ncertificate = \"c.pem\"\nkey = \"c.key\"\n";
    read(client).expect("valid").check().expect("allowed");
    let peer = "[peer]\naddress = \"0.0.0.0:7002\"\ncertificate = \"p.pem\"\nkey = \"p.key\"\nca = \"ca.pem\"\n";
    read(peer).expect("valid").check().expect("allowed");
    // TLS of one port says nothing about the other.
    let both = format!("{client}[peer]\naddress = \"0.0.0.0:7002\"\n");
    let error = read(&both).expect("valid").check().expect_err("refused").to_string();
    assert!(error.starts_with("peer.address: "), "{error}");
}

#[test]
fn certificates_are_complete_or_absent() {
    for text in [
        "[client]\ncertificate = \"c.pem\"\n",
        "[client]\nkey = \"c.key\"\n",
        "[client]\nca = \"ca.pem\"\n",
        "[peer]\ncertificate = \"p.pem\"\nkey = \"p.key\"\n",
        "[peer]\nca = \"ca.pem\"\n",
    ] {
        let error = read(text).expect("valid").check().expect_err(text).to_string();
        assert!(error.contains("belong together"), "{text}: {error}");
    }
    assert!(error("[client]\nkey = \"\"\n").contains("client.key: the path of a file"));
}

#[test]
fn relative_paths_of_certificates_begin_at_the_data_directory() {
    let text = "[client]\ncertificate = \"c.pem\"\nkey = \"/etc/zraft/c.key\"\n";
    let member = read(text).expect("valid").member("/data").expect("valid");
    let tls = member.client_tls.expect("it has certificates");
    assert_eq!(tls.certificate, Path::new("/data/c.pem"));
    assert_eq!(tls.key, Path::new("/etc/zraft/c.key"));
    assert_eq!((tls.ca, member.peer_tls), (None, None));
}

#[test]
fn unknown_variables_are_refused_unless_kubernetes_sets_them() {
    let error = with_variables(&[("ZRAFT_CLIENT_ADRESS", "x")]).expect_err("refused");
    assert!(error.starts_with("ZRAFT_CLIENT_ADRESS: unknown variable"), "{error}");
    let error = with_variables(&[("ZRAFT_CLIENT_ADDRESS", "x")]).expect_err("refused");
    assert!(error.starts_with("ZRAFT_CLIENT_ADDRESS: x is not an IP address"), "{error}");
    let kubernetes = [
        ("ZRAFT_SERVICE_HOST", "10.0.0.1"),
        ("ZRAFT_SERVICE_PORT_CLIENT", "7001"),
        ("ZRAFT_PORT", "tcp://10.0.0.1:7001"),
        ("ZRAFT_PORT_7001_TCP_ADDR", "10.0.0.1"),
        ("OTHER_CLIENT_ADDRESS", "x"),
    ];
    with_variables(&kubernetes).expect("ignored");
    let names: Vec<_> = OPTIONS.iter().map(ConfigOption::variable).collect();
    assert!(!names.iter().any(|name| name.contains("_PORT") || name.contains("_SERVICE_")));
}

#[test]
fn each_option_has_its_own_flag_key_and_section() {
    let flags: BTreeSet<_> = OPTIONS.iter().map(ConfigOption::flag).collect();
    let paths: BTreeSet<_> = OPTIONS.iter().map(ConfigOption::path).collect();
    assert_eq!((flags.len(), paths.len()), (OPTIONS.len(), OPTIONS.len()));
    for option in OPTIONS {
        assert!(!option.section_text().is_empty(), "{option} has an unknown section");
        let prefix = format!("{}-", option.section());
        assert!(option.section().is_empty() || option.flag().starts_with(&prefix), "{option}");
        assert!(!option.text().ends_with('.') && !option.text().is_empty(), "{option}");
    }
}

#[test]
fn file_that_is_too_long_or_missing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(ServerConfig::FILE);
    let mut config = ServerConfig::default();
    config.read_directory(folder.path()).expect("no file sets nothing");
    assert!(config.read_path(&path).expect_err("missing").to_string().contains("node.toml: "));
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).expect("written");
    let error = config.read_directory(folder.path()).expect_err("too long");
    assert!(error.to_string().ends_with("longer than 1048576 bytes"), "{error}");
}

#[test]
fn admin_port_is_off_by_default_and_can_be_switched_off_again() {
    let mut config = read("[admin]\naddress = \"127.0.0.1:7003\"\n").expect("valid");
    let directory = std::path::Path::new("data");
    let admin = config.member(directory).expect("valid").admin.expect("it is on");
    assert_eq!(admin.token_file, directory.join("admin.token"));
    config.set("admin-address", "none").expect("valid");
    assert_eq!(config.member(directory).expect("valid").admin, None);
    assert_eq!(ServerConfig::default().admin_address, None);
}

#[test]
fn admin_port_beyond_loopback_is_refused_like_the_others() {
    let config = read("[admin]\naddress = \"0.0.0.0:7003\"\n").expect("valid");
    let problem = config.check().expect_err("it is refused").to_string();
    assert!(problem.starts_with("admin.address: 0.0.0.0:7003 can be reached"), "{problem}");
    assert!(problem.contains("set admin.certificate and admin.key"), "{problem}");
    let half = "[admin]\naddress = \"0.0.0.0:7003\"\ncertificate = \"admin.pem\"\n";
    let problem = read(half).expect("valid").check().expect_err("it has no key").to_string();
    assert!(problem.starts_with("[admin]: certificate and key belong together"), "{problem}");
    let mut config = read(&format!("{half}key = \"admin.key\"\n")).expect("valid");
    let directory = std::path::Path::new("data");
    let tls = config.member(directory).expect("valid").admin_tls.expect("it is on");
    assert_eq!(tls.key, directory.join("admin.key"));
    config.set("admin-address", "none").expect("valid");
    assert_eq!(config.member(directory).expect("valid").admin_tls, None);
}

#[test]
fn unknown_forms_and_levels_of_the_log_are_refused_with_the_known_ones() {
    assert!(error("log = \"xml\"").contains("xml is not one of text, json"));
    let level = error("log_level = \"loud\"");
    assert!(level.contains("loud is not one of error, warn, info, debug, trace"), "{level}");
}

#[test]
fn variables_of_the_client_commands_are_ignored_and_name_no_option() {
    let all: Vec<_> =
        ServerConfig::CLIENT_VARIABLES.iter().map(|name| (*name, "anything")).collect();
    with_variables(&all).expect("ignored");
    for (name, _) in all {
        assert!(name.starts_with("ZRAFT_") && ServerConfig::is_known_variable(name));
        assert!(OPTIONS.iter().all(|option| option.variable() != name), "{name}");
    }
    assert!(!ServerConfig::is_known_variable("ZRAFT_ENDPOINT"));
}
