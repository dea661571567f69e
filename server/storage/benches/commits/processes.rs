//! The CPU time of everybody who has a part in a commit: this process, and all of PostgreSQL's, since
//! its log and its checkpoints are written by processes of their own.

use std::fs;

use hearth_storage::Options;
use hearth_storage::driver::Engine;
use sqlx::{Connection as _, PgConnection};

use crate::measure;

pub(crate) use measure::process_cpu_us as own_cpu_us;

/// What the kernel counts the time of ended children in, whatever its own clock ticks.
const TICKS_PER_S: f64 = 100.0;

/// PostgreSQL's first process, of which all others are children; none for SQLite.
pub(crate) struct Processes(Option<i64>);

impl Processes {
    /// The cluster must be this run's alone: nobody tells whose work its processes do.
    pub(crate) async fn of(options: &Options) -> Self {
        let Engine::Postgres(to) = &options.connect_to else {
            return Self(None);
        };
        let mut conn = PgConnection::connect_with(to).await.unwrap();
        let ours: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        let on_this_machine = Stat::read(i64::from(ours)).unwrap();
        Self(Some(on_this_machine.parent))
    }

    /// Their CPU time, in microseconds: of those that live, and of those that ended.
    pub(crate) fn cpu_us(&self) -> f64 {
        let Some(first) = self.0 else { return 0.0 };
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.parse::<i64>().ok()
        });
        let is_of_cluster = |pid: &i64| {
            let child = || Stat::read(*pid).is_some_and(|stat| stat.parent == first);
            *pid == first || child()
        };
        let living_ns: f64 = pids.filter(is_of_cluster).filter_map(running_ns).sum();
        let ended = Stat::read(first).unwrap().ended_ticks;
        living_ns / 1_000.0 + ended / TICKS_PER_S * 1e6
    }
}

fn running_ns(pid: i64) -> Option<f64> {
    let schedule = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    schedule.split(' ').next()?.parse().ok()
}

/// What the kernel says of a process.
struct Stat {
    parent: i64,
    /// CPU time of its children that ended.
    ended_ticks: f64,
}

impl Stat {
    /// None where the process has ended.
    fn read(pid: i64) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before the closing parenthesis may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ended_ticks: ticks(13)? + ticks(14)?,
        })
    }
}
