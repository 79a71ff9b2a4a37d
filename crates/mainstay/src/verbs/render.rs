//! `mainstay render`: configuration of programs that follow the primary.

use std::fmt;
use std::path::{Path, PathBuf};

use host::files::{Ownership, ensure_dir, write_atomic};
use plan::{Installed, TrafficError};
use serde::Serialize;

use crate::cli::{ProgramArg, RenderArgs};
use crate::context::{self, Loaded};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

#[derive(Debug, Serialize)]
struct Rendered {
    files: Vec<File>,
}

#[derive(Debug, Serialize)]
struct File {
    path: PathBuf,
    text: String,
}

impl fmt::Display for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.files.as_slice() {
            // As it is, to be written into a file.
            return f.write_str(&only.text);
        }
        for (at, file) in self.files.iter().enumerate() {
            let gap = if at == 0 { "" } else { "\n" };
            write!(f, "{gap}# {}\n{}", file.path.display(), file.text)?;
        }
        Ok(())
    }
}

pub(crate) async fn run(format: Format, args: &RenderArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let files = render(&loaded, args).await?;
    let Some(folder) = &args.out else {
        output::result(format, &Rendered { files });
        return Ok(Outcome::Good);
    };
    for file in &files {
        write(&below(folder, &file.path), &file.text)?;
    }
    if format == Format::Json {
        output::result(format, &Rendered { files });
    }
    Ok(Outcome::Good)
}

async fn render(loaded: &Loaded, args: &RenderArgs) -> Result<Vec<File>, Failure> {
    let spec = &loaded.spec;
    let installed = Installed {
        program: std::env::current_exe().unwrap_or_else(|_| Installed::default().program),
        spec_file: context::absolute(&loaded.path),
    };
    let one = |name: &str, text: Result<String, TrafficError>| -> Result<Vec<File>, Failure> {
        Ok(vec![File { path: name.into(), text: text.map_err(unfit)? }])
    };
    match args.program {
        ProgramArg::Haproxy => one("haproxy.cfg", plan::haproxy(spec)),
        ProgramArg::Pacemaker => one("pacemaker.sh", plan::pacemaker(spec, &installed)),
        ProgramArg::Keepalived => {
            let node = context::this_node(loaded, &args.spec).await?;
            one("keepalived.conf", plan::keepalived(spec, &node.name, &installed))
        }
        ProgramArg::Systemd => {
            let member = context::this_member(loaded, &args.spec).await?;
            let files = plan::systemd(spec, &member, &installed).map_err(unfit)?;
            Ok(files.into_iter().map(|file| File { path: file.path, text: file.text }).collect())
        }
    }
}

fn unfit(error: TrafficError) -> Failure {
    let hint = match &error {
        TrafficError::NoAgents => "add [ha] to the spec, or for systemd [backup]; docs/spec.md has examples",
        TrafficError::NoMember(_) | TrafficError::Witness(_) => "name a node of the spec with --node",
        TrafficError::NotTheKeeper(_) => "set `keeper` in [ha.address] of the spec",
        TrafficError::Families { .. } => "give both addresses of one family in the spec",
        TrafficError::Unquotable(_) => {
            "put the file where its path has letters, digits, `-`, `_` and `/` only"
        }
    };
    Failure::new(error, hint)
}

/// A path as it is below a folder.
fn below(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path.strip_prefix("/").unwrap_or(path))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        ensure_dir(parent, &Ownership::mode(0o755))?;
    }
    write_atomic(path, text.as_bytes(), &Ownership::mode(0o644))?;
    output::message(&format!("wrote {}", path.display()));
    Ok(())
}
