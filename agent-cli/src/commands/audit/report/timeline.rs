//! When keys were used: a bar for each hour, day, or so many days, and below it at which hour of the day.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::reading::{Kind, counted};

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// As many bars as can be told apart.
const MOST_BARS: i64 = 100;

/// The picture's measures, in its own units.
const WIDTH: i64 = 1000;
const LEFT: i64 = 44;
const BARS_TOP: i64 = 12;
const BARS_HEIGHT: i64 = 150;
const GRID_TOP: i64 = 196;
const GRID_ROW: i64 = 6;
const HOURS: i64 = 24;
const WEEK: i64 = 7 * HOURS;

/// Weeks begin on Mondays, and the epoch on a Thursday.
const TO_MONDAY: i64 = 3 * HOURS;

/// How often keys were used in a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    signed: u64,
    rehearsed: u64,
    refused: u64,
    unknown: u64,
    wrong_pins: u64,
}

/// All uses, by the hour.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    hours: BTreeMap<i64, Counts>,
}

/// What is drawn.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) bars: Vec<Bar>,
    pub(super) cells: Vec<Cell>,
    /// The counts at the lines across.
    pub(super) scale: Vec<Tick>,
    /// The times below.
    pub(super) times: Vec<Tick>,
    /// The hours of the day at the grid's left.
    pub(super) clock: Vec<Tick>,
    pub(super) height: i64,
    /// What one bar is.
    pub(super) unit: String,
}

#[derive(Debug)]
pub(super) struct Bar {
    pub(super) title: String,
    /// The day whose entries it leads to.
    pub(super) day: String,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) parts: Vec<Part>,
    /// Where wrong PINs are marked.
    pub(super) mark: Option<(String, i64)>,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) class: &'static str,
    pub(super) y: String,
    pub(super) height: String,
}

#[derive(Debug)]
pub(super) struct Cell {
    pub(super) class: &'static str,
    pub(super) strength: u64,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: i64,
    pub(super) title: String,
}

#[derive(Debug)]
pub(super) struct Tick {
    pub(super) at: String,
    pub(super) text: String,
}

impl Counts {
    fn total(self) -> u64 {
        self.signed + self.rehearsed + self.refused + self.unknown
    }

    fn add(&mut self, other: Self) {
        self.signed += other.signed;
        self.rehearsed += other.rehearsed;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.wrong_pins += other.wrong_pins;
    }

    fn words(self) -> String {
        let counts = [
            (self.signed, "signed"),
            (self.rehearsed, "rehearsed"),
            (self.refused, "refused"),
            (self.unknown, "of unknown outcome"),
            (self.wrong_pins, "wrong PINs"),
        ];
        let words = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(*count, what, what));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl Timeline {
    pub(super) fn add(&mut self, time: Timestamp, kind: Kind, wrong_pins: u64) {
        let hour = self.hours.entry(time.as_second().div_euclid(HOUR)).or_default();
        match kind {
            Kind::Signed => hour.signed += 1,
            Kind::Rehearsed => hour.rehearsed += 1,
            Kind::Refused => hour.refused += 1,
            Kind::Unknown => hour.unknown += 1,
            Kind::Act => return,
        }
        hour.wrong_pins += wrong_pins;
    }

    /// None where nothing was asked for.
    pub(super) fn picture(&self) -> Option<Picture> {
        let (first, last) = (*self.hours.first_key_value()?.0, *self.hours.last_key_value()?.0);
        let unit = unit(first, last);
        let shift = if unit == WEEK { TO_MONDAY } else { 0 };
        let begin = (first + shift).div_euclid(unit);
        let columns = (last + shift).div_euclid(unit) - begin + 1;
        let step = (WIDTH - LEFT) as f64 / columns as f64;
        let x = |column: i64| LEFT as f64 + step * column as f64;
        let mut bars: BTreeMap<i64, Counts> = BTreeMap::new();
        let mut cells: BTreeMap<(i64, i64), Counts> = BTreeMap::new();
        for (hour, counts) in &self.hours {
            let column = (hour + shift).div_euclid(unit) - begin;
            bars.entry(column).or_default().add(*counts);
            cells.entry((column, hour.rem_euclid(HOURS))).or_default().add(*counts);
        }
        let most = bars.values().map(|counts| counts.total()).max().unwrap_or_default();
        let (top, lines) = scale(most);
        let y = |count: u64| (BARS_TOP + BARS_HEIGHT) as f64 - BARS_HEIGHT as f64 * count as f64 / top as f64;
        let has_grid = unit >= HOURS;
        let start = |column: i64| ((begin + column) * unit - shift).saturating_mul(HOUR);
        let picture = Picture {
            bars: bars.iter().map(|(column, counts)| bar(*counts, start(*column), unit, x(*column), step, y)).collect(),
            cells: if has_grid { self::cells(&cells, x, step, start) } else { Vec::new() },
            scale: lines.map(|count| Tick { at: round(y(count)), text: count.to_string() }).collect(),
            times: times(columns, unit, start, x),
            clock: if has_grid { clock() } else { Vec::new() },
            height: if has_grid { GRID_TOP + HOURS * GRID_ROW + 8 } else { BARS_TOP + BARS_HEIGHT + 26 },
            unit: match unit {
                1 => "hour".into(),
                24 => "day".into(),
                WEEK => "week".into(),
                hours => format!("{} days", hours / HOURS),
            },
        };
        Some(picture)
    }
}

/// How many hours a bar is: one, a day, a week, or as many days as it takes.
fn unit(first: i64, last: i64) -> i64 {
    let hours = last - first + 1;
    let unit = [1, HOURS, WEEK].into_iter().find(|unit| hours / unit < MOST_BARS);
    unit.unwrap_or_else(|| (hours / HOURS / MOST_BARS + 1) * HOURS)
}

/// The number at the top, and those at the lines.
fn scale(most: u64) -> (u64, impl Iterator<Item = u64>) {
    let mut step = 1;
    while most > step * 5 {
        step = match step.to_string().as_bytes() {
            [b'2', ..] => step / 2 * 5,
            _ => step * 2,
        };
    }
    let top = most.div_ceil(step).max(1) * step;
    (top, (0..=top / step).map(move |line| line * step))
}

fn bar(counts: Counts, start: i64, unit: i64, x: f64, step: f64, y: impl Fn(u64) -> f64) -> Bar {
    let mut below = 0;
    let parts = [
        ("signed", counts.signed),
        ("rehearsed", counts.rehearsed),
        ("unknown", counts.unknown),
        ("refused", counts.refused),
    ];
    let parts = parts.into_iter().filter(|(_, count)| *count > 0).map(|(class, count)| {
        let (bottom, top) = (y(below), y(below + count));
        below += count;
        Part { class, y: round(top), height: round(bottom - top) }
    });
    let parts: Vec<_> = parts.collect();
    let width = of_column(step);
    let left = x + (step - width) / 2.0;
    let mark = (counts.wrong_pins > 0).then(|| (round(left + width / 2.0), BARS_TOP + BARS_HEIGHT + 5));
    Bar {
        title: format!("{}: {}", when(start, unit), counts.words()),
        day: written(start, "%Y-%m-%d"),
        x: round(left),
        width: round(width),
        parts,
        mark,
    }
}

fn cells(
    cells: &BTreeMap<(i64, i64), Counts>,
    x: impl Fn(i64) -> f64,
    step: f64,
    start: impl Fn(i64) -> i64,
) -> Vec<Cell> {
    let most = cells.values().map(|counts| counts.total()).max().unwrap_or_default().max(1);
    let cell = |((column, hour), counts): (&(i64, i64), &Counts)| Cell {
        class: if counts.refused * 2 >= counts.total() { "refused" } else { "signed" },
        strength: counts.total().saturating_mul(4).div_ceil(most).clamp(1, 4),
        x: round(x(*column) + (step - of_column(step)) / 2.0),
        width: round(of_column(step)),
        y: GRID_TOP + hour * GRID_ROW,
        title: format!("{} {hour:02}:00: {}", written(start(*column), "%Y-%m-%d"), counts.words()),
    };
    cells.iter().map(cell).collect()
}

/// How wide a bar is: few ones are no wall.
fn of_column(step: f64) -> f64 {
    (step * 0.78).clamp(1.0, 36.0)
}

fn clock() -> Vec<Tick> {
    let tick = |hour: i64| Tick { at: (GRID_TOP + hour * GRID_ROW).to_string(), text: format!("{hour:02}:00") };
    (0..=HOURS).step_by(6).map(tick).collect()
}

/// Some ten of them, at the beginnings of bars.
fn times(columns: i64, unit: i64, start: impl Fn(i64) -> i64, x: impl Fn(i64) -> f64) -> Vec<Tick> {
    let every = (columns / 10).max(1);
    let every = match unit {
        1 if every > 1 => (every + 5) / 6 * 6,
        24 if every > 1 => (every + 6) / 7 * 7,
        _ => every,
    };
    let format = if unit == 1 { "%b %-d, %H:%M" } else { "%b %-d" };
    let tick =
        |column: i64| Tick { at: round((x(column) + x(column + 1)) / 2.0), text: written(start(column), format) };
    (0..columns).step_by(usize::try_from(every).unwrap_or(1)).map(tick).collect()
}

fn when(start: i64, unit: i64) -> String {
    match unit {
        1 => written(start, "%Y-%m-%d %H:00"),
        24 => written(start, "%Y-%m-%d"),
        _ => format!("{} to {}", written(start, "%Y-%m-%d"), written(start + (unit / HOURS - 1) * DAY, "%Y-%m-%d")),
    }
}

fn written(second: i64, format: &str) -> String {
    let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// To a tenth: no eye sees more, and a page is shorter.
fn round(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(times: &[&str]) -> Timeline {
        let mut timeline = Timeline::default();
        times.iter().for_each(|time| timeline.add(time.parse().unwrap(), Kind::Signed, 0));
        timeline
    }

    #[test]
    fn bars_are_hours_days_weeks_or_more() {
        for (last, unit, bars) in [
            ("2026-11-22T12:59:59Z", "hour", 1),
            ("2026-11-24T12:00:00Z", "hour", 2),
            ("2026-12-30T12:00:00Z", "day", 2),
            ("2027-11-22T12:00:00Z", "week", 2),
            ("2036-11-22T12:00:00Z", "37 days", 2),
        ] {
            let picture = timeline(&["2026-11-22T12:00:00Z", last]).picture().unwrap();
            assert_eq!((picture.unit.as_str(), picture.bars.len()), (unit, bars), "{last}");
            assert!(picture.times.len() <= 21, "{last}: {}", picture.times.len());
        }
        assert!(Timeline::default().picture().is_none());
    }

    #[test]
    fn a_clock_that_is_wrong_by_ages_draws_no_endless_picture() {
        let picture = timeline(&["-009998-01-01T00:00:00Z", "9998-01-01T00:00:00Z"]).picture().unwrap();
        assert!(picture.bars.len() == 2 && picture.times.len() < 21 && picture.cells.len() == 2);
    }

    #[test]
    fn a_week_begins_on_monday() {
        let picture = timeline(&["2026-08-30T23:00:00Z", "2026-12-31T00:00:00Z"]).picture().unwrap();
        assert_eq!((picture.bars[0].day.as_str(), picture.times[0].text.as_str()), ("2026-08-24", "Aug 24"));
    }

    #[test]
    fn the_scale_has_round_numbers() {
        for (most, top) in [(0, 1), (1, 1), (5, 5), (6, 6), (11, 15), (99, 100), (101, 150), (10_000, 10_000)] {
            let (found, lines) = scale(most);
            assert_eq!(found, top, "{most}");
            assert!(lines.count() <= 6);
        }
    }
}
