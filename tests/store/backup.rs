//! The file's own: a copy that is made under load is whole, right, private, and can be started on.

use std::os::unix::fs::PermissionsExt as _;

use revbridge::model::{Money, Side};
use revbridge::store::Committed;
use revbridge::store::engine::StoreError;
use revbridge::store::sqlite::backup;

use crate::audit::file_is_right;
use crate::desk::*;

#[test]
fn a_backup_under_load_is_one_moment_and_a_server_starts_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open_file(&path, wide()).unwrap();
    let live = desk.admit();
    let over = desk.admit();
    desk.commit(settle(&over, Money::from_micros(50)));
    for n in 0..8 {
        let attempts: Vec<_> = (0..30).map(|_| desk.attempt()).collect();
        for attempt in &attempts {
            desk.submit(admit(attempt));
            desk.submit(settle(attempt, Money::from_micros(77)));
        }
        let copy = dir.path().join(format!("copy-{n}"));
        backup(&path, &copy).unwrap();
        (0..60).for_each(|_| assert!(!matches!(desk.wait(), Committed::Unavailable)));
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        file_is_right(&copy);
        let mut restored = Desk::open_file(&copy, wide()).unwrap();
        assert!(restored.recovered.calls.iter().any(|call| call.call == live.call), "what lived is taken up");
        assert_eq!(restored.store.get(&over.organization, over.call).unwrap().unwrap().cost, Money::from_micros(50));
        assert!(matches!(restored.commit(permit(&live, Side::User)), Committed::Permitted(_)));
        assert_eq!(restored.commit(settle(&live, Money::ZERO)), Committed::Done);
        drop(restored);
        file_is_right(&copy);
    }
}

#[test]
fn a_backup_writes_over_nothing_and_leaves_no_half() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
    assert!(matches!(backup(&path, &copy), Err(StoreError::File(..))), "there is nothing to copy");
    drop(Desk::open_file(&path, wide()).unwrap());
    std::fs::write(&copy, "mine").unwrap();
    assert!(matches!(backup(&path, &copy), Err(StoreError::File(..))));
    assert_eq!(std::fs::read(&copy).unwrap(), b"mine");
    let foreign = dir.path().join("foreign");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let other = dir.path().join("other");
    assert!(matches!(backup(&foreign, &other), Err(StoreError::Foreign)));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("other")), "{left:?}");
}
