//! Plots as SVG: a timeline, and how times are distributed. Both are bars over an axis with a few labels.

use std::fmt::Write as _;

use super::super::units::{count, every, seconds};
use super::escape;
use crate::report::{Figures, TimelineReport};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 24.0;
const INNER_WIDTH: f64 = WIDTH - LEFT - 8.0;
const INNER_HEIGHT: f64 = HEIGHT - TOP - BOTTOM;

/// A bar: what it says when pointed at, and how high it is.
struct Bar {
    title: String,
    value: f64,
}

#[expect(clippy::cast_precision_loss, reason = "drawn to a pixel")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Concurrency over time, and events in the bars' titles.
pub(super) fn timeline(timeline: &TimelineReport, out: &mut String) -> std::fmt::Result {
    let length = as_f64(timeline.slot_seconds.unsigned_abs().max(1));
    let bars: Vec<Bar> = timeline
        .slots
        .iter()
        .map(|slot| {
            let at_a_time = slot.query_time.as_f64() / length;
            let title = format!(
                "{}: {} events, {}, {at_a_time:.2} at a time, the longest {}",
                slot.at,
                count(as_f64(slot.events)),
                seconds(slot.query_time.as_f64()),
                seconds(slot.longest.as_f64())
            );
            Bar { title, value: at_a_time }
        })
        .collect();
    let labels = match (timeline.slots.first(), timeline.slots.last()) {
        (Some(first), Some(last)) => vec![(0.0, first.at.clone()), (1.0, last.at.clone())],
        (None, _) | (_, None) => Vec::new(),
    };
    let title = format!("Running at a time, every {}", every(timeline.slot_seconds.unsigned_abs()));
    draw(&title, &bars, &labels, |value| format!("{value:.2}"), out)
}

/// How many events took how long.
pub(super) fn times(figures: &Figures, title: &str, out: &mut String) -> std::fmt::Result {
    let parts: Vec<(f64, u64)> =
        figures.query_time_distribution.iter().copied().filter(|(least, _)| *least > 0.0).collect();
    let (Some((first, _)), Some((last, _))) = (parts.first(), parts.last()) else { return Ok(()) };
    // Eighths of a power of ten, those without events too.
    let step = |least: f64| (least.log10() * 8.0).round();
    let steps = (step(*last) - step(*first)).clamp(0.0, 400.0);
    let mut bars: Vec<Bar> = Vec::new();
    let mut labels = Vec::new();
    let mut at = step(*first);
    let mut parts = parts.iter().peekable();
    while at <= step(*first) + steps {
        let least = 10_f64.powf(at / 8.0);
        let events = parts.next_if(|(part, _)| step(*part) <= at).map_or(0, |(_, events)| *events);
        if at.rem_euclid(8.0) == 0.0 {
            labels.push(((at - step(*first)) / (steps + 1.0), seconds(10_f64.powf(at / 8.0))));
        }
        let title = format!("from {}: {} events", seconds(least), count(as_f64(events)));
        bars.push(Bar { title, value: as_f64(events) });
        at += 1.0;
    }
    draw(title, &bars, &labels, count, out)
}

fn draw(
    title: &str,
    bars: &[Bar],
    labels: &[(f64, String)],
    shown: impl Fn(f64) -> String,
    out: &mut String,
) -> std::fmt::Result {
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let scale = if most > 0.0 { INNER_HEIGHT / most } else { 0.0 };
    let width = INNER_WIDTH / as_f64(bars.len().max(1) as u64);
    let floor = TOP + INNER_HEIGHT;
    writeln!(
        out,
        "<div><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{title}</title>\
         <text x=\"{LEFT}\" y=\"13\" font-weight=\"600\">{title}</text>\
         <text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{most}</text>\
         <text x=\"{x}\" y=\"{floor}\" text-anchor=\"end\">0</text>\
         <path d=\"M{LEFT} {TOP}V{floor}H{right}\" fill=\"none\" stroke=\"var(--line)\"/>",
        title = escape(title),
        x = LEFT - 5.0,
        y = TOP + 8.0,
        most = escape(&shown(most)),
        right = LEFT + INNER_WIDTH,
    )?;
    let mut x = LEFT;
    for bar in bars {
        if bar.value > 0.0 {
            // What is there at all is seen.
            let height = (bar.value * scale).max(1.0);
            writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"var(--one)\"><title>{}</title></rect>",
                floor - height,
                (width * 0.9).max(0.6),
                escape(&bar.title)
            )?;
        }
        x += width;
    }
    for (place, label) in labels {
        let anchor = if *place >= 0.9 { "end" } else { "start" };
        let x = LEFT + place * INNER_WIDTH;
        writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            HEIGHT - 8.0,
            escape(label)
        )?;
    }
    out.push_str("</svg></div>\n");
    Ok(())
}
