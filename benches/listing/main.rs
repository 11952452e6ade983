//! What a page of 50 calls costs in a large store beside a small one: `figure | measured | target | verdict`.
//!
//! ```text
//! 5 thousand calls ─┐
//!                   ├─ the engine's own list, by turns ─▶ median of each, and the ratio of the two
//! 5 million calls ──┘
//! ```
//!
//! Both stores are real files of the same engine with one call every few seconds, so that a page of one is
//! as much text as a page of the other. `cargo bench --bench listing` takes about a minute, most of it to fill
//! the large one, and 6 GB under `target/` while it runs; `-- 500000` fills a smaller one.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Measures: needs the clock.

#[path = "../../tests/store/desk.rs"]
#[allow(dead_code)] // Shared with the tests, which use more of it.
mod desk;
mod fill;

use std::path::Path;
use std::time::{Duration, Instant};

use revbridge::model::{OrganizationId, Status, UserId};
use revbridge::store::CallFilter;

use desk::{Desk, number, wide};

const SMALL: u64 = 5_000;
const LARGE: u64 = 5_000_000;
const PAGE: usize = 50;
/// Of each list, in each store; the two take turns.
const ROUNDS: usize = 41;
/// A list that is slow in the large store is not asked for so often.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(LARGE);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk of the build");
    let [small, large] = [SMALL, count].map(|count| Stock::fill(folder.path(), count));
    println!("figure | measured | target | ok/short");
    let [small_us, large_us] = statements(&small, &large);
    let ratio = large_us / small_us;
    println!("statement of a day: µs of {SMALL}, of {count} | {small_us:.0}, {large_us:.0} | - | -");
    println!("statement of a day: ratio | {ratio:.2} | at most 2 | {}", verdict(ratio <= 2.0));
    for list in lists() {
        let (mut small_us, mut large_us) = (Vec::new(), Vec::new());
        let began = Instant::now();
        for _ in 0..ROUNDS {
            small_us.push(small.list(&list));
            large_us.push(large.list(&list));
            if began.elapsed() > PATIENCE {
                break;
            }
        }
        let (small_us, large_us) = (median(&mut small_us), median(&mut large_us));
        report(&list, count, small_us, large_us);
    }
}

/// What a day's calls came to, in each store: 50 users made them.
fn statements(small: &Stock, large: &Stock) -> [f64; 2] {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (stock, took) in [small, large].into_iter().zip(&mut took) {
            let (organization, day) = (OrganizationId("acme".into()), fill::newest_day());
            let began = Instant::now();
            let statement = stock.desk.store.statement(&organization, day, day).expect("a store that is up");
            took.push(began.elapsed().as_secs_f64() * 1e6);
            assert!(statement.users.len() >= 50, "a day without calls proves nothing");
        }
    }
    took.map(|mut took| median(&mut took))
}

fn report(list: &List, count: u64, small_us: f64, large_us: f64) {
    let ratio = large_us / small_us;
    let name = list.name;
    println!("{name}: µs of {SMALL}, of {count} | {small_us:.0}, {large_us:.0} | - | -");
    match list.judge {
        Judge::Ratio(most) => {
            println!("{name}: ratio | {ratio:.2} | at most {most} | {}", verdict(ratio <= most));
        }
        Judge::Bound(most_ms) => {
            let ms = large_us / 1e3;
            println!(
                "{name}: ms, whatever the store's size | {ms:.2} | at most {most_ms} | {}",
                verdict(ms <= most_ms)
            );
        }
    }
}

fn verdict(ok: bool) -> &'static str {
    if ok { "ok" } else { "short" }
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// A list to ask for.
struct List {
    name: &'static str,
    /// How much of the store is newer than where it begins.
    from: f64,
    /// Reads on until an hour before that.
    an_hour: bool,
    filter: CallFilter,
    judge: Judge,
}

#[derive(Clone, Copy)]
enum Judge {
    /// Beside the small store: that of the page that is as full there.
    Ratio(f64),
    /// Milliseconds: what matches little or nothing is nowhere in the small store.
    Bound(f64),
}

fn lists() -> Vec<List> {
    let all = || CallFilter { limit: PAGE, ..CallFilter::default() };
    let whole = |name, filter, judge| List { name, from: 0.0, an_hour: false, filter, judge };
    let status = |status| CallFilter { status: Some(status), ..all() };
    let user = |user: &str| CallFilter { user: Some(UserId(user.into())), ..all() };
    let (twice, bound) = (Judge::Ratio(2.0), Judge::Bound(50.0));
    vec![
        whole("first page", all(), twice),
        List { name: "page in the middle", from: 0.5, an_hour: false, filter: all(), judge: twice },
        List { name: "page near the end", from: 0.9, an_hour: false, filter: all(), judge: twice },
        List { name: "an hour in the middle", from: 0.5, an_hour: true, filter: all(), judge: twice },
        whole("status=completed, every other", status(Status::Completed), twice),
        whole("status=rejected, 1 in 1,000", status(Status::Rejected), bound),
        whole("status=in_progress, none", status(Status::InProgress), bound),
        whole("user_id, 1 in 50", user("user-7"), twice),
        whole("user_id, 4 calls long ago", user(fill::RARE_USER), bound),
        whole("from_number, 1 in 20", CallFilter { from: Some(number(&fill::owned(7))), ..all() }, twice),
        whole("from_number, 4 calls long ago", CallFilter { from: Some(number(fill::RARE_FROM)), ..all() }, bound),
        whole("to_number, 4 calls long ago", CallFilter { to: Some(number(fill::RARE_TO)), ..all() }, bound),
        whole("to_number, none", CallFilter { to: Some(number("+19995550123")), ..all() }, bound),
        whole(
            "a user and a status that never meet",
            CallFilter { status: Some(Status::Failed), ..user(fill::LUCKY_USER) },
            bound,
        ),
    ]
}

/// A store that is full.
struct Stock {
    desk: Desk,
    count: u64,
}

impl Stock {
    fn fill(folder: &Path, count: u64) -> Self {
        let path = folder.join(format!("{count}.db"));
        drop(Desk::open(&path, wide()).expect("a new store"));
        let began = Instant::now();
        fill::fill(&path, count);
        let took = began.elapsed().as_secs_f64();
        let megabytes = std::fs::metadata(&path).map_or(0, |file| file.len() >> 20);
        eprintln!("filled with {count} calls in {took:.1} s: {megabytes} MB");
        Self { desk: Desk::open(&path, wide()).expect("the store as it was filled"), count }
    }

    /// How long one page takes, in microseconds.
    fn list(&self, list: &List) -> f64 {
        let newer = (self.count as f64 * list.from) as u64;
        let begin = fill::created_at(newer);
        let mut filter = list.filter.clone();
        if list.from > 0.0 && !list.an_hour {
            filter.cursor = Some(fill::row_id(self.count, newer));
        }
        if list.an_hour {
            (filter.before, filter.after) = (Some(begin), Some(begin - Duration::from_secs(3_600)));
        }
        let organization = OrganizationId("acme".into());
        let began = Instant::now();
        let page = self.desk.store.list(&organization, &filter).expect("a store that is up");
        let took = began.elapsed();
        assert!(page.records.len() <= PAGE);
        if matches!(list.judge, Judge::Ratio(_)) {
            assert_eq!(page.records.len(), PAGE, "{}: a page that is not full proves nothing", list.name);
        }
        took.as_secs_f64() * 1e6
    }
}
