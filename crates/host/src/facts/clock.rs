//! Whether the host's clock is synchronised, asked of whoever keeps it. Sets no clock.

use std::time::Duration;

use facts::Seen;

use crate::command::{Command, find_program};

/// Time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks systemd, else chrony; unknown where neither answers, as in a container whose host keeps the clock.
pub(super) async fn synchronised(systemd: bool) -> Seen<bool> {
    let mut reasons = Vec::new();
    if systemd {
        match answer("timedatectl", &["show", "-p", "NTPSynchronized"], parse_timedatectl).await {
            Ok(synchronised) => return Seen::Known(synchronised),
            Err(why) => reasons.push(why),
        }
    }
    if find_program("chronyc").is_some() {
        match answer("chronyc", &["-n", "tracking"], parse_chronyc).await {
            Ok(synchronised) => return Seen::Known(synchronised),
            Err(why) => reasons.push(why),
        }
    }
    if reasons.is_empty() {
        reasons.push("neither systemd nor chrony keeps the clock here; is it kept from outside?".to_owned());
    }
    Seen::Unknown(reasons.join("; "))
}

async fn answer(program: &str, args: &[&str], parse: fn(&str) -> Option<bool>) -> Result<bool, String> {
    let output = Command::new(program).args(args).timeout(TIMEOUT).run().await;
    let output = output.map_err(|error| crate::reason(&error))?;
    parse(&output.stdout_text()).ok_or_else(|| format!("`{program}` does not say"))
}

/// `timedatectl show -p NTPSynchronized`.
fn parse_timedatectl(text: &str) -> Option<bool> {
    match text.trim().strip_prefix("NTPSynchronized=")? {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// `chronyc tracking`: the leap status is `Not synchronised` until a source was chosen.
fn parse_chronyc(text: &str) -> Option<bool> {
    let line = text.lines().find_map(|line| line.strip_prefix("Leap status"))?;
    match line.trim_start().strip_prefix(':')?.trim() {
        "Normal" | "Insert second" | "Delete second" => Some(true),
        "Not synchronised" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_answers() {
        assert_eq!(parse_timedatectl("NTPSynchronized=yes\n"), Some(true));
        assert_eq!(parse_timedatectl("NTPSynchronized=no\n"), Some(false));
        assert_eq!(parse_timedatectl(""), None);
        let tracking = |leap: &str| {
            format!(
                "Reference ID    : C0A80001 (192.168.0.1)\nStratum         : 3\nSystem time     : \
                 0.000012345 seconds fast of NTP time\nLeap status     : {leap}\n"
            )
        };
        assert_eq!(parse_chronyc(&tracking("Normal")), Some(true));
        assert_eq!(parse_chronyc(&tracking("Not synchronised")), Some(false));
        assert_eq!(parse_chronyc("506 Cannot talk to daemon\n"), None);
    }
}
