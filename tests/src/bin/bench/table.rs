//! The figures, as they are printed: OpenSSH's agent, ours, and what ours is of it.

use std::time::Duration;

pub(crate) fn head() {
    println!("{:42} {:>12} {:>12} {:>7}  aim", "", "ssh-agent", "ours", "ratio");
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Times: less is better.
pub(crate) fn milliseconds(name: &str, [rival, ours]: [Duration; 2], aim: &str) {
    let text = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1000.0);
    row(name, [text(rival), text(ours)], ours.as_secs_f64() / rival.as_secs_f64(), aim);
}

/// Speeds: more is better.
pub(crate) fn per_second(name: &str, figures: [f64; 2], aim: &str) {
    row(name, figures.map(|figure| format!("{figure:.0} /s")), figures[1] / figures[0], aim);
}

/// Memory: less is better.
pub(crate) fn mebibytes(name: &str, figures: [f64; 2], aim: &str) {
    row(name, figures.map(|kib| format!("{:.1} MiB", kib / 1024.0)), figures[1] / figures[0], aim);
}

fn row(name: &str, [rival, ours]: [String; 2], ratio: f64, aim: &str) {
    println!("{name:42} {rival:>12} {ours:>12} {ratio:>7.2}  {aim}");
}
