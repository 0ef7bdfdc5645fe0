//! Which mutants are tried: all of them or a random sample, and one machine's share of that.

use std::collections::BTreeMap;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::Mutant;

/// This many mutants of each file are in every sample.
const OF_A_FILE_MIN: usize = 4;
/// `cargo mutants` always tries mutants of this kind in each file that it examines, so they are in every
/// sample.
const ALWAYS_TRIED: &str = ": delete field ";

/// The size and the seed of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// At least this many; `None` for all.
    pub size: Option<usize>,
    /// Decides which ones.
    pub seed: u64,
}

/// The part of a sample that one machine tries: the `index`th of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err("write it like 2/8, the second of eight".to_owned()),
        }
    }
}

impl Sample {
    /// Draws from each file in proportion to its mutants, and a few from every file. A smaller sample with
    /// the same seed is part of a larger one, so its mutants need not be tried again.
    #[must_use]
    pub fn of(&self, all: &[Mutant]) -> Vec<Mutant> {
        let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
        for mutant in all {
            by_file.entry(&mutant.file).or_default().push(mutant);
        }
        let mut sample = Vec::new();
        for of_file in by_file.values_mut() {
            of_file.sort_by_cached_key(|mutant| self.place(mutant));
            let share = self.size.map_or(usize::MAX, |size| (size * of_file.len()).div_ceil(all.len()));
            let size = share.max(OF_A_FILE_MIN);
            let is_drawn =
                |(place, mutant): &(usize, &&Mutant)| *place < size || mutant.name.contains(ALWAYS_TRIED);
            let drawn = of_file.iter().enumerate().filter(is_drawn);
            sample.extend(drawn.map(|(_, mutant)| (*mutant).clone()));
        }
        sample.sort();
        sample
    }

    /// A mutant's random place among the others.
    fn place(&self, mutant: &Mutant) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(mutant.name.as_bytes());
        hash.finalize().into()
    }
}

impl Shard {
    /// The whole sample.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// One machine's part of a sample: each machine gets some mutants of every file.
    #[must_use]
    pub fn of(&self, sample: Vec<Mutant>) -> Vec<Mutant> {
        sample.into_iter().skip(self.index - 1).step_by(self.of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all() -> Vec<Mutant> {
        let of = |file: &str, count| {
            let file = file.to_owned();
            (0..count).map(move |line| Mutant { name: format!("{file}:{line}: x"), file: file.clone() })
        };
        of("long", 100).chain(of("short", 20)).chain(of("tiny", 2)).collect()
    }

    fn sample(size: usize, seed: u64) -> Vec<Mutant> {
        Sample { size: Some(size), seed }.of(&all())
    }

    #[test]
    fn each_file_has_its_share_and_a_few_at_least() {
        let count = |file| sample(12, 1).iter().filter(|mutant| mutant.file == file).count();
        assert_eq!(["long", "short", "tiny"].map(count), [10, 4, 2]);
        assert_eq!(Sample { size: None, seed: 1 }.of(&all()).len(), 122);
    }

    #[test]
    fn what_is_tried_anyway_is_in_every_sample() {
        let mut all = all();
        let name = "long:7: delete field tag from struct Header".to_owned();
        all.push(Mutant { file: "long".to_owned(), name: name.clone() });
        for seed in 0..20 {
            let sample = Sample { size: Some(12), seed }.of(&all);
            assert!(sample.iter().any(|mutant| mutant.name == name), "{seed}");
        }
    }

    #[test]
    fn a_seed_draws_the_same_each_time_and_another_one_others() {
        assert_eq!(sample(50, 1), sample(50, 1));
        assert_ne!(sample(50, 1), sample(50, 2));
        let larger: BTreeSet<_> = sample(80, 1).into_iter().collect();
        assert!(sample(50, 1).iter().all(|mutant| larger.contains(mutant)));
    }

    #[test]
    fn shards_are_the_whole_sample_together_and_share_nothing() {
        let mut together: Vec<_> = ["1/3", "2/3", "3/3"]
            .iter()
            .flat_map(|shard| shard.parse::<Shard>().unwrap().of(all()))
            .collect();
        together.sort();
        let mut whole = Shard::WHOLE.of(all());
        whole.sort();
        assert_eq!(together, whole);
        for wrong in ["0/3", "4/3", "3", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
