//! The folder of this server's files, which one process at a time may use.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or written.
    #[error("cannot use the data directory {path}: {reason}")]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Another process uses it.
    #[error("the data directory {0} is in use by another running Hearth; stop that one first")]
    InUse(PathBuf),
}

/// The folder, ours for as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes the folder; makes it, readable by us alone, if it is missing.
    ///
    /// # Errors
    /// It cannot be written, or another process has it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |reason| DataDirError::Unusable {
            path: path.to_owned(),
            reason,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let lock = options.open(path.join("hearth.lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(reason)) => Err(unusable(reason)),
        }
    }

    /// A file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_folder_is_made_for_us_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let _data_dir = DataDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_is_ours_until_we_let_go_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let refused = DataDir::open(folder.path()).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("in use by another running Hearth"),
            "{refused}"
        );
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_a_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path()).unwrap_err().to_string();
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
    }
}
