//! Periods: the times between which events count, as people write them.
//!
//! Logs do not say in which zone they are written. A time that is written out is one on the log's wall; one that is
//! told by how long ago it was needs to know what the wall shows now.

use std::str::FromStr;

use crate::event::Moment;

/// A time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On the log's wall.
    At(i64),
    /// So many seconds ago.
    Ago(i64),
}

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no time: write \"2026-11-21 02:43:08\", a date alone, or 90s, 15m, 12h, 7d for so long ago"
)]
pub struct WhenError(String);

/// What the walls of logs show now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Where the server writes local time, as MariaDB does.
    pub local_seconds: i64,
    /// Where it writes UTC, as MySQL does unless told otherwise.
    pub utc_seconds: i64,
}

/// A time to compare with, on either wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    plain: i64,
    with_t: i64,
}

impl When {
    /// The time to compare with.
    #[must_use]
    pub const fn bound(self, now: Now) -> Bound {
        match self {
            Self::At(seconds) => Bound { plain: seconds, with_t: seconds },
            Self::Ago(ago) => Bound {
                plain: now.local_seconds.saturating_sub(ago),
                with_t: now.utc_seconds.saturating_sub(ago),
            },
        }
    }
}

impl Bound {
    /// Whether a moment is before it.
    #[must_use]
    pub const fn is_behind(self, moment: Moment) -> bool {
        moment.seconds < if moment.has_t { self.with_t } else { self.plain }
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let error = || WhenError(text.to_owned());
        let written = match text.len() {
            // A date alone, or without seconds.
            10 => Moment::parse(format!("{text} 00:00:00").as_bytes()),
            6 if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Moment::parse(format!("{text} 00:00:00").as_bytes())
            }
            16 => Moment::parse(format!("{text}:00").as_bytes()),
            _ => Moment::parse(text.as_bytes()),
        };
        if let Some(moment) = written {
            return Ok(Self::At(moment.seconds));
        }
        let unit = text.bytes().last().ok_or_else(error)?;
        let seconds: i64 = match unit {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return Err(error()),
        };
        let number =
            text.get(..text.len() - 1).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let number: i64 = number.and_then(|number| number.parse().ok()).ok_or_else(error)?;
        number.checked_mul(seconds).map(Self::Ago).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let at = |text: &str| Moment::parse(text.as_bytes()).unwrap().seconds;
        for (text, when) in [
            ("2026-11-21 02:43:08", When::At(at("2026-11-21 02:43:08"))),
            ("2026-11-21T02:43:08.5Z", When::At(at("2026-11-21 02:43:08"))),
            ("2026-11-21 02:43", When::At(at("2026-11-21 02:43:00"))),
            ("2026-11-21", When::At(at("2026-11-21 00:00:00"))),
            ("261121", When::At(at("2026-11-21 00:00:00"))),
            ("261121 02:43:08", When::At(at("2026-11-21 02:43:08"))),
            ("90s", When::Ago(90)),
            ("15m", When::Ago(900)),
            ("12h", When::Ago(43_200)),
            ("7d", When::Ago(604_800)),
        ] {
            assert_eq!(text.parse(), Ok(when), "{text}");
        }
        for text in [
            "",
            "s",
            "-5m",
            "5",
            "5w",
            "yesterday",
            "2026-13-01",
            "9999999999999999999d",
            "999999999999999999d",
            "\u{fc}",
        ] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }

    #[test]
    fn long_ago_is_told_on_the_log_s_own_wall() {
        let now = Now { local_seconds: 10_000, utc_seconds: 6400 };
        let bound = When::Ago(100).bound(now);
        for (seconds, has_t, is_behind) in
            [(9899, false, true), (9900, false, false), (6299, true, true), (6300, true, false)]
        {
            assert_eq!(bound.is_behind(Moment { seconds, has_t }), is_behind, "{seconds} {has_t}");
        }
        assert!(When::At(7).bound(now).is_behind(Moment { seconds: 6, has_t: true }));
    }
}
