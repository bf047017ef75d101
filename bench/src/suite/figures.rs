//! Turns rounds into figures: the median, the minimum and the maximum.

use serde_json::Value;

/// One figure over several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Figure {
    /// Returns the figure of these values, or `None` if there is none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, least, most })
    }
}

/// Returns the figure `name` over a row's rounds.
pub(super) fn figure(row: &Value, name: &str) -> Option<Figure> {
    Figure::of(rounds(row).iter().filter_map(|round| round[name].as_f64()))
}

/// Returns the ratio of the figure `name` of a row to that of a reference, round by round.
pub(super) fn ratio(row: &Value, reference: &Value, name: &str) -> Option<Figure> {
    let pairs = rounds(row).iter().zip(rounds(reference));
    Figure::of(pairs.filter_map(|(one, other)| Some(one[name].as_f64()? / other[name].as_f64()?)))
}

/// Returns the difference of the figure `name` of a row from that of a reference, round by round.
pub(super) fn difference(row: &Value, reference: &Value, name: &str) -> Option<Figure> {
    let pairs = rounds(row).iter().zip(rounds(reference));
    Figure::of(pairs.filter_map(|(one, other)| Some(one[name].as_f64()? - other[name].as_f64()?)))
}

fn rounds(row: &Value) -> &[Value] {
    row["rounds"].as_array().map_or(&[], Vec::as_slice)
}

/// Returns the rows of a part.
pub(super) fn rows<'a>(results: &'a Value, part: &str) -> &'a [Value] {
    results[part]["rows"].as_array().map_or(&[], Vec::as_slice)
}

/// Returns the row of a contender with the same settings.
pub(super) fn same<'a>(rows: &'a [Value], row: &Value, contender: &str) -> Option<&'a Value> {
    rows.iter().find(|other| other["contender"] == contender && other["at"] == row["at"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn median_lies_between_minimum_and_maximum() {
        let figure = Figure::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((figure.least, figure.median, figure.most), (1.0, 2.0, 3.0));
        assert_eq!(Figure::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Figure::of([]), None);
    }

    #[test]
    fn ratios_and_differences_compare_the_same_round() {
        let row =
            |values: [f64; 3]| json!({ "rounds": values.map(|rate| json!({ "rate": rate })) });
        let ratio = ratio(&row([10.0, 20.0, 90.0]), &row([20.0, 40.0, 100.0]), "rate").unwrap();
        assert_eq!((ratio.least, ratio.median, ratio.most), (0.5, 0.5, 0.9));
        let more = difference(&row([10.0, 20.0, 90.0]), &row([20.0, 40.0, 100.0]), "rate").unwrap();
        assert_eq!((more.least, more.median, more.most), (-20.0, -10.0, -10.0));
    }
}
