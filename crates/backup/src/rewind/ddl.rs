//! A statement that changed the table as a whole, done again to the table that is made.

use binlog::Action;
use server::Loader;
use sqltext::{Token, lex, unquote};

use super::error::RewindError;
use super::scratch::{Scratch, quoted, run};
use super::stretch::Ddl;

/// Does it to the table of the same name in the database to work in.
pub(crate) async fn apply(
    loader: &mut Loader,
    ddl: &Ddl,
    scratch: &Scratch,
    (database, table): (&str, &str),
) -> Result<(), RewindError> {
    let aimed = scratch.table(table)?;
    if ddl.database.is_some() {
        // The database goes with all its tables; making it or changing its defaults is nothing to them.
        if ddl.action == Action::Drop {
            run(loader, &format!("DROP TABLE IF EXISTS {aimed}"), "dropping the table again").await?;
        }
        return Ok(());
    }
    let statement = match ddl.action {
        // Other tables may be named with it.
        Action::Drop if first_words(&ddl.text, "TABLE") => format!("DROP TABLE IF EXISTS {aimed}"),
        Action::Truncate => format!("TRUNCATE TABLE {aimed}"),
        Action::Drop
        | Action::Create
        | Action::Alter
        | Action::Rename
        | Action::Insert
        | Action::Update
        | Action::Delete
        | Action::Load
        | Action::Grant
        | Action::Other => without_qualifier(&ddl.text, database, table),
    };
    for line in session(ddl, scratch)? {
        run(loader, &line, "setting a session up as it was").await?;
    }
    let done = loader.run(statement.as_bytes()).await.map_err(RewindError::server(format!(
        "doing again what was done at {} ({:.200})",
        ddl.place, ddl.text
    )));
    done?;
    for line in ["SET NAMES utf8mb4", "SET SESSION timestamp = DEFAULT"] {
        run(loader, line, "setting the session back").await?;
    }
    Ok(())
}

/// The session it ran in, as far as it was logged.
fn session(ddl: &Ddl, scratch: &Scratch) -> Result<Vec<String>, RewindError> {
    let mut lines = vec![format!("USE {}", quoted(&scratch.name)?)];
    if let Some(mode) = ddl.session.sql_mode {
        lines.push(format!("SET SESSION sql_mode = {mode}"));
    }
    if let Some([client, connection, server]) = ddl.session.charsets {
        lines.push(format!(
            "SET SESSION character_set_client = {client}, collation_connection = {connection}, collation_server = {server}"
        ));
    }
    if let Some(zone) = &ddl.session.time_zone {
        lines.push(format!("SET SESSION time_zone = {}", super::scratch::string(zone)?));
    }
    lines.push(format!("SET SESSION timestamp = {}", ddl.seconds));
    Ok(lines)
}

/// Whether a statement is `DROP [TEMPORARY] TABLE`, not `DROP INDEX ... ON`.
fn first_words(text: &str, second: &str) -> bool {
    let mut tokens = lex(text).filter(Token::is_significant).skip(1);
    tokens.find(|token| !token.is_word("TEMPORARY")).is_some_and(|token| token.is_word(second))
}

/// The statement with the table's name alone, for a session in the other database. What MySQL appends to a
/// `CREATE TABLE ... SELECT` is left out: its rows follow.
fn without_qualifier(text: &str, database: &str, table: &str) -> String {
    let tokens: Vec<Token<'_>> = lex(text).collect();
    let significant: Vec<usize> =
        tokens.iter().enumerate().filter(|(_, token)| token.is_significant()).map(|(at, _)| at).collect();
    let mut left_out = vec![false; tokens.len()];
    let mut leave = |at: usize| {
        if let Some(it) = left_out.get_mut(at) {
            *it = true;
        }
    };
    for window in significant.windows(3) {
        let [first, dot, last] = window else { continue };
        let (Some(one), Some(point), Some(other)) = (tokens.get(*first), tokens.get(*dot), tokens.get(*last))
        else {
            continue;
        };
        if point.is_punct(".") && unquote(one.text) == database && unquote(other.text) == table {
            leave(*first);
            leave(*dot);
        }
    }
    if let [.., start, end] = significant[..]
        && tokens.get(start).is_some_and(|token| token.is_word("START"))
        && tokens.get(end).is_some_and(|token| token.is_word("TRANSACTION"))
    {
        leave(start);
        leave(end);
    }
    let kept = tokens.iter().zip(&left_out).filter(|(_, is_left_out)| !**is_left_out);
    kept.map(|(token, _)| token.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_aimed_at_the_table_that_is_made() {
        for (text, aimed) in [
            ("ALTER TABLE shop.orders ADD x INT", "ALTER TABLE orders ADD x INT"),
            ("ALTER TABLE `shop` . `orders` ADD x INT", "ALTER TABLE `orders` ADD x INT"),
            (
                "ALTER TABLE orders ADD x VARCHAR(9) DEFAULT 'shop.orders'",
                "ALTER TABLE orders ADD x VARCHAR(9) DEFAULT 'shop.orders'",
            ),
            ("CREATE TABLE `orders` (id INT) START TRANSACTION", "CREATE TABLE `orders` (id INT)"),
            ("CREATE INDEX i ON shop.orders (other.orders)", "CREATE INDEX i ON orders (other.orders)"),
        ] {
            let made = without_qualifier(text, "shop", "orders");
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(&made), words(aimed));
        }
        assert!(first_words("drop temporary table a", "TABLE") && !first_words("DROP INDEX i ON a", "TABLE"));
    }
}
