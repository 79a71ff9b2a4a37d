//! `mainstay plan`: observe, decide, print. Changes nothing.

use host::files::{self, Ownership};
use setup::Observe;

use crate::cli::PlanArgs;
use crate::context;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};

pub(crate) async fn run(format: Format, args: &PlanArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let node = context::this_node(&loaded, &args.spec).await?;
    let observation = setup::observe(&loaded.spec, &node, &Observe { measure: !args.no_measure }).await?;
    let options = plan::Options { recreate: args.recreate.clone() };
    let plan = plan::make(&loaded.spec, &node, &observation, &options);
    if let Some(path) = &args.out {
        let json = serde_json::to_vec_pretty(&plan)?;
        files::write_atomic(&context::absolute(path), &json, &Ownership::mode(0o644))?;
    }
    output::result(format, &plan);
    if plan.differs() || plan.stops().next().is_some() {
        if format == Format::Text && !plan.steps.is_empty() {
            output::message(&format!(
                "Run `mainstay apply --config {}` to carry it out.",
                loaded.path.display()
            ));
        }
        return Ok(Outcome::Differs);
    }
    Ok(Outcome::Good)
}
