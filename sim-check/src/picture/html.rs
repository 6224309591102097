//! One HTML file: it loads nothing, and shows what programs said as text.

use std::fmt::Write;

use super::lanes::Lanes;
use super::{Bar, End, Picture, cycle, witnesses};
use crate::verdict::Evidence;

/// Pixels for an event, and for a lane.
const CELL: usize = 36;
const LANE: usize = 30;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A page with one or more pictures.
pub fn page(pictures: &[Picture]) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>Verdicts</title>\n\
         <style>\n{STYLE}</style></head><body>\n"
    );
    pictures.iter().for_each(|picture| section(&mut html, picture));
    let _ = write!(html, "<div id=\"detail\" hidden></div>\n<script>\n{SCRIPT}</script></body></html>\n");
    html
}

fn section(html: &mut String, picture: &Picture) {
    let class = if picture.valid { "valid" } else { "broken" };
    let (title, sentence) = (escape(&picture.title), escape(&picture.sentence));
    let _ = write!(html, "<section><h1>{title}</h1>\n<p class=\"verdict {class}\">{sentence}</p>\n");
    if let Some(evidence) = &picture.evidence {
        html.push_str(&cycle::graph(evidence));
        argument(html, evidence);
    }
    lanes(html, picture);
    if picture.hidden > 0 {
        let _ = writeln!(html, "<p>{} more operations are not drawn: these are the nearest.</p>", picture.hidden);
    }
    html.push_str("</section>\n");
}

/// What cannot be explained together, and why.
fn argument(html: &mut String, evidence: &Evidence) {
    if let Some(needed) = &evidence.needed {
        let failed = escape(&evidence.failed.what);
        let _ = writeln!(html, "<p>For <b>{failed}</b> to be right, {}.</p>", escape(needed));
    }
    if !evidence.core.is_empty() {
        html.push_str("<p>These cannot be explained together, whatever happened to all others:</p>\n<ol>");
        for witness in witnesses(evidence) {
            let _ = write!(html, "<li>client-{}: {}</li>", witness.process, escape(&witness.what));
        }
        html.push_str("</ol>\n");
    }
    if !evidence.before.is_empty() {
        html.push_str("<p>Just before, the state could be:</p>\n<ul>");
        for situation in &evidence.before {
            let applied = situation.applied.iter().filter_map(|place| evidence.involved.get(*place));
            let applied: Vec<&str> = applied.map(|witness| witness.what.as_str()).collect();
            let after = if applied.is_empty() { String::new() } else { format!(", after {}", applied.join(", ")) };
            let _ = write!(html, "<li>{}{}</li>", escape(&situation.state), escape(&after));
        }
        html.push_str("</ul>\n");
    }
    if !evidence.ties.is_empty() {
        html.push_str("<table class=\"ties\">");
        for tie in &evidence.ties {
            let (from, to, kind, reason) = (tie.from + 1, tie.to + 1, escape(&tie.kind), escape(&tie.reason));
            let _ = write!(html, "<tr><td>T{from} before T{to}</td><td>{kind}</td><td>{reason}</td></tr>");
        }
        html.push_str("</table>\n");
    }
}

fn lanes(html: &mut String, picture: &Picture) {
    if picture.bars.is_empty() {
        return;
    }
    let lanes = Lanes::new(picture);
    let (width, height) = ((lanes.width() + 1) * CELL, lanes.rows().len() * LANE + 24);
    html.push_str("<div class=\"history\"><div class=\"names\">");
    for process in lanes.rows().keys() {
        let _ = write!(html, "<div>client-{process}</div>");
    }
    let _ =
        writeln!(html, "</div><div class=\"scroll\"><div class=\"lanes\" style=\"width:{width}px;height:{height}px\">");
    for band in &picture.bands {
        let (from, to) = (lanes.column(Some(band.from)), lanes.column(band.to));
        let (left, wide) = (from * CELL, ((to.max(from) - from) * CELL).max(4));
        let what = escape(&band.what);
        let _ = writeln!(
            html,
            "<div class=\"band\" style=\"left:{left}px;width:{wide}px\" title=\"{what}\"><span>{what}</span></div>"
        );
    }
    for at in &picture.bars {
        bar(html, picture, &lanes, at);
    }
    html.push_str("</div></div></div>\n");
}

fn bar(html: &mut String, picture: &Picture, lanes: &Lanes, bar: &Bar) {
    let (from, to) = (lanes.column(Some(bar.invoked)), lanes.column(bar.ended));
    let (left, top) = (from * CELL, lanes.row(bar.process) * LANE + 22);
    let wide = ((to.max(from) - from) * CELL).max(CELL / 2);
    let end = match bar.end {
        End::Ok => "ok",
        End::Fail => "fail",
        End::Info => "info",
    };
    let role = picture.role(bar).unwrap_or("");
    let what = escape(&bar.what);
    let mark = if role == "failed" { "\ncannot be explained" } else { "" };
    let ended = bar
        .ended
        .map_or_else(|| "never ended".to_string(), |at| format!("ended at event {}, {} ns", at.index, at.time));
    let _ = writeln!(
        html,
        "<div class=\"bar {end} {role}\" style=\"left:{left}px;top:{top}px;width:{wide}px\" tabindex=\"0\" title=\"client-{}: {what} \
         ({end})\ninvoked at event {}, {} ns\n{ended}{mark}\">{what}</div>",
        bar.process, bar.invoked.index, bar.invoked.time
    );
}

/// Text as text, in elements and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\0' => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
