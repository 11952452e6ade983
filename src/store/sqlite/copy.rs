//! A copy of the file as it is at one moment, made beside the writer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{StoreError, schema};

/// Writes the store at `path` to the new file `to`, whole and on the disk, readable by its owner alone. A server may
/// go on using the store. Without success there is no such file.
pub fn backup(path: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::File(to.to_owned(), error);
    if !path.exists() {
        return Err(StoreError::File(path.to_owned(), io::ErrorKind::NotFound.into()));
    }
    if to.exists() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    let partial = partial(to);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial).map_err(failed)?;
    let copied = copy(path, &partial).and_then(|()| settle(&file, &partial, to).map_err(failed));
    if copied.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

fn partial(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// SQLite's own copy: one snapshot, and only what is in use.
fn copy(path: &Path, to: &Path) -> Result<(), StoreError> {
    let db = schema::open_reader(path)?;
    schema::is_ours(&db)?;
    let target = to.to_str().ok_or_else(|| StoreError::File(to.to_owned(), io::ErrorKind::InvalidFilename.into()))?;
    db.execute("VACUUM INTO ?", [target])?;
    let copy = schema::open_reader(to)?;
    let sound: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound == "ok" { Ok(()) } else { Err(StoreError::Damaged(sound)) }
}

/// On the disk under its own name, and its name too.
fn settle(file: &File, partial: &Path, to: &Path) -> io::Result<()> {
    file.sync_all()?;
    std::fs::rename(partial, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
