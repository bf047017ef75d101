//! `zraft completion`: scripts that let a shell complete commands and options.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::exit::{Exit, print_bytes};

/// Print a script that lets a shell complete the commands and options of zraft
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft completion bash > ~/.local/share/bash-completion/completions/zraft\n  zraft completion zsh > \"${fpath[1]}/_zraft\"\n  zraft completion fish > ~/.config/fish/completions/zraft.fish"
)]
pub(crate) struct Arguments {
    /// Shell that reads the script
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, program: &mut Command) -> Exit {
    let mut script = Vec::new();
    generate(arguments.shell, program, "zraft", &mut script);
    print_bytes(&script)
}
