//! The CPU time of everybody who has a part in a commit: this process, and PostgreSQL's that serve it.

use hearth_storage::Options;
use hearth_storage::driver::Engine;
use sqlx::{Connection as _, PgConnection};

use crate::measure;

pub(crate) use measure::process_cpu_us as own_cpu_us;

fn name() -> String {
    format!("hearth-bench-{}", std::process::id())
}

/// Connections of this run have a name of their own, by which their processes are found.
pub(crate) fn named(mut options: Options) -> Options {
    if let Engine::Postgres(to) = &mut options.connect_to {
        *to = to.clone().application_name(&name());
    }
    options
}

/// PostgreSQL's processes that serve this run; none for SQLite.
pub(crate) struct Processes(Vec<i32>);

impl Processes {
    pub(crate) async fn of(options: &Options) -> Self {
        let Engine::Postgres(to) = &options.connect_to else {
            return Self(Vec::new());
        };
        let mut conn = PgConnection::connect_with(to).await.unwrap();
        let text = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()";
        let pids = sqlx::query_scalar(text)
            .bind(name())
            .fetch_all(&mut conn)
            .await
            .unwrap();
        assert!(!Vec::is_empty(&pids));
        Self(pids)
    }

    /// Their CPU time, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        let cpu_ns = |pid: &i32| {
            let schedule = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            let running_ns = schedule.split(' ').next().unwrap();
            running_ns.parse::<f64>().unwrap()
        };
        self.0.iter().map(cpu_ns).sum::<f64>() / 1_000.0
    }
}
