//! A pipeline as a self-contained SVG that follows the reader's light or dark scheme.

use std::fmt::Write as _;

use super::layout::{Gaps, Layout, Point, Size, layout};
use super::model::{Item, Model, Shape};
use crate::compile::Description;
use crate::plan::Placement;

/// Width of a character of the titles and of the small text, in pixels: that of the font named below, and a little air.
const TITLE_CHAR: f64 = 8.0;
const SMALL_CHAR: f64 = 6.4;
const GAPS: Gaps = Gaps {
    column: 44.0,
    row: 30.0,
    margin: 16.0,
};

const STYLE: &str = "\
:root{color-scheme:light dark}\
.s{--ink:#1c2430;--soft:#5b6675;--line:#8793a3;--node:#fff;--edge:#2f6fde;--remote:#8a4fd0;--port:#e8eef8;--made:#f4f5f7;--stop:#c23a3a;--paper:#fafbfc}\
@media(prefers-color-scheme:dark){.s{--ink:#e8ecf2;--soft:#a4afbd;--line:#6d7988;--node:#1e2630;--edge:#6ea2f5;--remote:#b98af0;--port:#25344c;--made:#262c34;--stop:#ef7676;--paper:#12171d}}\
.s text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:var(--ink);text-anchor:middle}\
.s .t{font-size:13px;font-weight:600}.s .d{font-size:10.5px;fill:var(--soft)}\
.s .l{font-size:10.5px;fill:var(--soft);paint-order:stroke;stroke:var(--paper);stroke-width:4px}\
.s rect{stroke:var(--line);fill:var(--node)}.s .p rect{fill:var(--port)}\
.s .i rect{fill:var(--made);stroke-dasharray:4 3}.s .o rect{stroke:var(--edge);stroke-width:1.6}\
.s .r rect{stroke:var(--remote);stroke-width:1.8}.s .b{fill:var(--paper);stroke:none}\
.s path{fill:none;stroke:var(--line);stroke-width:1.4}.s .q{stroke:var(--edge);stroke-width:2}\
.s .x{stroke:var(--stop);stroke-dasharray:2 4}.s marker path{fill:var(--line);stroke:none}";

/// The picture of a pipeline as SVG: inserted conversions are dashed, offloaded and remote nodes coloured, arrows that end at
/// a queue thick.
#[must_use]
pub fn to_svg(description: &Description) -> String {
    let model = Model::of(description);
    let sizes: Vec<Size> = model.items.iter().map(size).collect();
    let arrows: Vec<_> = model.arrows.iter().map(|a| (a.from, a.to)).collect();
    let last: Vec<_> = model
        .items
        .iter()
        .map(|item| item.shape == Shape::Output)
        .collect();
    let labels: Vec<f64> = model
        .arrows
        .iter()
        .map(|arrow| chars(&arrow.label) * SMALL_CHAR)
        .collect();
    let placed = layout(&sizes, &arrows, &labels, &last, GAPS);
    let mut svg = head(description, placed.size);
    for (arrow, route) in model.arrows.iter().zip(&placed.routes) {
        let class = if arrow.queued { " class=\"q\"" } else { "" };
        let _ = write!(
            svg,
            "<path{class} marker-end=\"url(#a)\" d=\"{}\"/>",
            curve(route)
        );
    }
    for (on, flushed) in &model.interrupts {
        let route = [
            below(&placed, &sizes, *on),
            below(&placed, &sizes, *flushed),
        ];
        let _ = write!(
            svg,
            "<path class=\"x\" marker-end=\"url(#a)\" d=\"{}\"><title>interrupt</title></path>",
            hanging(route)
        );
    }
    for (item, (corner, size)) in model.items.iter().zip(placed.corners.iter().zip(&sizes)) {
        draw_item(&mut svg, item, *corner, *size);
    }
    for (arrow, route) in model.arrows.iter().zip(&placed.routes) {
        draw_label(&mut svg, &arrow.label, route);
    }
    svg.push_str("</svg>\n");
    svg
}

fn head(description: &Description, size: Size) -> String {
    // Room for the curves of interrupts.
    let (width, height) = (size.width.ceil(), size.height.ceil() + 20.0);
    let name = escaped(&description.name);
    let about = match escaped(&description.description) {
        none if none.is_empty() => none,
        about => format!("<desc>{about}</desc>"),
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"s\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\"><title>{name}</title>{about}<style>{STYLE}</style>\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto-start-reverse\" markerUnits=\"userSpaceOnUse\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\
         <rect class=\"b\" width=\"{width}\" height=\"{height}\"/>"
    )
}

fn chars(text: &str) -> f64 {
    text.chars().fold(0.0, |count, _| count + 1.0)
}

fn size(item: &Item) -> Size {
    let title = chars(&item.title) * TITLE_CHAR;
    let detail = chars(&item.detail) * SMALL_CHAR;
    Size {
        width: title.max(detail).max(40.0) + 24.0,
        height: 42.0,
    }
}

fn draw_item(svg: &mut String, item: &Item, corner: Point, size: Size) {
    let (class, radius) = match item.shape {
        Shape::Input | Shape::Output => ("p", 21),
        Shape::Inserted => ("i", 12),
        Shape::Node(Placement::InPlace) => ("n", 5),
        Shape::Node(Placement::Offload) => ("o", 5),
        Shape::Node(Placement::Remote) => ("r", 5),
    };
    let (x, y) = (corner.x, corner.y);
    let middle = x + size.width / 2.0;
    let _ = write!(
        svg,
        "<g class=\"{class}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{radius}\"/>\
         <text class=\"t\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>\
         <text class=\"d\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text></g>",
        size.width,
        size.height,
        y + 18.0,
        escaped(&item.title),
        y + 33.0,
        escaped(&item.detail),
    );
}

/// The label stands over the first stretch of its arrow.
fn draw_label(svg: &mut String, label: &str, route: &[Point]) {
    if let ([from, to, ..], false) = (route, label.is_empty()) {
        let (x, y) = (
            f64::midpoint(from.x, to.x),
            f64::midpoint(from.y, to.y) - 6.0,
        );
        let label = escaped(label);
        let _ = write!(
            svg,
            "<text class=\"l\" x=\"{x:.1}\" y=\"{y:.1}\">{label}</text>"
        );
    }
}

/// A smooth line through points from left to right.
fn curve(route: &[Point]) -> String {
    let mut path = String::new();
    for (index, point) in route.iter().enumerate() {
        let Some(before) = index.checked_sub(1).and_then(|before| route.get(before)) else {
            let _ = write!(path, "M{:.1} {:.1}", point.x, point.y);
            continue;
        };
        let middle = f64::midpoint(before.x, point.x);
        let _ = write!(
            path,
            "C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}",
            before.y, point.y, point.x, point.y
        );
    }
    path
}

/// The middle of a box's lower side.
fn below(placed: &Layout, sizes: &[Size], item: usize) -> Point {
    Point {
        x: placed.corners[item].x + sizes[item].width / 2.0,
        y: placed.corners[item].y + sizes[item].height,
    }
}

/// A line that hangs below the two boxes that it joins.
fn hanging([from, to]: [Point; 2]) -> String {
    let low = from.y.max(to.y) + 26.0;
    format!(
        "M{:.1} {:.1}C{:.1} {low:.1} {:.1} {low:.1} {:.1} {:.1}",
        from.x, from.y, from.x, to.x, to.x, to.y
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in XML 1.0 at all.
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
