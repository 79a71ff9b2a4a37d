//! `mainstay completions` and `mainstay man`: made from the command line's own definition.

use clap::CommandFactory;
use host::files::{self, Ownership};

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::failure::{Outcome, Verb};
use crate::output;

pub(crate) fn completions(args: &CompletionsArgs) -> Verb {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mainstay", &mut script);
    output::bytes(&script);
    Ok(Outcome::Good)
}

pub(crate) fn man(args: &ManArgs) -> Verb {
    let mut pages = 0;
    write_pages(&Cli::command(), "mainstay", args, &mut pages)?;
    output::text(&format!("Wrote {pages} pages to {}.", args.folder.display()));
    Ok(Outcome::Good)
}

fn write_pages(command: &clap::Command, name: &str, args: &ManArgs, pages: &mut usize) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().display_name(name.replace(' ', "-"))).render(&mut page)?;
    let path = args.folder.join(format!("{}.1", name.replace(' ', "-")));
    files::write_atomic(&path, &page, &Ownership::mode(0o644))?;
    *pages += 1;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_pages(inner, &format!("{name} {}", inner.get_name()), args, pages)?;
    }
    Ok(())
}
