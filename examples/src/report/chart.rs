//! The largest groups as horizontal bars.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    ReportError,
    text::{compact, shorten},
};

const WIDTH: u32 = 920;
const ROW: u32 = 34;
const AXIS: u32 = 36;
const LABELS: u32 = 210;
/// How many characters of a label fit beside a bar.
const LABEL: usize = 22;
/// Readable on light and dark paper alike.
const BAR: RGBColor = RGBColor(0x1f, 0x9d, 0x8b);
const REST: RGBColor = RGBColor(0x8a, 0x94, 0xa3);
/// Replaced by the page's own text colour where there is a page.
const INK: RGBColor = RGBColor(0x44, 0x4c, 0x56);

/// One bar of a chart.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// Whether it stands for everything that got no bar of its own.
    pub(super) is_rest: bool,
}

/// Draws the bars from top to bottom as an SVG element.
pub(super) fn draw(bars: &[Bar]) -> Result<String, ReportError> {
    let mut svg = String::new();
    let height = AXIS + ROW * bars.len() as u32;
    draw_on(&SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area(), bars)
        .map_err(|e| ReportError::Chart(e.to_string()))?;
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw_on<'a>(area: &Area<'a>, bars: &[Bar]) -> Result<(), Failure<'a>> {
    let font = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let lengths = lengths(bars);
    let least = lengths.iter().copied().fold(0.0, f64::min);
    let most = lengths.iter().copied().fold(0.0, f64::max);
    let span = if most > least { most - least } else { 1.0 };
    let room = span * 0.17;
    let from = if least < 0.0 { least - room } else { 0.0 };

    let mut chart = ChartBuilder::on(area)
        .x_label_area_size(AXIS)
        .margin_left(LABELS)
        .margin_right(10)
        .build_cartesian_2d(from..most.max(least + span) + room, 0.0..bars.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(6)
        .x_max_light_lines(0)
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.3))
        .x_label_style(font(16))
        .x_label_formatter(&|value| compact(*value))
        .draw()?;

    for (row, (bar, length)) in bars.iter().zip(lengths).enumerate() {
        let top = (bars.len() - row) as f64;
        let color = if bar.is_rest { REST } else { BAR };
        let shape = Rectangle::new([(0.0, top - 0.2), (length, top - 0.8)], color.filled());
        chart.draw_series([shape])?;

        let (end, middle) = chart.backend_coord(&(length, top - 0.5));
        let label = font(18).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(&shorten(&bar.label, LABEL), &label, (LABELS as i32 - 10, middle))?;
        let (side, gap) = if length < 0.0 { (HPos::Right, -6) } else { (HPos::Left, 6) };
        let beside = font(17).pos(Pos::new(side, VPos::Center));
        let cut = if length == bar.value { "" } else { ", cut off" };
        area.draw_text(&(compact(bar.value) + cut), &beside, (end + gap, middle))?;
    }
    area.present()
}

/// How long each bar is drawn: all others together may not dwarf the groups that have a bar.
fn lengths(bars: &[Bar]) -> Vec<f64> {
    let own = bars.iter().filter(|bar| !bar.is_rest).map(|bar| bar.value.abs());
    let longest = own.fold(0.0, f64::max);
    let most = if longest > 0.0 { longest * 1.25 } else { f64::INFINITY };
    let length = |bar: &Bar| bar.value.clamp(-most, most);
    bars.iter().map(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[f64]) -> Vec<Bar> {
        let bar = |value: &f64| Bar { label: format!("g{value}"), value: *value, is_rest: false };
        values.iter().map(bar).collect()
    }

    #[test]
    fn every_bar_is_drawn() {
        for values in [&[3.0, 2.0, 1.0][..], &[1.0, -4.0], &[0.0], &[-1.0, -2.0], &[3e37, 1e-18]] {
            let svg = draw(&bars(values)).unwrap();
            assert_eq!(svg.matches("<rect").count(), values.len(), "{svg}");
            assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"), "{svg}");
        }
    }

    #[test]
    fn the_rest_does_not_dwarf_the_groups() {
        let mut bars = bars(&[4.0, 2.0, 1000.0]);
        bars[2].is_rest = true;
        assert_eq!(lengths(&bars), [4.0, 2.0, 5.0]);
        assert!(draw(&bars).unwrap().contains("1k, cut off"));
    }

    #[test]
    fn labels_cannot_become_markup() {
        let label = "</text><script>alert(1)</script>".to_owned();
        let svg = draw(&[Bar { label, value: 1.0, is_rest: true }]).unwrap();
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
    }
}
