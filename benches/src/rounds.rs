use std::sync::OnceLock;

use anyhow::Result;

/// Rounds that count; the goals are about medians of at least five.
pub(crate) const ROUNDS: usize = 5;

/// The one side that is run, for a profiler to look at; set once at the start.
pub(crate) static ONLY: OnceLock<Side> = OnceLock::new();

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    Ours,
    Reference,
}

/// The figures of both sides, one of each per round.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    ours: Vec<f64>,
    reference: Vec<f64>,
}

impl Rounds {
    /// Measures both sides in every round, the order swapped each time, so that whatever else the machine does hits
    /// both alike. One round before them warms up and is not counted.
    pub(crate) async fn interleaved(mut measure: impl AsyncFnMut(Side) -> Result<f64>) -> Result<Self> {
        let mut rounds = Self::default();
        if let Some(side) = ONLY.get().copied() {
            for _ in 0..ROUNDS {
                rounds.push(side, measure(side).await?);
            }
            return Ok(rounds);
        }
        for round in 0..=ROUNDS {
            let order = if round % 2 == 0 { [Side::Ours, Side::Reference] } else { [Side::Reference, Side::Ours] };
            for side in order {
                let figure = measure(side).await?;
                if round > 0 {
                    rounds.push(side, figure);
                }
            }
        }
        Ok(rounds)
    }

    /// Figures against a limit that is not measured.
    pub(crate) fn against(limit: f64, figures: Vec<f64>) -> Self {
        Self { reference: vec![limit; figures.len()], ours: figures }
    }

    pub(crate) fn push(&mut self, side: Side, figure: f64) {
        match side {
            Side::Ours => self.ours.push(figure),
            Side::Reference => self.reference.push(figure),
        }
    }

    /// Ours and the reference's.
    pub(crate) fn medians(&self) -> (f64, f64) {
        (quantile(&self.ours, 0.5), quantile(&self.reference, 0.5))
    }

    /// The smallest and the largest ratio of a round.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let ratios = self.ours.iter().zip(&self.reference).map(|(ours, reference)| ours / reference);
        ratios.fold((f64::INFINITY, 0.0), |(low, high), ratio| (low.min(ratio), high.max(ratio)))
    }
}

/// The value below which this share of the values lies (nearest rank).
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)), (50.0, 99.0, 100.0));
        assert_eq!((quantile(&[7.0], 0.99), quantile(&[3.0, 1.0, 2.0], 0.5)), (7.0, 2.0));
    }

    #[tokio::test]
    async fn sides_take_turns_in_swapped_order_and_the_first_round_does_not_count() {
        let mut order = Vec::new();
        let rounds = Rounds::interleaved(async |side| {
            order.push(side);
            Ok(if side == Side::Ours { order.len() as f64 } else { 1.0 })
        });
        let rounds = rounds.await.unwrap();
        assert_eq!(order.len(), 2 * (ROUNDS + 1));
        assert_eq!(order[..4], [Side::Ours, Side::Reference, Side::Reference, Side::Ours]);
        assert_eq!(rounds.ours, [4.0, 5.0, 8.0, 9.0, 12.0]);
        assert_eq!((rounds.medians(), rounds.spread()), ((8.0, 1.0), (4.0, 12.0)));
    }
}
