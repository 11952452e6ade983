//! The file with the key that webhook secrets are made with.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use tracing::{info, warn};

use crate::events::SigningKey;

/// Reads the key; makes it when the file is not there.
pub fn read_or_make(path: &Path) -> anyhow::Result<SigningKey> {
    let named = || format!("cannot use the key for webhooks {} ([webhooks] key_file)", path.display());
    match File::open(path) {
        Ok(file) => read(file, path).with_context(named),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path).with_context(named),
        Err(error) => Err(error).with_context(named),
    }
}

fn read(file: File, path: &Path) -> anyhow::Result<SigningKey> {
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        warn!(file = %path.display(), "others than the owner may read the key for webhooks; chmod 600 it");
    }
    let mut text = String::new();
    file.take(1_024).read_to_string(&mut text)?;
    match SigningKey::parse(&text) {
        Some(key) => Ok(key),
        None => bail!("expected 64 hexadecimal digits"),
    }
}

/// Whole or not at all: a key that is cut off would be another key. Of several processes that make it at once all use
/// that of the first.
fn make(path: &Path) -> anyhow::Result<SigningKey> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).context("the system gives no random bytes")?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let unfinished = Path::new(&name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(unfinished)?;
    file.write_all(format!("{}\n", hex::encode(key)).as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(unfinished, path);
    std::fs::remove_file(unfinished)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return read(File::open(path)?, path),
        Err(error) => return Err(error.into()),
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    info!(file = %path.display(), "made a key for webhooks; back it up with the store, and give it to every node");
    Ok(SigningKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = read_or_make(&path).unwrap();
        assert_eq!(read_or_make(&path).unwrap().print(), made.print());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "not a key").unwrap();
        assert!(read_or_make(&path).is_err(), "and is not made again over something else");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a key");
    }
}
