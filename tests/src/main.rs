//! `hearth` itself, for the stories.

fn main() -> std::process::ExitCode {
    hearth::startup::main()
}
