//! `zraft man`: manual pages.

use std::{fs, io, path::PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::exit::{Exit, complain, print, print_bytes};

/// Print the manual page of zraft, or write those of all its commands
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft man | man -l -\n  zraft man --dir ~/.local/share/man/man1"
)]
pub(crate) struct Arguments {
    /// Write zraft.1 and the pages of all commands, such as zraft-set.1, into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, mut program: Command) -> Exit {
    // Commands learn their whole names, such as zraft-cluster-add.
    program.build();
    let mut pages = Vec::new();
    if let Err(error) = collect(&program, &mut pages) {
        return Exit::of_io(&error);
    }
    let Some(folder) = &arguments.dir else {
        return pages.first().map_or(Exit::Failure, |(_, page)| print_bytes(page));
    };
    let write = |(name, page): &(String, Vec<u8>)| fs::write(folder.join(name), page);
    match fs::create_dir_all(folder).and_then(|()| pages.iter().try_for_each(write)) {
        Ok(()) => {
            print(&format!("wrote {} pages to {}", pages.len(), folder.display()));
            Exit::Success
        }
        Err(error) => {
            complain(&format!("{}: {error}", folder.display()));
            Exit::Failure
        }
    }
}

/// Adds the page of a command and those of the commands below it, each with the name of its file.
fn collect(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let version = concat!("zraft ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(version).manual("zraft");
    let mut page = Vec::new();
    man.render(&mut page)?;
    pages.push((man.get_filename(), page));
    let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help");
    inner.into_iter().try_for_each(|inner| collect(inner, pages))
}
