//! A cycle of transactions as a graph.

use std::fmt::Write;

use super::html::escape;
use crate::verdict::Evidence;

const RADIUS: i64 = 150;
const BOX: (i64, i64) = (72, 36);
/// More transactions are not drawn as a circle; the table below tells them.
const DRAWN: usize = 24;

/// Points on a circle, in thousandths: no float decides where anything is.
const QUARTER: [i64; 7] = [0, 259, 500, 707, 866, 966, 1000];

/// The graph of the cycle in some evidence; nothing if there is no cycle.
pub(super) fn graph(evidence: &Evidence) -> String {
    let count = 1 + evidence.ties.iter().map(|tie| tie.from.max(tie.to)).max().unwrap_or(0);
    if evidence.ties.is_empty() || count > DRAWN {
        return String::new();
    }
    let mut svg = String::from(
        "<svg class=\"cycle\" viewBox=\"-240 -190 480 380\" width=\"480\" height=\"380\" role=\"img\"><defs><marker id=\"tip\" \
         viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/>\
         </marker></defs>",
    );
    for (number, tie) in evidence.ties.iter().enumerate() {
        arrow(&mut svg, place(tie.from, count), place(tie.to, count), &tie.kind, number);
    }
    for node in 0..count {
        let (x, y) = place(node, count);
        let witness = if node == 0 { Some(&evidence.failed) } else { evidence.involved.get(node - 1) };
        let what = witness.map_or_else(String::new, |witness| format!("client-{}: {}", witness.process, witness.what));
        let _ = write!(
            svg,
            "<g class=\"txn\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/><text x=\"{x}\" y=\"{}\">T{}\
             </text></g>",
            escape(&what),
            x - BOX.0 / 2,
            y - BOX.1 / 2,
            BOX.0,
            BOX.1,
            y + 5,
            node + 1
        );
    }
    svg + "</svg>"
}

/// Where a transaction is: the first on top, the others clockwise.
fn place(node: usize, count: usize) -> (i64, i64) {
    let twelfths = node as i64 * 24 / count as i64;
    (RADIUS * sine(twelfths) / 1000, -RADIUS * sine(twelfths + 6) / 1000)
}

/// The sine of so many 24ths of a circle, in thousandths.
fn sine(part: i64) -> i64 {
    let part = part.rem_euclid(24);
    match part {
        0..=6 => QUARTER[part as usize],
        7..=12 => QUARTER[12 - part as usize],
        _ => -sine(part - 12),
    }
}

/// A bowed arrow, so that two transactions can each point to the other; its ends stay clear of the boxes.
fn arrow(svg: &mut String, from: (i64, i64), to: (i64, i64), kind: &str, number: usize) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let middle = ((from.0 + to.0) / 2 - dy / 6, (from.1 + to.1) / 2 + dx / 6);
    let near = |end: (i64, i64)| {
        let (vx, vy) = (middle.0 - end.0, middle.1 - end.1);
        let length = vx.abs().max(vy.abs() * 2).max(1);
        (end.0 + vx * (BOX.0 / 2 + 6) / length, end.1 + vy * (BOX.0 / 2 + 6) / length)
    };
    let (start, end) = (near(from), near(to));
    let _ = write!(
        svg,
        "<path class=\"edge {0}\" data-edge=\"{number}\" d=\"M{1} {2}Q{3} {4} {5} {6}\" marker-end=\"url(#tip)\"/><text class=\"kind\" \
         x=\"{3}\" y=\"{4}\">{0}</text>",
        escape(kind),
        start.0,
        start.1,
        middle.0,
        middle.1,
        end.0,
        end.1
    );
}
