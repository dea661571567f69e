//! What states cost: `cargo bench -p hearth-engine --bench rooms`.
//!
//! Resolution is measured with everything in memory, in CPU time of its thread, the least of many
//! runs; ruma-state-res resolves the same forks in the same run. What is stored is counted in a
//! database that was written through the server's own writer.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

mod measure;
mod resolution;
mod ruma_side;
mod storing;
mod world;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for version in ["11", "12"] {
        runtime.block_on(resolution::run(version));
    }
    runtime.block_on(storing::run());
}
