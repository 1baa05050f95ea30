//! The duration of merging, compared with the pairwise comparison that it replaces. `cargo bench --bench merge`

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use kube_static_egress_controller::model::base::cidr::minimal;

/// The number of runs. The best one counts, because noise only adds time.
const RUNS: usize = 5;

fn random(count: usize) -> Vec<Ipv4Net> {
    let mut random = fastrand::Rng::with_seed(1);
    let net = |address| Ipv4Net::new_assert(Ipv4Addr::from(address), 24).trunc();
    (0..count).map(|_| net(random.u32(..))).collect()
}

/// Removes networks that another network contains, by comparing all pairs.
fn pairwise(nets: &[Ipv4Net]) -> Vec<Ipv4Net> {
    let kept = |net: &&Ipv4Net| {
        !nets
            .iter()
            .any(|other| other != *net && other.contains(*net))
    };
    nets.iter().filter(kept).copied().collect()
}

fn best<T>(mut work: impl FnMut() -> T) -> Duration {
    let times = (0..RUNS).map(|_| {
        let started = Instant::now();
        black_box(work());
        started.elapsed()
    });
    times.min().unwrap_or_default()
}

fn main() {
    let never = BTreeSet::new();
    let small = random(10_000);
    let all_pairs = best(|| pairwise(black_box(&small)));
    for count in [10_000, 100_000, 1_000_000] {
        let nets = random(count);
        let took = best(|| minimal(black_box(&nets).iter().copied(), &never));
        let each = took.as_secs_f64() * 1e9 / count as f64;
        println!("measured: merging {count} random /24: {took:?} ({each:.0} ns each)");
        if count == small.len() {
            let ratio = all_pairs.as_secs_f64() / took.as_secs_f64();
            println!(
                "measured: comparing all pairs of {count}: {all_pairs:?}, {ratio:.0} times as long"
            );
        }
    }
}
