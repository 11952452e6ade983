//! A PostgreSQL that is spoken to by TLS, and one that is not the one that was meant.

use std::path::Path;
use std::process::Command;

use revbridge::model::{Money, Side};
use revbridge::store::Committed;

use crate::desk::engine::postgres::Postgres;
use crate::desk::*;

/// A key and a certificate of an authority of its own, for this machine's address and not for its name.
fn certificates(folder: &Path) {
    let script = "
        for ca in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \\
                -subj /CN=$ca -keyout $ca.key -out $ca.pem
        done
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=db -keyout db.key -out db.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:db.example' > names
        openssl x509 -req -in db.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out db.pem";
    let made = Command::new("sh").args(["-e", "-c", script]).current_dir(folder).output().expect("a shell");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_database_is_believed_by_its_certificate_and_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let postgres = Postgres::start("encrypted");
    let url = postgres.database("encrypted");
    let pem = |name: &str| folder.path().join(name);
    postgres.crash();
    postgres.encrypt(&pem("db.pem"), &pem("db.key"));
    postgres.up();

    let verified = |root: &str| format!("{url}?sslmode=verify-full&sslrootcert={}", pem(root).display());
    let open = |url: &str| Desk::open_url(url, "a", wide(), || ());
    let mut desk = open(&verified("ca.pem")).unwrap();
    let attempt = desk.admit();
    assert!(matches!(desk.commit(permit(&attempt, Side::Destination)), Committed::Permitted(_)));
    assert_eq!(desk.commit(settle(&attempt, Money::ZERO)), Committed::Done);
    assert!(desk.store.get(&attempt.organization, attempt.call).unwrap().is_some(), "a reader's connection too");
    assert_eq!(postgres.unencrypted(), 0, "every connection is by TLS");
    drop(desk);

    let refused = |url: &str, word: &str| {
        let said = open(url).map(drop).unwrap_err().to_string();
        assert!(said.to_lowercase().contains(word), "{said}");
    };
    refused(&verified("other.pem"), "unknownissuer");
    refused(&verified("ca.pem").replace("127.0.0.1", "localhost"), "not valid for name");
    refused(&verified("none.pem"), "none.pem");
    // Without TLS there is no connection at all: the server asks for it.
    refused(&format!("{url}?sslmode=disable"), "pg_hba");
    // Against listeners alone.
    open(&format!("{url}?sslmode=require")).unwrap();
}
