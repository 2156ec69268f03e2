//! The `tidegate` program.

fn main() -> std::process::ExitCode {
    tidegate_gateway::cli::main()
}
