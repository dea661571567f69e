//! The binary `hearthctl`.

fn main() -> std::process::ExitCode {
    hearthctl::main()
}
