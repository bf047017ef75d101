//! Draws the plots, SVG files in bench/results/.

use std::{io, path::Path};

use plotters::{
    chart::{ChartBuilder, LabelAreaPosition, SeriesLabelPosition},
    coord::{
        Shift,
        combinators::IntoLogRange,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::PathElement,
    prelude::{Ranged, SVGBackend},
    series::LineSeries,
    style::{BLACK, Color, RGBColor, WHITE},
};
use serde_json::Value;

use super::figures::{figure, rows};
use crate::budget;

/// Width and height in pixels: legible at the width of a page on GitHub.
const SIZE: (u32, u32) = (900, 480);
const FONT: (&str, u32) = ("sans-serif", 15);

/// One line of a plot.
struct Line {
    label: String,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
}

/// The scale of an axis.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    Log,
}

struct Plot {
    file: &'static str,
    title: &'static str,
    x: (&'static str, Scale),
    y: (&'static str, Scale),
    lines: Vec<Line>,
}

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// Draws each plot for which there are figures.
pub(super) fn draw(folder: &Path, results: &Value) -> io::Result<()> {
    let log = Scale::Log;
    let node = node();
    let plots = [
        Plot {
            file: "throughput.svg",
            title: "Requests per second against requests in flight",
            x: ("in flight", log),
            y: ("requests/s", log),
            lines: by_contender(results, "closed", "inFlight", "rate"),
        },
        Plot {
            file: "cpu.svg",
            title: "CPU of the client process per request against requests in flight",
            x: ("in flight", log),
            y: ("µs", log),
            lines: by_contender(results, "closed", "inFlight", "cpu"),
        },
        Plot {
            file: "latency.svg",
            title: "Latency against rate, from the time at which a request is due",
            x: ("requests/s", log),
            y: ("µs", log),
            lines: latencies(results),
        },
        Plot {
            file: "pending.svg",
            title: "Time of a command in the machine against commands pending",
            x: ("pending", log),
            y: ("ns", Scale::Linear),
            lines: pending(results),
        },
        Plot {
            file: "memory.svg",
            title: "Resident memory: warm-up, full load, idle",
            x: ("s", Scale::Linear),
            y: ("MiB", Scale::Linear),
            lines: memory(results),
        },
        Plot {
            file: "node-throughput.svg",
            title: "Node: requests per second against requests in flight",
            x: ("in flight", log),
            y: ("requests/s", log),
            lines: by_subject(&node, "rate"),
        },
        Plot {
            file: "node-cpu.svg",
            title: "Node: CPU of the process per request against requests in flight",
            x: ("in flight", log),
            y: ("µs", log),
            lines: by_subject(&node, "cpu"),
        },
    ];
    for plot in plots.iter().filter(|plot| plot.lines.iter().any(|line| !line.points.is_empty())) {
        let mut svg = String::new();
        draw_one(&mut svg, plot).map_err(|error| io::Error::other(error.to_string()))?;
        std::fs::write(folder.join(plot.file), svg)?;
    }
    Ok(())
}

const CONTENDERS: [(&str, &str, RGBColor); 6] = [
    ("tcp", "raw TCP echo", RGBColor(140, 140, 140)),
    ("zmtp", "bare ZMTP echo", RGBColor(31, 119, 180)),
    ("zraft", "zraft-client", RGBColor(214, 39, 40)),
    ("batch", "zraft-client, submit_commands", RGBColor(148, 103, 189)),
    ("embedded", "zraft-client, embedded server", RGBColor(255, 152, 150)),
    ("libzmq", "libzmq CLIENT echo", RGBColor(44, 160, 44)),
];

fn by_contender(results: &Value, part: &str, x: &str, y: &str) -> Vec<Line> {
    let lines = CONTENDERS.iter().map(|(contender, label, colour)| {
        let rows = rows(results, part).iter().filter(|row| row["contender"] == *contender);
        let points = rows.filter_map(|row| Some((row["at"][x].as_f64()?, figure(row, y)?.median)));
        Line { label: (*label).to_owned(), points: points.collect(), colour: *colour }
    });
    lines.collect()
}

/// Returns the figures of the Node package's own benchmark, if there are any.
fn node() -> Value {
    let file = budget::root().join("packages/node/bench/results/node.json");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn by_subject(node: &Value, name: &str) -> Vec<Line> {
    let subjects = [
        ("zraft-client", RGBColor(214, 39, 40)),
        ("hand-written", RGBColor(31, 119, 180)),
        ("zeromq", RGBColor(44, 160, 44)),
    ];
    let lines = subjects.iter().map(|(subject, colour)| {
        let rows = node["load"].as_array().into_iter().flatten();
        let rows = rows.filter(|row| row["subject"] == *subject);
        let points =
            rows.filter_map(|row| Some((row["inFlight"].as_f64()?, figure(row, name)?.median)));
        Line { label: (*subject).to_owned(), points: points.collect(), colour: *colour }
    });
    lines.collect()
}

fn latencies(results: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    for (percentile, words, lighter) in [("p50", "p50", 110), ("p99", "p99", 0)] {
        for mut line in by_contender(results, "open", "rate", percentile) {
            let RGBColor(red, green, blue) = line.colour;
            let light = |part: u8| part.saturating_add(lighter);
            line.colour = RGBColor(light(red), light(green), light(blue));
            line.label = format!("{}, {words}", line.label);
            lines.push(line);
        }
    }
    lines
}

fn pending(results: &Value) -> Vec<Line> {
    let rows = rows(results, "pending").iter().filter(|row| row["at"]["what"] == "command");
    let points =
        rows.filter_map(|row| Some((row["at"]["pending"].as_f64()?, figure(row, "nanos")?.median)));
    vec![Line {
        label: "a command".to_owned(),
        points: points.collect(),
        colour: RGBColor(214, 39, 40),
    }]
}

fn memory(results: &Value) -> Vec<Line> {
    let series =
        rows(results, "memory").first().and_then(|row| row["rounds"][0]["series"].as_array());
    let points = series.into_iter().flatten();
    let points = points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)));
    vec![Line {
        label: "zraft-client".to_owned(),
        points: points.collect(),
        colour: RGBColor(214, 39, 40),
    }]
}

fn draw_one(svg: &mut String, plot: &Plot) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || plot.lines.iter().flat_map(|line| &line.points).copied();
    let range = |scale: Scale, values: &mut dyn Iterator<Item = f64>| {
        let (least, most) = values
            .fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
        match scale {
            Scale::Log => least.max(1e-3) * 0.8..most.max(1e-3) * 1.25,
            Scale::Linear => 0.0..most * 1.15,
        }
    };
    let x = range(plot.x.1, &mut points().map(|point| point.0));
    let y = range(plot.y.1, &mut points().map(|point| point.1));
    match (plot.x.1, plot.y.1) {
        (Scale::Log, Scale::Log) => draw_on(&root, plot, x.log_scale(), y.log_scale()),
        (Scale::Log, Scale::Linear) => draw_on(&root, plot, x.log_scale(), y),
        (Scale::Linear, Scale::Log) => draw_on(&root, plot, x, y.log_scale()),
        (Scale::Linear, Scale::Linear) => draw_on(&root, plot, x, y),
    }?;
    root.present()
}

fn draw_on<X, Y>(root: &DrawingArea<SVGBackend<'_>, Shift>, plot: &Plot, x: X, y: Y) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(root)
        .caption(plot.title, FONT)
        .margin(12)
        .set_label_area_size(LabelAreaPosition::Left, 80)
        .set_label_area_size(LabelAreaPosition::Bottom, 44)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc(plot.x.0)
        .y_desc(plot.y.0)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .label_style(FONT)
        .light_line_style(BLACK.mix(0.05))
        .draw()?;
    for line in plot.lines.iter().filter(|line| !line.points.is_empty()) {
        let style = line.colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(&line.label)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(FONT)
        .background_style(WHITE.mix(0.8))
        .draw()
}

/// Formats a number for an axis.
fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{} M", value / 1e6),
        _ if value >= 1e3 => format!("{} k", value / 1e3),
        _ => format!("{}", (value * 1e3).round() / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_measured_part_has_a_plot() {
        let folder = std::env::temp_dir().join(format!("zraft-plots-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let row = |level: u64| json!({ "contender": "zraft", "at": { "inFlight": level }, "rounds": [{ "rate": level, "cpu": 1.0 }] });
        draw(&folder, &json!({ "closed": { "rows": [row(1), row(1024)] } })).unwrap();
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.retain(|file| !file.starts_with("node-"));
        files.sort();
        assert_eq!(files, ["cpu.svg", "throughput.svg"]);
        let svg = std::fs::read_to_string(folder.join("cpu.svg")).unwrap();
        assert!(svg.contains("zraft-client") && svg.contains("in flight"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
