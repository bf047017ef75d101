//! The museum of bugs: each is planted in the machine, and has to be found by an invariant.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use zraft_core::museum::{Plant, plant};

use crate::{judge::Violation, run::run_seed};

/// A planted bug, and how it was found.
#[derive(Debug)]
pub struct Exhibit {
    /// In words.
    pub name: &'static str,
    /// The seed that found it, counted from 0, and the invariant; none: nothing did.
    pub found: Option<(u64, Violation)>,
}

/// Plants one bug after the other, those whose name contains `only`, and runs up to so many seeds for each.
pub fn museum(only: &str, seeds: u64, jobs: usize) -> Vec<Exhibit> {
    let plants: Vec<_> = Plant::ALL.iter().filter(|(_, name)| name.contains(only)).collect();
    let next = AtomicUsize::new(0);
    let exhibits = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some((bug, name)) = plants.get(place) else { return };
                    let exhibit = Exhibit { name, found: seek(*bug, seeds) };
                    if let Ok(mut exhibits) = exhibits.lock() {
                        exhibits.push((place, exhibit));
                    }
                }
            });
        }
    });
    let mut exhibits = exhibits.into_inner().unwrap_or_default();
    exhibits.sort_by_key(|(place, _)| *place);
    exhibits.into_iter().map(|(_, exhibit)| exhibit).collect()
}

/// The first seed that finds it. A panic within the machine would be an assertion beside the plant, and does not count.
fn seek(bug: Plant, seeds: u64) -> Option<(u64, Violation)> {
    plant(Some(bug));
    let found = (0..seeds).find_map(|seed| {
        let (_, violation) = run_seed(seed, false).violation?;
        (violation.rule != "nothing panics").then_some((seed, violation))
    });
    plant(None);
    found
}

/// The name under which a plant of that name is known.
pub fn planted<T>(name: &str, run: impl FnOnce() -> T) -> Option<T> {
    let (bug, _) = Plant::ALL.iter().find(|(_, known)| *known == name)?;
    plant(Some(*bug));
    let result = run();
    plant(None);
    Some(result)
}
