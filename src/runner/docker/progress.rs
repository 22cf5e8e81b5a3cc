//! Shows the progress of a pull.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bollard::models::CreateImageInfo;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::runner::progress::{PULLS, Progress};

/// The pause between two lines of the log about one pull.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// How many layers are counted. No image has as many.
const MAX_LAYERS: usize = 1024;

const BAR_TEMPLATE: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";

/// How much of an image has come.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: BTreeMap<String, Layer>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Layer {
    current: u64,
    total: u64,
}

/// The sum over the layers that are known so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) total_bytes: u64,
}

impl Amount {
    /// In whole per cent, if anything is known.
    pub(super) fn percent(self) -> Option<u64> {
        self.bytes.saturating_mul(100).checked_div(self.total_bytes)
    }
}

impl Layers {
    /// Takes note of one message of the engine.
    pub(super) fn update(&mut self, message: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&message.id, &message.status) else {
            return;
        };
        if self.layers.len() >= MAX_LAYERS && !self.layers.contains_key(id) {
            return;
        }
        let detail = message.progress_detail.clone().unwrap_or_default();
        let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        match status.as_str() {
            // The other steps also count, but something else: extraction begins again at 0.
            "Downloading" => {
                let layer = self.layers.entry(id.clone()).or_default();
                layer.current = bytes(detail.current).unwrap_or(layer.current);
                layer.total = bytes(detail.total).unwrap_or(layer.total).max(layer.current);
            }
            "Download complete" | "Pull complete" => {
                if let Some(layer) = self.layers.get_mut(id) {
                    layer.current = layer.total;
                }
            }
            _ => {}
        }
    }

    pub(super) fn amount(&self) -> Amount {
        self.layers.values().fold(Amount { bytes: 0, total_bytes: 0 }, |sum, layer| Amount {
            bytes: sum.bytes.saturating_add(layer.current),
            total_bytes: sum.total_bytes.saturating_add(layer.total),
        })
    }
}

/// Shows one pull.
pub(super) enum Reporter {
    Bar(ProgressBar),
    Log { image: String, last: Instant },
}

impl Reporter {
    pub(super) fn new(progress: Progress, bars: &MultiProgress, image: &str) -> Self {
        tracing::info!(target: PULLS, image, "pulling image");
        match progress {
            Progress::Bar => {
                let style = ProgressStyle::with_template(BAR_TEMPLATE)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = bars.add(ProgressBar::new(0).with_style(style));
                bar.set_message(image.to_owned());
                Self::Bar(bar)
            }
            Progress::Log => Self::Log { image: image.to_owned(), last: Instant::now() },
        }
    }

    pub(super) fn show(&mut self, amount: Amount) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(amount.total_bytes);
                bar.set_position(amount.bytes);
            }
            Self::Log { image, last } if last.elapsed() >= LOG_INTERVAL => {
                *last = Instant::now();
                tracing::info!(
                    target: PULLS,
                    image,
                    bytes = amount.bytes,
                    total_bytes = amount.total_bytes,
                    percent = amount.percent(),
                    "pulling image"
                );
            }
            Self::Log { .. } => {}
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn message(id: &str, status: &str, detail: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: detail.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn the_amount_is_the_sum_of_what_the_layers_downloaded() {
        let mut layers = Layers::default();
        assert_eq!(layers.amount().percent(), None);
        for (message, bytes, total_bytes, percent) in [
            (message("a", "Pulling fs layer", None), 0, 0, None),
            (message("a", "Downloading", Some((10, 100))), 10, 100, Some(10)),
            (message("b", "Downloading", Some((50, 100))), 60, 200, Some(30)),
            (message("a", "Download complete", None), 150, 200, Some(75)),
            (message("a", "Extracting", Some((1, 100))), 150, 200, Some(75)),
            (message("c", "Already exists", None), 150, 200, Some(75)),
            (message("b", "Downloading", Some((120, -1))), 220, 220, Some(100)),
        ] {
            layers.update(&message);
            assert_eq!(layers.amount(), Amount { bytes, total_bytes });
            assert_eq!(layers.amount().percent(), percent);
        }
        layers.update(&CreateImageInfo::default());
    }

    #[test]
    fn the_layers_are_bounded() {
        let mut layers = Layers::default();
        for layer in 0..=MAX_LAYERS {
            layers.update(&message(&layer.to_string(), "Downloading", Some((1, 1))));
        }
        assert_eq!(layers.layers.len(), MAX_LAYERS);
    }

    #[test]
    fn the_template_of_the_bar_is_one() {
        assert!(ProgressStyle::with_template(BAR_TEMPLATE).is_ok());
    }
}
