use super::*;

const MINIMAL: &str = "[server]\nname = \"one.test\"\n[[listener]]\nbind = \"127.0.0.1:8008\"\n";

/// The file of the launch contract: it must be accepted as it is.
const LAUNCH: &str = include_str!("launch.toml");

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_layers(Some((Path::new("/etc/hearth/hearth.toml"), text)), &[], &[])
}

fn load_with(environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
    let environment: Vec<_> = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let flags: Vec<Override> = flags.iter().map(|flag| flag.parse().unwrap()).collect();
    Config::from_layers(
        Some((Path::new("/etc/hearth/hearth.toml"), MINIMAL)),
        &environment,
        &flags,
    )
}

fn refusal(result: Result<Config, ConfigError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn the_launch_file_is_accepted_as_it_is() {
    let config = load(LAUNCH).unwrap();
    assert_eq!(config.server.name.as_str(), "localhost:8448");
    assert_eq!(config.listeners[0].resources.len(), 6);
    assert_eq!(config.password.argon2_memory_kib, 19456);
    assert_eq!(
        config.registration.shared_secret,
        Some(crate::Secret::new("secret"))
    );
    assert_eq!(config.turn.secret, None, "an empty secret is none");
    assert!(config.registration.allow_guests);
    assert_eq!(config.without_effect, Vec::<String>::new());
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = load(MINIMAL).unwrap();
    assert_eq!(config.public_url().as_str(), "https://one.test");
    assert_eq!(
        config.database_url(),
        DatabaseUrl::Sqlite("/var/lib/hearth/hearth.db".into())
    );
    assert_eq!(
        config.admin_socket(),
        Path::new("/var/lib/hearth/admin.sock")
    );
    assert!(!config.registration.enabled);
    assert_eq!(config.listeners[0].resources.len(), 6);
}

#[test]
fn environment_beats_file_and_flags_beat_environment() {
    let name = |environment: &[(&str, &str)], flags: &[&str]| {
        load_with(environment, flags)
            .unwrap()
            .server
            .name
            .as_str()
            .to_owned()
    };
    let variable = [("HEARTH_SERVER__NAME", "two.test")];
    assert_eq!(name(&[], &[]), "one.test");
    assert_eq!(name(&variable, &[]), "two.test");
    assert_eq!(name(&variable, &["server.name=three.test"]), "three.test");
}

#[test]
fn the_setting_decides_the_type_of_a_variable() {
    let config = load_with(
        &[
            ("HEARTH_ROOMS__DEFAULT_VERSION", "11"),
            ("HEARTH_REGISTRATION__SHARED_SECRET", "0123"),
            ("HEARTH_REGISTRATION__ENABLED", "true"),
            ("HEARTH_PASSWORD__ARGON2_PASSES", "3"),
            ("HEARTH_FEDERATION__ALLOW_RANGES", "10.0.0.0/8, ::1"),
            (
                "HEARTH_FEDERATION__TRUSTED_CA",
                "[\"/a.pem\", \"/b,c.pem\"]",
            ),
            (
                "HEARTH_LISTENER",
                "[{ bind = \"127.0.0.1:1\" }, { bind = \"[::1]:2\" }]",
            ),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(config.rooms.default_version, "11");
    assert_eq!(
        config.registration.shared_secret,
        Some(crate::Secret::new("0123"))
    );
    assert!(config.registration.enabled);
    assert_eq!(config.password.argon2_passes, 3);
    assert_eq!(config.federation.allow_ranges.len(), 2);
    assert_eq!(config.federation.trusted_ca.len(), 2);
    assert_eq!(config.listeners.len(), 2);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let file = |text: &str| refusal(load(&format!("{MINIMAL}{text}")));
    for (error, expected) in [
        (
            file("[rooms]\ndefault_versoin = \"12\""),
            "unknown key `rooms.default_versoin` in /etc/hearth/hearth.toml; \
             did you mean `rooms.default_version`?",
        ),
        (
            file("[federaton]\nenabled = true"),
            "unknown section `federaton` in /etc/hearth/hearth.toml; did you mean `federation`?",
        ),
        (
            file("[[listener]]\nbind = \"127.0.0.1:1\"\ntls_crt = \"x\""),
            "unknown key `listener.tls_crt` in /etc/hearth/hearth.toml; \
             did you mean `listener.tls_cert`?",
        ),
        (
            file("[turn]\nsecret_fil = \"x\""),
            "unknown key `turn.secret_fil` in /etc/hearth/hearth.toml; \
             did you mean `turn.secret_file`?",
        ),
        (
            refusal(load_with(&[("HEARTH_SERVER_NAME", "x")], &[])),
            "unknown key `HEARTH_SERVER_NAME` in the environment; \
             did you mean `HEARTH_SERVER__NAME`?",
        ),
        (
            refusal(load_with(&[], &["server.nam=x"])),
            "unknown key `server.nam` given as a flag; did you mean `server.name`?",
        ),
        (
            file("[zzz]\nx = 1"),
            "unknown section `zzz` in /etc/hearth/hearth.toml",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn every_broken_rule_is_one_sentence_that_names_the_setting() {
    let listener = "[[listener]]\nbind = \"127.0.0.1:1\"\n";
    let server = "[server]\nname = \"one.test\"\n";
    for (text, expected) in [
        (listener.to_owned(), "`server.name` is missing"),
        (server.to_owned(), "`listener` is missing"),
        (
            format!("[server]\nname = \"a b\"\n{listener}"),
            "`server.name` in /etc/hearth/hearth.toml must be a server name",
        ),
        (
            format!("[server]\nname = 1\n{listener}"),
            "must be a server name",
        ),
        (
            format!("server = 1\n{listener}"),
            "`server` in /etc/hearth/hearth.toml must be a section",
        ),
        (
            format!("{server}[[listener]]\nbind = \"localhost\""),
            "`listener.0.bind` in /etc/hearth/hearth.toml must be an IP address and port such as",
        ),
        (
            format!("{server}[listener]\nbind = \"127.0.0.1:1\""),
            "must be written as [[listener]]",
        ),
        (
            format!("{server}{listener}tls_cert = \"/a\""),
            "`listener.0.tls_cert` needs `tls_key`",
        ),
        (
            format!("{server}{listener}tls_key = \"/a\""),
            "`listener.0.tls_key` needs `tls_cert`",
        ),
        (
            format!("{server}{listener}resources = []"),
            "must name at least one resource",
        ),
        (
            format!("{server}{listener}resources = [\"cleint\"]"),
            "must be one of `client`",
        ),
        (
            format!("{server}{listener}trusted_proxies = [\"ten\"]"),
            "must be an address range",
        ),
        (
            format!("{server}{listener}{listener}"),
            "`listener.1.bind` 127.0.0.1:1 is already used",
        ),
        (
            format!("{MINIMAL}[database]\nurl = \"mysql://x\""),
            "must begin with sqlite:// or postgres://",
        ),
        (
            format!("{MINIMAL}[registration]\nenabled = \"true\""),
            "must be true or false",
        ),
        (
            format!("{MINIMAL}[password]\nargon2_passes = 0"),
            "`password.argon2_passes` must be at least 1, not 0",
        ),
        (
            format!("{MINIMAL}[password]\nargon2_passes = -1"),
            "must be a whole number from 0 to",
        ),
        (
            format!("{MINIMAL}[password]\nargon2_passes = 1.5"),
            "must be a whole number from 0 to",
        ),
        (
            format!("{MINIMAL}[log]\nlevel = \"loud\""),
            "must be one of `error`, `warn`",
        ),
        (
            format!("{MINIMAL}[federation]\nallow_ranges = [\"10.0.0.0/99\"]"),
            "must be an address range such as 10.0.0.0/8, not `10.0.0.0/99`",
        ),
        (
            format!(
                "[server]\nname = \"one.test\"\ndata_dir = \"/{}\"\n{listener}",
                "d".repeat(120)
            ),
            "`admin.socket` must be at most 100 bytes",
        ),
        (
            "server = [".to_owned(),
            "/etc/hearth/hearth.toml is not valid TOML",
        ),
    ] {
        let error = refusal(load(&text));
        assert!(
            error.contains(expected),
            "{error}\n  should contain\n{expected}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_syntax_error_does_not_repeat_the_line() {
    let error = refusal(load("[turn]\nsecret = hunter2"));
    assert!(error.contains("line 2"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_secret_may_stand_in_a_file_but_not_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hearth.toml");
    let load =
        |text: &str| Config::from_layers(Some((&file, &format!("{MINIMAL}{text}"))), &[], &[]);
    fs::write(folder.path().join("secret"), "swordfish\n").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    fs::write(folder.path().join("url"), "postgres://u:p@host/name\n").unwrap();

    let config = load("[turn]\nsecret_file = \"secret\"\n[database]\nurl_file = \"url\"").unwrap();
    assert_eq!(config.turn.secret, Some(crate::Secret::new("swordfish")));
    assert!(matches!(config.database_url(), DatabaseUrl::Postgres(_)));
    assert_eq!(config.without_effect, ["turn.secret"]);
    assert!(load("[turn]\nsecret = \"\"\nsecret_file = \"secret\"").is_ok());

    for (text, expected) in [
        (
            "[turn]\nsecret = \"x\"\nsecret_file = \"secret\"",
            "cannot stand beside `secret`",
        ),
        (
            "[turn]\nsecret_file = \"absent\"",
            "cannot read the file of `turn.secret_file`",
        ),
        (
            "[turn]\nsecret_file = \"empty\"",
            "names a file that is empty",
        ),
    ] {
        let error = refusal(load(text));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_secret_hides_in_debug_output() {
    let config = load(&format!("{MINIMAL}[turn]\nsecret = \"hunter2\"")).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_changed_setting_without_effect_is_reported() {
    let config = load(&format!(
        "{MINIMAL}[turn]\nuris = [\"turn:x\"]\n[presence]\nenabled = true"
    ));
    assert_eq!(config.unwrap().without_effect, ["turn.uris"]);
}

#[test]
fn a_missing_file_is_named() {
    let error = refusal(Config::load(
        Some(Path::new("/nonexistent/hearth.toml")),
        &[],
    ));
    assert!(error.starts_with("cannot read the configuration file /nonexistent/hearth.toml:"));
}

#[test]
fn application_services_have_names_and_tokens_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, id: &str, token: &str| {
        let text = format!(
            "id: {id}\nurl: null\nas_token: {token}\nhs_token: h\nsender_localpart: bot\nnamespaces: {{}}\n"
        );
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    let load = || {
        let files = "[appservice]\nregistrations = [\"one.yaml\", \"two.yaml\"]\n";
        let path = folder.path().join("hearth.toml");
        Config::from_layers(Some((&path, &format!("{MINIMAL}{files}"))), &[], &[])
    };
    assert!(refusal(load()).contains("one.yaml, which cannot be used"));
    write("one.yaml", "one", "a");
    write("two.yaml", "two", "b");
    let services = load().unwrap().appservice.registrations;
    assert_eq!((&*services[0].id, &*services[1].id), ("one", "two"));
    write("two.yaml", "one", "b");
    assert!(refusal(load()).contains("the id `one`"));
    write("two.yaml", "two", "a");
    let same = refusal(load());
    assert!(
        same.contains("`two`") && same.contains("`as_token`"),
        "{same}"
    );
}
