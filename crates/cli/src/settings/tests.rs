use std::fs;

use tempfile::TempDir;

use super::*;

fn variables(given: &[(&str, &str)]) -> Result<Variables, String> {
    Variables::read(given.iter().map(|(name, value)| (name.into(), value.into())))
}

/// A file of contexts, and the variables that name it and these ones.
fn with_file(text: &str, given: &[(&str, &str)]) -> (TempDir, Variables) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, text).unwrap();
    let file = ("ZRAFT_CONFIG", file.to_str().unwrap());
    let variables = variables(&[given, &[file]].concat()).unwrap();
    (folder, variables)
}

fn endpoints(entries: &[&str]) -> Layer {
    Layer {
        endpoints: Some(entries.iter().map(|entry| (*entry).to_owned()).collect()),
        ..Layer::default()
    }
}

fn members(settings: &Settings) -> Vec<String> {
    settings.members().iter().map(ToString::to_string).collect()
}

fn find(flags: Layer) -> Result<Settings, String> {
    Settings::find(flags, None, Variables::default())
}

const TWO: &str = "current = \"a\"\n\
    [contexts.a]\nendpoints = [\"node-1=tcp://a:1\"]\ntimeout = 3\n\
    [contexts.b]\nendpoints = [\"b:1\", \"b:2\"]\ntoken_file = \"b.token\"\n";

#[test]
fn variables_are_those_that_a_member_ignores() {
    let mut own: Vec<_> = Setting::ALL.into_iter().map(Setting::variable).collect();
    own.extend([CONTEXT_VARIABLE.to_owned(), "ZRAFT_CONFIG".to_owned()]);
    own.sort();
    assert_eq!(own, ServerConfig::CLIENT_VARIABLES);
}

#[test]
fn flag_overrides_variable_and_variable_overrides_context() {
    let given = [("ZRAFT_CONTEXT", "a"), ("ZRAFT_TIMEOUT", "2")];
    let (_folder, from) = with_file(TWO, &given);
    let settings = Settings::find(Layer::default(), None, from.clone()).unwrap();
    assert_eq!(
        (members(&settings), settings.timeout().as_secs()),
        (vec!["node-1=tcp://a:1".to_owned()], 2)
    );
    assert_eq!(*settings.source(Setting::Timeout), Source::Variable);
    assert_eq!(*settings.source(Setting::TokenFile), Source::Default);
    let flags = Layer { timeout: Some("1".to_owned()), ..Layer::default() };
    let settings = Settings::find(flags, Some("b"), from).unwrap();
    assert_eq!(
        (members(&settings), settings.timeout().as_secs()),
        (vec!["tcp://b:1".to_owned(), "tcp://b:2".to_owned()], 1)
    );
    assert_eq!(*settings.source(Setting::Timeout), Source::Flag);
    assert!(
        settings
            .source(Setting::Endpoints)
            .of(Setting::Endpoints)
            .starts_with("endpoints of context b in ")
    );
}

#[test]
fn without_any_source_the_default_cluster_is_asked_for_15_seconds() {
    let settings = find(Layer::default()).unwrap();
    assert_eq!(members(&settings), [DEFAULT_ENDPOINTS]);
    assert_eq!(settings.timeout().as_secs(), 15);
}

/// Otherwise the token of one cluster could reach another.
#[test]
fn current_context_does_not_count_when_flag_or_variable_names_endpoints() {
    let text = TWO.replace("current = \"a\"", "current = \"b\"");
    let (_folder, from) = with_file(&text, &[]);
    let settings = Settings::find(Layer::default(), None, from.clone()).unwrap();
    assert!(matches!(settings.source(Setting::TokenFile), Source::Context { .. }));
    let settings = Settings::find(endpoints(&["c:1"]), None, from.clone()).unwrap();
    assert_eq!(*settings.source(Setting::TokenFile), Source::Default);
    let (_folder, with_variable) = with_file(&text, &[("ZRAFT_ENDPOINTS", "c:1,c:2")]);
    let settings = Settings::find(Layer::default(), None, with_variable).unwrap();
    assert_eq!(members(&settings), ["tcp://c:1", "tcp://c:2"]);
    assert_eq!(*settings.source(Setting::TokenFile), Source::Default);
    // A context that is named counts for what flags and variables do not give.
    let settings = Settings::find(endpoints(&["c:1"]), Some("b"), from).unwrap();
    assert!(matches!(settings.source(Setting::TokenFile), Source::Context { .. }));
}

#[test]
fn files_of_a_context_are_relative_to_the_file_that_names_them() {
    let (folder, from) = with_file(TWO, &[]);
    let settings = Settings::find(Layer::default(), Some("b"), from).unwrap();
    assert_eq!(settings.token_file, Some(folder.path().join("b.token")));
}

#[test]
fn address_may_lack_the_id_and_the_scheme() {
    let entries =
        ["node-1=tcp://127.0.0.1:7001", " node-2 = [::1]:7002", "host:7003", "ipc:///run/a=b"];
    let settings = find(endpoints(&entries)).unwrap();
    let ids: Vec<_> = settings.members().iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids, ["node-1", "node-2", "host:7003", "/run/a=b"]);
    let expected = [
        "node-1=tcp://127.0.0.1:7001",
        "node-2=tcp://[::1]:7002",
        "tcp://host:7003",
        "ipc:///run/a=b",
    ];
    assert_eq!(members(&settings), expected);
    settings.builder(&[("a", "b")]).unwrap().build().unwrap();
}

#[test]
fn address_without_a_scheme_means_tls_when_a_ca_is_given() {
    let flags = Layer { tls_ca: Some("ca.pem".into()), ..endpoints(&["host:7001"]) };
    assert_eq!(members(&find(flags).unwrap()), ["tls://host:7001"]);
}

#[test]
fn wrong_address_is_refused_with_its_source_and_number_and_not_shown() {
    for wrong in
        ["", "node-1=", "=tcp://h:1", "tcp://user:secret@h:1", "udp://h:1", "h", "h:0x1", "a:1"]
    {
        let error = find(endpoints(&["a:1", wrong])).unwrap_err();
        assert!(error.starts_with("--endpoints: endpoint number 2: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let from = variables(&[("ZRAFT_ENDPOINTS", "a:1,,b:1")]).unwrap();
    let error = Settings::find(Layer::default(), None, from).unwrap_err();
    assert!(error.starts_with("ZRAFT_ENDPOINTS: endpoint number 2: is empty"), "{error}");
    let (folder, from) = with_file("current = \"a\"\n[contexts.a]\nendpoints = []\n", &[]);
    let error = Settings::find(Layer::default(), None, from).unwrap_err();
    let file = folder.path().join("config.toml");
    assert!(
        error
            .starts_with(&format!("endpoints of context a in {}: names no member", file.display())),
        "{error}"
    );
}

#[test]
fn unknown_variable_is_refused_and_those_of_members_are_not() {
    let error = variables(&[("ZRAFT_ENDPOINT", "a:1")]).unwrap_err();
    assert!(error.starts_with("ZRAFT_ENDPOINT: unknown variable"), "{error}");
    let others = [
        ("ZRAFT_CLIENT_ADDRESS", "127.0.0.1:1"),
        ("ZRAFT_SERVICE_HOST", "10.0.0.1"),
        ("HOME", "/root"),
    ];
    variables(&others).unwrap();
}

#[test]
fn empty_variable_counts_as_not_set() {
    let from = variables(&[("ZRAFT_ENDPOINTS", ""), ("ZRAFT_TIMEOUT", "")]).unwrap();
    let settings = Settings::find(Layer::default(), None, from).unwrap();
    assert_eq!(members(&settings), [DEFAULT_ENDPOINTS]);
}

#[test]
fn parts_of_tls_that_do_not_suffice_are_refused_with_what_is_missing() {
    let tls = endpoints(&["tls://h:1"]);
    for (flags, expected) in [
        (
            Layer { tls_cert: Some("c".into()), tls_ca: Some("ca".into()), ..tls.clone() },
            "--tls-cert: give --tls-key",
        ),
        (Layer { tls_key: Some("k".into()), ..tls.clone() }, "--tls-key: give --tls-cert"),
        (
            Layer { tls_server_name: Some("n".into()), ..tls.clone() },
            "--tls-server-name: give --tls-ca",
        ),
        (
            Layer { tls_ca: Some("ca".into()), ..endpoints(&["tcp://h:1"]) },
            "--tls-ca is given, and no address of --endpoints",
        ),
    ] {
        let error = find(flags).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn capabilities_that_are_given_replace_those_of_the_command() {
    let given = |capabilities: Option<Vec<String>>| Layer { capabilities, ..Layer::default() };
    let names = |settings: &Settings| {
        let client = settings.builder(&[("protocol", "kvstore")]).unwrap().build().unwrap();
        format!(
            "{:?}",
            client
                .config()
                .capabilities()
                .iter()
                .map(|(name, _)| name.to_owned())
                .collect::<Vec<_>>()
        )
    };
    assert_eq!(names(&find(given(None)).unwrap()), "[\"protocol\"]");
    let bank = Some(vec!["application=bank".to_owned(), "version=2".to_owned()]);
    assert_eq!(names(&find(given(bank)).unwrap()), "[\"application\", \"version\"]");
    let error = find(given(Some(vec!["secret".to_owned()]))).unwrap_err();
    assert!(error.starts_with("--capability: capability number 1 is not of the form"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

/// A token in an argument or a variable is seen by every process of the machine.
#[test]
fn token_is_given_by_a_file_only() {
    let capabilities = Some(vec!["token=secret".to_owned()]);
    let error = find(Layer { capabilities, ..Layer::default() }).unwrap_err();
    assert!(error.starts_with("--capability: give the token in a file"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn unknown_key_or_wrong_type_in_the_file_is_named_with_its_line_and_without_its_value() {
    for (text, expected) in [
        ("curent = \"a\"\n", ":1: unknown key curent: the keys are current and contexts"),
        (
            "\n[contexts.a]\ntoken = \"secret\"\n",
            ":3: unknown key token in [contexts.a]: the keys are endpoints, timeout, token_file",
        ),
        ("[contexts.a]\ntls_ca = 7\n", ":2: tls_ca: text in quotation marks is expected"),
        ("[contexts.a]\nendpoints = \"secret:1\"\n", ":2: endpoints: a list of addresses"),
        ("[contexts.a]\ntimeout = \"secret\"\n", ":2: timeout: a number of seconds is expected"),
        ("[contexts.a]\ncapabilities = [\"secret\"]\n", ":2: capabilities: a table of text"),
        ("[contexts.\"a b\"]\n", ":1: the name of a context has 1 to 64 letters"),
        ("contexts = 1\n", ":1: contexts: tables"),
        ("current = 1\n", ":1: current: the name of a context is expected"),
        ("current = \n", ":1: "),
    ] {
        let (folder, from) = with_file(text, &[]);
        let error = Settings::find(Layer::default(), None, from).unwrap_err();
        let file = folder.path().join("config.toml").display().to_string();
        assert!(error.starts_with(&format!("{file}{expected}")), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn context_that_does_not_exist_is_refused_with_those_that_do() {
    let (_folder, from) = with_file(TWO, &[]);
    let error = Settings::find(Layer::default(), Some("c"), from).unwrap_err();
    assert!(
        error.starts_with("--context: there is no context c: ") && error.contains("has a, b"),
        "{error}"
    );
    let (_folder, from) = with_file("current = \"gone\"\n", &[]);
    let error = Settings::find(Layer::default(), None, from).unwrap_err();
    assert!(error.starts_with("there is no context gone: "), "{error}");
}

#[test]
fn file_of_contexts_is_in_the_users_folder_of_configurations() {
    let place = |given: &[(&str, &str)]| variables(given).unwrap().file;
    let home = ("HOME", "/home/u");
    if cfg!(unix) {
        assert_eq!(place(&[home]), Some("/home/u/.config/zraft/config.toml".into()));
        assert_eq!(
            place(&[home, ("XDG_CONFIG_HOME", "/etc/u")]),
            Some("/etc/u/zraft/config.toml".into())
        );
        assert_eq!(
            place(&[home, ("XDG_CONFIG_HOME", "relative")]),
            Some("/home/u/.config/zraft/config.toml".into())
        );
        assert_eq!(place(&[home, ("ZRAFT_CONFIG", "here.toml")]), Some("here.toml".into()));
    }
    assert_eq!(place(&[]), None);
}

#[test]
fn edit_keeps_the_comments_and_the_order_of_the_file() {
    let text =
        "# mine\ncurrent = \"a\" # the first\n\n[contexts.a] # home\nendpoints = [\"a:1\"]\n";
    let (folder, from) = with_file(text, &[]);
    let file = from.file.as_deref();
    let layer = Layer { timeout: Some("2.5".to_owned()), ..endpoints(&["node-1=tcp://b:1"]) };
    contexts::set(file, "b", &layer).unwrap();
    let read = || fs::read_to_string(folder.path().join("config.toml")).unwrap();
    assert_eq!(
        read(),
        format!("{text}\n[contexts.b]\nendpoints = [\"node-1=tcp://b:1\"]\ntimeout = 2.5\n")
    );
    assert_eq!(contexts::named(file, "b").unwrap().2, layer);
    contexts::choose(file, Some("b")).unwrap();
    assert!(read().starts_with("# mine\ncurrent = \"b\" # the first\n"), "{}", read());
    let left = contexts::remove(file, "b").unwrap();
    assert_eq!((left.current, left.all.len()), (None, 1));
    assert!(read().contains("[contexts.a] # home"), "{}", read());
    assert!(contexts::remove(file, "b").is_err() && contexts::choose(file, Some("b")).is_err());
}

#[test]
fn first_context_becomes_the_current_one_in_a_file_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new").join("config.toml");
    let layer =
        Layer { capabilities: Some(vec!["protocol=bank".to_owned()]), ..endpoints(&["a:1"]) };
    let contexts = contexts::set(Some(&file), "a", &layer).unwrap();
    assert_eq!(contexts.current.as_deref(), Some("a"));
    assert_eq!(contexts.all, [("a".to_owned(), layer.clone())]);
    let contexts = contexts::set(Some(&file), "b", &layer).unwrap();
    assert_eq!(contexts.current.as_deref(), Some("a"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    }
    let error = contexts::set(Some(&file), "a b", &layer).unwrap_err();
    assert!(error.to_string().starts_with("the name of a context has"), "{error}");
}

#[test]
fn file_that_is_too_long_is_refused() {
    let (_folder, from) = with_file(&format!("# {}", " ".repeat(1 << 20)), &[]);
    let error = Settings::find(Layer::default(), None, from).unwrap_err();
    assert!(error.ends_with("longer than 1048576 bytes"), "{error}");
}
