//! What benchmarks say of several measurements of the same.

/// Least, median and most of at least one figure.
pub fn spread(figures: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let (middle, last) = (figures.len() / 2, figures.len() - 1);
    let median = if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        f64::midpoint(figures[middle - 1], figures[middle])
    };
    [figures[0], median, figures[last]]
}
