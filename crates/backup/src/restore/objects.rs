//! What is made by a statement and is no table: sequences before the tables, the rest after the rows.
//!
//! Views that need each other are tried until all are there.

use std::sync::Arc;

use dump::ObjectKind;
use server::{Loader, ServerError};
use sqltext::quote_ident;

use super::engine::Work;
use super::error::RestoreError;
use super::plan::ObjectPlan;

/// ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST, ER_VIEW_INVALID, ER_UNKNOWN_TABLE: what is needed may come later.
const NOT_YET: [u16; 4] = [1146, 1305, 1356, 1109];
/// ER_TABLE_EXISTS, ER_SP_ALREADY_EXISTS, ER_TRG_ALREADY_EXISTS, ER_EVENT_ALREADY_EXISTS: made by a run that was killed.
const THERE: [u16; 4] = [1050, 1304, 1359, 1537];

/// Makes objects of these kinds.
///
/// # Errors
/// If the server refuses one.
pub(crate) async fn make(
    work: &Arc<Work>,
    is_meant: impl Fn(ObjectKind) -> bool,
) -> Result<(), RestoreError> {
    let mut waiting: Vec<&ObjectPlan> =
        work.plan.objects.iter().filter(|object| is_meant(object.kind)).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let opened = work.sessions.open().await;
    let mut loader = opened.map_err(RestoreError::server("opening a session for objects"))?;
    loop {
        let before = waiting.len();
        let (mut left, mut failure) = (Vec::new(), None);
        for object in waiting {
            let Err(error) = make_one(work, &mut loader, object).await else { continue };
            let comes_later =
                object.kind == ObjectKind::View && error.code().is_some_and(|code| NOT_YET.contains(&code));
            let error = RestoreError::server(format!("creating {}", object.shown()))(error);
            if !comes_later {
                return Err(error);
            }
            left.push(object);
            failure = failure.or(Some(error));
        }
        match failure {
            None => break,
            Some(error) if left.len() == before => return Err(error),
            Some(_) => waiting = left,
        }
    }
    loader.close().await;
    Ok(())
}

async fn make_one(work: &Work, loader: &mut Loader, object: &ObjectPlan) -> Result<(), ServerError> {
    let database = quote_ident(&object.database).map_err(|error| ServerError::Other(error.to_string()))?;
    loader.run(format!("USE {database}").as_bytes()).await?;
    loader.query(&work.sessions.statement(&object.session)?).await?;
    for (number, statement) in object.statements.iter().enumerate() {
        match loader.run(statement).await {
            Ok(_) => {}
            Err(error)
                if number == 0
                    && work.state.is_resumed()
                    && error.code().is_some_and(|code| THERE.contains(&code)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
