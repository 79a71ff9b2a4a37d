//! Numbers as people read them: seconds in their unit, large counts with a letter.

/// Seconds: `3us`, `15ms`, `2s`, as pt-query-digest has them.
pub(super) fn pt_seconds(seconds: f64) -> String {
    // What is 999.9 us is told as 999, what is 999.9 ms as 1000.
    if seconds < 0.001 {
        let micros = (seconds * 1e6 + 1e-9).floor();
        if micros < 1.0 { "0".to_owned() } else { format!("{micros:.0}us") }
    } else if seconds < 1.0 {
        format!("{:.0}ms", seconds * 1e3)
    } else {
        format!("{seconds:.0}s")
    }
}

/// A count: as it is up to a thousand, else with two decimals and a letter. The steps are 1000 or 1024.
pub(super) fn shortened(number: f64, step: f64) -> String {
    let mut value = number;
    let mut letters = ["k", "M", "G", "T", "P", "E", "Z", "Y"].iter();
    let mut letter = "";
    while value >= step
        && let Some(next) = letters.next()
    {
        value /= step;
        letter = next;
    }
    if letter.is_empty() && value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}{letter}")
    }
}

/// Whether an attribute's numbers are seconds.
pub(super) fn is_seconds(name: &str) -> bool {
    name.ends_with("_time") || name.ends_with("_wait")
}

/// Whether an attribute's numbers are bytes.
pub(super) fn is_bytes(name: &str) -> bool {
    name.contains("Bytes") || name == "Query_length" || name.ends_with("_sizes")
}

/// Seconds with three digits that matter: `34.2 us`, `1.20 s`, `2 h 5 min`.
pub(super) fn seconds(seconds: f64) -> String {
    let scaled = |value: f64, unit: &str| {
        let decimals = if value >= 100.0 {
            0
        } else if value >= 10.0 {
            1
        } else {
            2
        };
        format!("{value:.decimals$} {unit}")
    };
    if seconds == 0.0 {
        "0".to_owned()
    } else if seconds < 0.000_999_5 {
        scaled(seconds * 1e6, "us")
    } else if seconds < 0.999_5 {
        scaled(seconds * 1e3, "ms")
    } else if seconds < 600.0 {
        scaled(seconds, "s")
    } else {
        let minutes = (seconds / 60.0).round();
        let hours = (minutes / 60.0).floor();
        if hours == 0.0 {
            format!("{minutes:.0} min")
        } else {
            format!("{hours:.0} h {:.0} min", minutes - hours * 60.0)
        }
    }
}

/// A whole number of seconds, as short as it is exact.
pub(super) fn every(slot_seconds: u64) -> String {
    match slot_seconds {
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        seconds if seconds >= 60 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// A count: `12`, `0.20`, `511,847`, `18.2 M`.
pub(super) fn count(number: f64) -> String {
    if number >= 1e7 {
        return shortened(number, 1000.0).replace(['k', 'M', 'G', 'T', 'P', 'E'], "") + letter(number);
    }
    if number.fract() != 0.0 && number < 1000.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn letter(number: f64) -> &'static str {
    let letters = [(1e18, " E"), (1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M")];
    letters.iter().find(|(least, _)| number >= *least).map_or("", |(_, letter)| letter)
}

/// Bytes: `193 B`, `12.2 KiB`.
pub(super) fn bytes(number: f64) -> String {
    let mut value = number;
    let mut units = ["KiB", "MiB", "GiB", "TiB", "PiB"].iter();
    let mut unit = "B";
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") }
}

/// Times that MariaDB logs in milliseconds, unlike all others. pt-query-digest takes them for seconds.
const MILLISECONDS: [&str; 2] = ["Engine_time", "Pages_read_time"];

/// A number of an attribute, in its unit.
pub(super) fn of(name: &str, number: f64) -> String {
    if MILLISECONDS.contains(&name) {
        seconds(number / 1e3)
    } else if is_seconds(name) {
        seconds(number)
    } else if is_bytes(name) {
        bytes(number)
    } else {
        count(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in
            [(0.0, "0"), (4.5e-7, "0"), (0.000_040_97, "40us"), (0.030_856, "31ms"), (543.4, "543s")]
        {
            assert_eq!(pt_seconds(number), text);
        }
        for (number, text) in
            [(255_935.0, "249.94k"), (199.0, "199"), (0.0007, "0.00"), (33_540_997_696.0, "31.24G")]
        {
            assert_eq!(shortened(number, 1024.0), text);
        }
        for (number, text) in
            [(0.0, "0"), (0.000_034_2, "34.2 us"), (0.151, "151 ms"), (1.2, "1.20 s"), (7500.0, "2 h 5 min")]
        {
            assert_eq!(seconds(number), text);
        }
        for (number, text) in [(1, "1 s"), (90, "90 s"), (3600, "1 h"), (5400, "90 min")] {
            assert_eq!(every(number), text);
        }
        for (number, text) in [(12.0, "12"), (0.2, "0.20"), (511_847.0, "511,847"), (18_246_508.0, "18.25 M")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!(
            (of("Engine_time", 37.8), of("Lock_time", 37.8)),
            ("37.8 ms".to_owned(), "37.8 s".to_owned())
        );
        assert_eq!((bytes(193.0), bytes(12_469.0)), ("193 B".to_owned(), "12.2 KiB".to_owned()));
    }
}
