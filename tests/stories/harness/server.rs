//! A server: the process, its folder, its database.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hearth_storage::verify::{OwnKey, verify};
use serde_json::{Value, json};

use super::{Authority, On, Person};
use crate::whole_table::Running;

/// How long anything in a story may take before it has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A server named `localhost:port`. Its process is killed when it is dropped.
pub(crate) struct Server {
    pub(crate) name: String,
    client: reqwest::Client,
    folder: tempfile::TempDir,
    database: String,
    wrapper: Vec<String>,
    env: Vec<(String, String)>,
    process: Option<Child>,
    running: Running,
}

/// How a server differs from the usual.
#[derive(Default)]
pub(crate) struct Settings {
    /// The whole configuration file, with `{NAME}`, `{PORT}`, `{DATA}`, `{DATABASE}`,
    /// `{CERTIFICATE}`, `{KEY}` and `{CA}` in the places of what differs from run to run.
    pub(crate) file: Option<String>,
    /// The database, where it is not an empty one on the engine.
    pub(crate) database: Option<String>,
    /// A command that runs the process given after it.
    pub(crate) wrapper: Vec<String>,
}

const USUAL: &str = r#"
[server]
name = "{NAME}"
public_url = "https://{NAME}"
data_dir = "{DATA}"

[[listener]]
bind = "127.0.0.1:{PORT}"
tls_cert = "{CERTIFICATE}"
tls_key = "{KEY}"
resources = ["client", "federation", "media", "keys"]

[database]
url = "{DATABASE}"

[registration]
enabled = true

[password]
argon2_memory_kib = 64
argon2_passes = 1

[federation]
trusted_ca = ["{CA}"]
allow_loopback = true
retry_initial_ms = 100

[rate_limit]
enabled = false

[log]
level = "debug"
"#;

/// Without the variables that are the stories' own: the server refuses what it does not know.
fn without_ours(command: &mut Command) -> &mut Command {
    command
        .env_remove("HEARTH_FAULT_SEED")
        .env_remove("HEARTH_FAULT_ROUNDS")
}

impl Server {
    /// A running server with the usual settings.
    pub(crate) async fn start(authority: &Authority, on: On) -> Self {
        Self::with(authority, on, Settings::default()).await
    }

    pub(crate) async fn with(authority: &Authority, on: On, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        authority.certify(folder.path());
        let port = free_port();
        let name = format!("localhost:{port}");
        let database = match settings.database {
            Some(database) => database,
            None => on.create(folder.path()).await,
        };
        let file = settings.file.unwrap_or_else(|| USUAL.to_owned());
        let file = file
            .replace("{NAME}", &name)
            .replace("{PORT}", &port.to_string())
            .replace("{DATABASE}", &database)
            .replace("{DATA}", &path("data"))
            .replace("{CERTIFICATE}", &path("tls.crt"))
            .replace("{KEY}", &path("tls.key"))
            .replace("{CA}", &authority.file().display().to_string());
        fs::write(folder.path().join("hearth.toml"), file).unwrap();
        let mut server = Self {
            name,
            client: authority.client(),
            folder,
            database,
            wrapper: settings.wrapper,
            env: Vec::new(),
            process: None,
            running: Running::begin(),
        };
        server.start_again().await;
        server
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        if let Err(why) = self.try_start().await {
            panic!("{} does not become ready: {why}", self.name);
        }
    }

    /// Starts the process and waits until it is ready; else the last line of its log, or that it
    /// took too long.
    pub(crate) async fn try_start(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let server = env!("CARGO_BIN_EXE_hearth-under-test").to_owned();
        let words: Vec<String> = self.wrapper.iter().cloned().chain([server]).collect();
        let mut command = Command::new(&words[0]);
        let process = without_ours(&mut command)
            .args(&words[1..])
            .arg("--config")
            .arg(self.folder.path().join("hearth.toml"))
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        let url = self.url("/_matrix/client/versions");
        let began = tokio::time::Instant::now();
        while began.elapsed() < PATIENCE {
            let answer = self.client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            let process = self.process.as_mut().expect("the process just started");
            if process.try_wait().unwrap().is_some() {
                self.process = None;
                let log = self.log_text();
                return Err(log.lines().last().unwrap_or_default().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill();
        Err(format!("nothing within {PATIENCE:?}"))
    }

    /// What the process sees in its environment from its next start on, besides ours.
    pub(crate) fn set_env(&mut self, env: Vec<(String, String)>) {
        self.env = env;
    }

    /// Starts a second process on the same database with a data directory and ports of its own, and
    /// waits until it ends or is ready.
    pub(crate) async fn try_start_beside(&self) -> Result<(), String> {
        let file = fs::read_to_string(self.folder().join("hearth.toml")).unwrap();
        let data = self.folder().join("data").display().to_string();
        let other = self.folder().join("other");
        fs::create_dir_all(&other).unwrap();
        fs::copy(
            self.folder().join("data/signing.key"),
            other.join("signing.key"),
        )
        .unwrap();
        let port = self.name.rsplit(':').next().unwrap();
        let file = file.replace(&data, &other.display().to_string()).replace(
            &format!("bind = \"127.0.0.1:{port}\""),
            "bind = \"127.0.0.1:0\"",
        );
        let beside = self.folder().join("beside.toml");
        fs::write(&beside, file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth-under-test"));
        without_ours(&mut command).arg("--config").arg(beside);
        let output = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await;
        let output = output.expect("the second process ends").unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(()),
            false => Err(log.lines().last().unwrap_or_default().to_owned()),
        }
    }

    /// Whether the process says that it can serve.
    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.client.get(self.url("/health/ready")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// What is wrong with the stored data, as `hearthctl db verify` finds it.
    pub(crate) async fn unsound(&self) -> Vec<String> {
        self.unsound_at(&self.database).await
    }

    /// What is wrong with the stored data of a database of this server.
    pub(crate) async fn unsound_at(&self, database: &str) -> Vec<String> {
        let key = fs::read_to_string(self.folder().join("data/signing.key")).unwrap();
        let words: Vec<&str> = key.split_whitespace().collect();
        let seed = STANDARD_NO_PAD.decode(words[2]).unwrap();
        let key = OwnKey::from_seed(words[1], &seed.try_into().unwrap()).unwrap();
        let options = hearth_storage::Options::new(database).unwrap();
        match verify(&options.connect_to, Some(&key)).await {
            Ok(report) => report
                .findings
                .into_iter()
                .flat_map(|it| it.examples)
                .collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    /// Nothing is wrong with the stored data.
    pub(crate) async fn is_sound(&self) {
        let unsound = self.unsound().await;
        assert!(unsound.is_empty(), "{}: {unsound:#?}", self.name);
    }

    /// Asks the process to end, as a process manager does, and waits for it.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a running process");
        let id = process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        process.wait().unwrap()
    }

    /// Ends the process at once, as a power cut does.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("a running process");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Memory of the process, in MiB, by the name of the figure (proc(5), `/proc/pid/status`).
    pub(crate) fn memory_mib(&self, figure: &str) -> u64 {
        let process = self.process.as_ref().expect("a running process");
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        let kib = lines
            .find(|(name, _)| *name == figure)
            .and_then(|(_, line)| line.trim().strip_suffix(" kB"))
            .unwrap();
        kib.trim().parse::<u64>().unwrap() / 1024
    }

    /// A new person of this server.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let body = json!({
            "username": name,
            "password": format!("{name}'s password"),
            "auth": { "type": "m.login.dummy" },
        });
        let url = self.url("/_matrix/client/v3/register");
        let answer = self
            .client
            .post(url)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{name} cannot register: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        Person::new(self.client.clone(), &self.name, &body)
    }

    /// A request without a token: status and body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(self.url(path)).body(body.to_string());
        Self::answered(request).await
    }

    /// A request with a token, or none where it is empty: status and body.
    pub(crate) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let mut request = self.client.get(self.url(path));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        Self::answered(request).await
    }

    async fn answered(request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.timeout(PATIENCE).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text);
        (status, body.unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.name)
    }

    /// The address of its database.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Where the configuration, the keys, the log and a SQLite database are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let log = self.log_text();
        self.running.note(&log);
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(80)..].join("\n");
            eprintln!("--- the log of {} ends with:\n{tail}", self.name);
        }
    }
}

/// A port that nobody listens on now. The name of a server holds it, so it must be known before.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
