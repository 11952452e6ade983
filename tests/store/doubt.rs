//! A connection that is lost while the database commits: whether it did is found out, and nothing is told before.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use revbridge::guardrails::Attempt;
use revbridge::model::Money;
use revbridge::store::{Commit, Committed, Step};

use crate::desk::engine::postgres::{Hand, server};
use crate::desk::*;

/// Where the next transaction's connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// What it writes does not reach the database.
    Request = 1,
    /// The database has committed, and does not get to say so.
    Reply = 2,
}

/// Between an engine and its database; cuts one connection when it is told to.
#[derive(Clone)]
struct Wire(Arc<AtomicU8>);

impl Wire {
    /// With the URL that leads through it.
    fn to(database: &str) -> (Self, String) {
        let target = server().address();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://revbridge@{}/{database}", listener.local_addr().unwrap());
        let wire = Self(Arc::default());
        let shared = wire.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(target).unwrap();
                let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (there, here) = (shared.clone(), shared.clone());
                // Every row that these tests write comes with a snapshot, which is sevens.
                thread::spawn(move || there.carry(near, forth, Cut::Request, &[7; 100]));
                thread::spawn(move || here.carry(far, back, Cut::Reply, b"COMMIT\0"));
            }
        });
        (wire, url)
    }

    fn cut(&self, cut: Cut) {
        self.0.store(cut as u8, Ordering::SeqCst);
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, cut: Cut, at: &[u8]) {
        let mut chunk = vec![0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            let here = memchr::memmem::find(&chunk[..read], at).is_some();
            if here && self.0.compare_exchange(cut as u8, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
            if to.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}

struct Scene {
    wire: Wire,
    desk: Desk,
    hand: Hand,
}

impl Scene {
    fn new(name: &str) -> Self {
        let url = server().database(name);
        let (wire, through) = Wire::to(name);
        let mut desk = Desk::open_url(&through, "a", wide(), || ()).unwrap();
        // What follows sends no statement for the first time.
        let first = desk.admit();
        desk.commit(step(&first, Step::Extend { amount: Money::from_micros(1) }));
        desk.commit(settle(&first, Money::ZERO));
        Self { wire, desk, hand: Hand::connect(&url).unwrap() }
    }

    /// What becomes of a commit that is cut off, and how often it is in the ledger under this name.
    fn cut(&mut self, cut: Cut, commit: Commit, kind: &str) -> (Committed, i64) {
        self.wire.cut(cut);
        let call = self.hand.blob(commit.call);
        let committed = self.desk.commit(commit);
        let until = Instant::now() + Duration::from_secs(5);
        while self.desk.store.ping().is_err() {
            assert!(Instant::now() < until, "the engine does not come back");
            thread::sleep(Duration::from_millis(5));
        }
        (committed, self.hand.count(&format!("SELECT count(*) FROM journal WHERE kind = '{kind}' AND call = {call}")))
    }

    fn admitted(&mut self) -> Attempt {
        self.desk.admit()
    }
}

trait Blob {
    fn blob(&self, call: revbridge::model::CallId) -> String;
}

impl Blob for Hand {
    fn blob(&self, call: revbridge::model::CallId) -> String {
        format!("'\\x{}'::bytea", hex::encode(call.to_bytes()))
    }
}

#[test]
fn an_admission_whose_answer_is_lost_is_told_as_what_it_came_to() {
    let mut scene = Scene::new("doubt_admit");
    let attempt = scene.desk.attempt();
    let (committed, written) = scene.cut(Cut::Reply, admit(&attempt), "reserve");
    assert!(matches!(committed, Committed::Admitted { .. }), "{committed:?}");
    assert_eq!(written, 1);
    let attempt = scene.desk.attempt();
    assert_eq!(scene.cut(Cut::Request, admit(&attempt), "reserve"), (Committed::Unavailable, 0));
    let usage = scene.desk.store.usage(&attempt.organization, now()).unwrap().unwrap();
    assert_eq!(usage.legs, 2);
    // Asked for again it is a call like any other.
    assert!(matches!(scene.desk.commit(admit(&attempt)), Committed::Admitted { .. }));
}

#[test]
fn what_a_live_call_owes_is_written_once_whether_the_answer_is_lost_or_the_question() {
    let mut scene = Scene::new("doubt_owed");
    let cent = Money::from_micros(10_000);
    for (n, cut) in [Cut::Reply, Cut::Request].into_iter().enumerate() {
        let live = scene.admitted();
        let extended = scene.cut(cut, step(&live, Step::Extend { amount: cent }), "extend");
        assert_eq!(extended, (Committed::Extended, 1), "{cut:?}");
        let usage = scene.desk.store.usage(&live.organization, now()).unwrap().unwrap();
        assert_eq!(usage.reserved, FIRST_PERIODS + cent, "{cut:?}");
        let kept = Commit { snapshot: Some(vec![7; 300 + n].into()), ..step(&live, Step::Keep) };
        assert_eq!(scene.cut(cut, kept, "nothing"), (Committed::Done, 0), "{cut:?}");
        let snapshots = format!("SELECT count(*) FROM live WHERE octet_length(snapshot) = {}", 300 + n);
        assert_eq!(scene.hand.count(&snapshots), 1, "{cut:?}");
        // A call asks again for its end, and is charged once.
        let (told, _) = scene.cut(cut, settle(&live, cent), "charge");
        assert_eq!(told, Committed::Unavailable, "{cut:?}");
        assert_eq!(scene.desk.commit(settle(&live, cent)), Committed::Done, "{cut:?}");
        let usage = scene.desk.store.usage(&live.organization, now()).unwrap().unwrap();
        assert_eq!((usage.legs, usage.reserved, usage.spent), (0, Money::ZERO, cent.times(n as u64 + 1)), "{cut:?}");
    }
}
