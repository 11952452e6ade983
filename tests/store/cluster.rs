//! Several nodes on one database: who is heard, who is fenced, and whose the calls are.

use std::time::Duration;

use revbridge::model::Money;
use revbridge::store::cluster::{Cluster, Peer, Unheard};
use revbridge::store::{Committed, Recovered};

use crate::desk::engine::postgres;
use crate::desk::*;

fn node(url: &str, name: &str) -> Desk {
    let desk = Desk::open_url(url, name, wide(), || ()).unwrap();
    desk.heart().beat(None).unwrap();
    desk
}

impl Desk {
    fn heart(&self) -> &dyn Cluster {
        self.store.cluster().expect("a store for several nodes")
    }

    /// How this node sees that one.
    fn sees(&self, name: &str) -> Peer {
        let peers = self.heart().beat(None).unwrap();
        peers.into_iter().find(|peer| &*peer.id == name).unwrap_or_else(|| panic!("no {name}"))
    }
}

#[test]
fn each_node_hears_the_others_and_finds_the_one_that_has_a_call() {
    let url = postgres::server().database("nodes");
    let (mut a, b) = (node(&url, "a"), node(&url, "b"));
    let before = b.sees("a");
    a.heart().beat(Some("http://10.0.0.1:8080")).unwrap();
    let after = b.sees("a");
    assert_eq!((after.epoch, after.beat), (before.epoch, before.beat + 1));
    assert_eq!((before.url, after.url.as_deref()), (None, Some("http://10.0.0.1:8080")));
    let call = a.admit();
    assert_eq!(a.heart().owner(call.call), Ok(None), "its own");
    assert_eq!(b.heart().owner(call.call), Ok(Some(b.sees("a"))));
    a.commit(settle(&call, Money::ZERO));
    let stranger = a.attempt();
    assert_eq!(b.heart().owner(stranger.call), Ok(None), "nobody's");
    // The next process of the same name.
    drop(a);
    let again = node(&url, "a");
    assert_eq!(b.sees("a").epoch, after.epoch + 1);
    drop(again);
}

#[test]
fn of_two_that_take_a_dead_node_over_one_has_its_calls_and_the_dead_one_writes_nothing() {
    let url = postgres::server().database("heirs");
    let (mut a, b, c) = (node(&url, "a"), node(&url, "b"), node(&url, "c"));
    let (call, ended) = (a.admit(), a.admit());
    a.commit(settle(&ended, Money::ZERO));
    let mut own = node(&url, "d");
    let others = own.admit();
    let seen = b.sees("a");
    let heirs: Vec<_> = std::thread::scope(|scope| {
        let heirs: Vec<_> = [&b, &c]
            .map(|desk| {
                let (store, seen) = (desk.store.clone(), &seen);
                scope.spawn(move || store.cluster().unwrap().take_over(seen).unwrap())
            })
            .into_iter()
            .collect();
        heirs.into_iter().map(|heir| heir.join().unwrap()).collect()
    });
    let taken: Vec<&Recovered> = heirs.iter().flatten().collect();
    let [Recovered { calls, last_alive }] = taken[..] else { panic!("one heir: {heirs:?}") };
    let mut ids: Vec<_> = calls.iter().map(|unfinished| unfinished.call).collect();
    ids.sort();
    let mut both = [call.call, ended.call];
    both.sort();
    assert_eq!(ids, both, "also the one that is settled and not forgotten, and no call of another node");
    assert!(last_alive.is_some_and(|at| now().since(at) < Duration::from_secs(10)), "{last_alive:?}");

    // What is over for the store is over for whoever comes back.
    let before = a.attempt();
    assert_eq!(a.commit(admit(&before)), Committed::Unavailable);
    assert_eq!(a.commit(settle(&call, Money::from_micros(7))), Committed::Unavailable);
    assert_eq!(a.heart().beat(None), Err(Unheard::Fenced));
    assert_eq!(a.heart().take_over(&b.sees("c")), Err(Unheard::Fenced));
    assert_eq!(own.heart().owner(others.call), Ok(None), "its own all the same");

    let (mut heir, other) = if heirs[0].is_some() { (b, c) } else { (c, b) };
    assert_eq!(heir.heart().owner(call.call), Ok(None), "its own now");
    assert_eq!(&*other.heart().owner(call.call).unwrap().unwrap().id, heir.heart().node());
    assert_eq!(other.sees("a").beat, 0, "nobody lives under the name");
    assert_eq!(other.heart().take_over(&seen), Ok(None), "too late");
    assert_eq!(heir.commit(settle(&call, Money::from_micros(20_000))), Committed::Done);
    let mut hand = postgres::Hand::connect(&url).unwrap();
    assert_eq!(hand.count("SELECT count(*) FROM journal WHERE kind = 'charge' AND amount = 20000"), 1);
    own.commit(settle(&others, Money::ZERO));
}

#[test]
fn a_node_that_has_moved_meanwhile_is_not_taken_over() {
    let url = postgres::server().database("moved");
    let (mut a, b) = (node(&url, "a"), node(&url, "b"));
    let seen = b.sees("a");
    a.heart().beat(None).unwrap();
    assert_eq!(b.heart().take_over(&seen), Ok(None));
    let call = a.admit();
    assert_eq!(a.commit(settle(&call, Money::ZERO)), Committed::Done);
    assert_eq!(b.heart().take_over(&Peer { id: "nobody".into(), ..seen }), Ok(None));
}

#[test]
fn of_two_that_take_each_other_over_one_lives() {
    for round in 0..4 {
        let url = postgres::server().database(&format!("duel{round}"));
        let (a, b) = (node(&url, "a"), node(&url, "b"));
        let (of_a, of_b) = (b.sees("a"), a.sees("b"));
        // Each look was a beat.
        let of_a = Peer { beat: of_a.beat + 1, ..of_a };
        let duel = std::thread::scope(|scope| {
            let first = scope.spawn(|| a.store.cluster().unwrap().take_over(&of_b));
            let second = b.store.cluster().unwrap().take_over(&of_a);
            [first.join().unwrap(), second]
        });
        let won = duel.iter().filter(|taken| matches!(taken, Ok(Some(_)))).count();
        let lost = duel.iter().filter(|taken| matches!(taken, Err(Unheard::Fenced))).count();
        assert_eq!((won, lost), (1, 1), "{duel:?}");
    }
}
