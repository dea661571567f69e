use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};

use super::*;

/// A configuration in a folder of its own, for a server on `port` of loopback.
fn configured(folder: &Path, port: u16, more: &str) -> std::path::PathBuf {
    let file = folder.join("hearth.toml");
    let text = format!(
        "[server]\nname = \"one.test:1\"\ndata_dir = \"data\"\n\
         [[listener]]\nbind = \"127.0.0.1:{port}\"\n{more}"
    );
    fs::write(&file, text).unwrap();
    file
}

fn verdict(diagnosis: &Diagnosis, name: &str) -> (Verdict, String) {
    let check = diagnosis
        .checks
        .iter()
        .find(|check| check.name.starts_with(name))
        .unwrap();
    (check.verdict, check.finding.clone())
}

#[tokio::test]
async fn a_wrong_configuration_is_the_only_finding() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), 0, "bnd = 1");
    let diagnosis = run(&file, &[]).await;
    assert_eq!(diagnosis.checks.len(), 1);
    assert_eq!(verdict(&diagnosis, "configuration").0, Verdict::Problem);
    assert!(!diagnosis.healthy);
}

#[tokio::test]
async fn before_the_first_start_everything_missing_is_only_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let diagnosis = run(&configured(folder.path(), 0, ""), &[]).await;
    for name in ["data directory", "signing key", "database", "admin socket"] {
        assert_eq!(verdict(&diagnosis, name).0, Verdict::Warning, "{name}");
    }
    assert_eq!(verdict(&diagnosis, "listener").0, Verdict::Ok);
    assert!(diagnosis.healthy);
}

#[tokio::test]
async fn a_taken_port_is_a_problem_while_no_server_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), taken.local_addr().unwrap().port(), "");
    assert_eq!(
        verdict(&run(&file, &[]).await, "listener").0,
        Verdict::Problem
    );
}

#[tokio::test]
async fn an_open_data_directory_a_damaged_key_and_a_strange_database_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), 0, "");
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    fs::write(data.join("signing.key"), "ed25519 a_1 c2hvcnQ").unwrap();
    fs::write(
        data.join("hearth.db"),
        "not a database, but long enough to be read as one ".repeat(9),
    )
    .unwrap();
    let diagnosis = run(&file, &[]).await;
    assert_eq!(verdict(&diagnosis, "data directory").0, Verdict::Warning);
    assert_eq!(verdict(&diagnosis, "signing key").0, Verdict::Problem);
    assert_eq!(verdict(&diagnosis, "database").0, Verdict::Problem);
}

#[tokio::test]
async fn a_private_data_directory_with_a_whole_key_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), 0, "");
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
    let key = data.join("signing.key");
    fs::write(&key, format!("ed25519 a_1 {}\n", "A".repeat(43))).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let diagnosis = run(&file, &[]).await;
    assert_eq!(verdict(&diagnosis, "data directory").0, Verdict::Ok);
    let (verdict, finding) = verdict(&diagnosis, "signing key");
    assert_eq!(verdict, Verdict::Ok);
    assert!(finding.ends_with("holds ed25519:a_1"), "{finding}");
}

#[tokio::test]
async fn a_certificate_is_judged_by_name_date_key_and_trust() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let tls =
        "tls_cert = \"tls.crt\"\ntls_key = \"tls.key\"\n[federation]\ntrusted_ca = [\"ca.crt\"]\n";
    let file = configured(folder.path(), 0, tls);

    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(path("ca.crt"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::from_params(&ca, &ca_key);

    let key = rcgen::KeyPair::generate().unwrap();
    let judged = async |name: &str, years: std::ops::Range<i32>, key_pem: String| {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        fs::write(
            path("tls.crt"),
            params.signed_by(&key, &issuer).unwrap().pem(),
        )
        .unwrap();
        fs::write(path("tls.key"), key_pem).unwrap();
        verdict(&run(&file, &[]).await, "certificate")
    };
    let pem = || key.serialize_pem();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (found, expected, says) in [
        (
            judged("one.test", 2020..4000, pem()).await,
            Verdict::Ok,
            "and trusted",
        ),
        (
            judged("two.test", 2020..4000, pem()).await,
            Verdict::Warning,
            "is not for one.test",
        ),
        (
            judged("one.test", 2020..2021, pem()).await,
            Verdict::Problem,
            "has expired",
        ),
        (
            judged("one.test", 3999..4000, pem()).await,
            Verdict::Problem,
            "is not valid yet",
        ),
        (
            judged("one.test", 2020..4000, other).await,
            Verdict::Problem,
            "do not belong together",
        ),
        (
            judged("one.test", 2020..4000, "x".into()).await,
            Verdict::Problem,
            "cannot be read",
        ),
    ] {
        assert_eq!(found.0, expected, "{}", found.1);
        assert!(found.1.contains(says), "{}", found.1);
    }
    let stranger = rcgen::KeyPair::generate().unwrap();
    fs::write(path("ca.crt"), ca.self_signed(&stranger).unwrap().pem()).unwrap();
    let (verdict, finding) = judged("one.test", 2020..4000, pem()).await;
    assert_eq!(verdict, Verdict::Warning, "{finding}");
    assert!(
        finding.contains("is not signed by an authority"),
        "{finding}"
    );
}

#[tokio::test]
async fn a_running_server_is_asked_on_its_socket_and_its_port() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let socket = UnixListener::bind(folder.path().join("data/admin.sock")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = configured(folder.path(), port.local_addr().unwrap().port(), "");
    let status = |name: &str| {
        format!(
            r#"{{"server_name":"{name}","version":"0.1.0","database":"sqlite","signing_key_id":"ed25519:a","uptime_ms":1}}"#
        )
    };
    let serve = async |name: &str| {
        let admin = async { answer(socket.accept().await.unwrap().0, &status(name)).await };
        let client = async { answer(port.accept().await.unwrap().0, "{}").await };
        tokio::join!(run(&file, &[]), admin, client).0
    };
    let diagnosis = serve("one.test:1").await;
    assert_eq!(verdict(&diagnosis, "admin socket").0, Verdict::Ok);
    assert_eq!(verdict(&diagnosis, "listener").0, Verdict::Ok);
    assert_eq!(
        verdict(&serve("two.test").await, "admin socket").0,
        Verdict::Problem
    );
}

/// Reads one request's head and answers it.
async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, body: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}
