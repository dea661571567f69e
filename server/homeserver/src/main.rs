//! The binary `hearth`.

fn main() -> std::process::ExitCode {
    hearth::startup::main()
}
