//! `hearthctl` itself, for the stories.

fn main() -> std::process::ExitCode {
    hearthctl::main()
}
