//! The process is killed at a random moment under load.

use std::time::Duration;

use super::{Load, Random, rounds};
use crate::harness::{Authority, On, Server, on_both_engines};

/// How often the process is killed in a round.
const KILLS: usize = 3;

on_both_engines! {
    async fn what_was_acknowledged_survives_a_kill(on: On) {
        let authority = Authority::new();
        for seed in rounds() {
            let mut random = Random::new(seed);
            let mut server = Server::start(&authority, on).await;
            let mut load = Load::new(&server).await;
            let written = load.written();
            for kill in 1..=KILLS {
                let moment = Duration::from_micros(200_000 + random.below(1_200_000));
                load.until(async || {
                    written.reaches(kill * 7).await;
                    tokio::time::sleep(moment).await;
                    server.kill();
                })
                .await;
                server.is_sound().await;
                server.start_again().await;
            }
            load.holds().await;
            load.retries_count_once().await;
            server.kill();
            server.is_sound().await;
        }
    }
}
