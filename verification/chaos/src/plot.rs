//! Plots a soak over time as SVG: answers per second, the slowest answer and memory, with a mark where each fault
//! began.

use std::path::Path;

use plotters::{
    chart::ChartBuilder,
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::PathElement,
    prelude::SVGBackend,
    series::LineSeries,
    style::{BLACK, BLUE, Color, RED, WHITE},
};

use crate::{
    failure::Failure,
    series::{Sample, Series},
};

/// Width and height of the picture in pixels: three panels that are legible on a usual screen.
const SIZE: (u32, u32) = (1200, 900);
const FONT: (&str, u32) = ("sans-serif", 16);

/// Draws the plot into a file. `marks` are the times of faults in seconds.
///
/// # Errors
/// Returns a [`Failure`] if the plot cannot be drawn or the file cannot be written.
pub fn draw(file: &Path, title: &str, series: &Series, marks: &[f64]) -> Result<(), Failure> {
    let mut svg = String::new();
    draw_all(&mut svg, title, series.samples(), marks)
        .map_err(|error| Failure::Plot(error.to_string()))?;
    Ok(std::fs::write(file, svg)?)
}

/// The label of a panel, and the value that it shows of a sample.
type Panel = (&'static str, fn(&Sample) -> Option<f64>);
type Drawn<E> = Result<(), DrawingAreaErrorKind<E>>;

fn draw_all(
    svg: &mut String,
    title: &str,
    samples: &[Sample],
    marks: &[f64],
) -> Drawn<std::io::Error> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let panels: [Panel; 3] = [
        ("answers per second", |sample| Some(sample.answered as f64 / sample.seconds)),
        ("slowest answer, ms", |sample| Some(sample.slowest)),
        ("memory, MiB", |sample| sample.memory.map(|kib| kib as f64 / 1024.0)),
    ];
    let areas = root.titled(title, (FONT.0, 22))?.split_evenly((panels.len(), 1));
    for (area, (name, value)) in areas.iter().zip(panels) {
        let points: Vec<_> =
            samples.iter().filter_map(|sample| Some((sample.at, value(sample)?))).collect();
        draw_panel(area, name, &points, marks)?;
    }
    root.present()
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    name: &str,
    points: &[(f64, f64)],
    marks: &[f64],
) -> Drawn<std::io::Error> {
    let end = points.last().map_or(1.0, |point| point.0);
    let top = points.iter().fold(1.0_f64, |top, point| top.max(point.1)) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .x_desc("seconds")
        .y_desc(name)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .axis_style(BLACK)
        .draw()?;
    let mark = |at: &f64| PathElement::new([(*at, 0.0), (*at, top)], RED.mix(0.25));
    chart.draw_series(marks.iter().filter(|at| **at <= end).map(mark))?;
    chart.draw_series(LineSeries::new(points.iter().copied(), BLUE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plot_has_a_panel_and_a_line_per_figure_and_a_mark_per_fault_in_each() {
        let sample = |n: u32| Sample {
            at: f64::from(n),
            seconds: 1.0,
            answered: 100,
            errors: 0,
            slowest: 20.0,
            memory: Some(10_000 + u64::from(n)),
        };
        let samples: Vec<_> = (1..=60).map(sample).collect();
        let mut svg = String::new();
        draw_all(&mut svg, "a soak", &samples, &[10.0, 20.0])
            .expect("drawing into a string cannot fail");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["a soak", "answers per second", "slowest answer, ms", "memory, MiB"] {
            assert!(svg.contains(text), "{text}");
        }
        let lines = |colour: &str| {
            svg.lines().filter(|line| line.contains("<polyline") && line.contains(colour)).count()
        };
        assert_eq!((lines("#0000FF"), lines("#FF0000")), (3, 6));
    }

    #[test]
    fn plot_without_samples_is_empty_but_valid() {
        draw_all(&mut String::new(), "", &[], &[]).expect("drawing into a string cannot fail");
    }
}
