//! The program: arguments and environment in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    scenetap::cli::main(std::env::args_os(), &|name| std::env::var_os(name)).into()
}
