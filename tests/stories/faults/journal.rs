//! What `unsynced.c` noted, and the disk after a power cut: a file or a name that was not flushed
//! is as it was before, or as it is now, or, sector by sector, some of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::Random;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// A change that was not flushed.
enum Change {
    /// Bytes of a file, and the size it had.
    Bytes {
        path: PathBuf,
        offset: usize,
        before: Vec<u8>,
        size: usize,
    },
    Created(PathBuf),
    Removed(PathBuf),
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
}

/// How much of what was not flushed is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// All of it.
    Everything,
    /// Some sectors of files, chosen at random; names stay.
    SomeSectors,
}

/// The journal of a server that was killed.
pub(super) struct Journal {
    path: PathBuf,
    /// Oldest first, with their numbers.
    changes: Vec<(u64, Change)>,
}

impl Journal {
    pub(super) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let mut changes: Vec<(u64, Change)> = Vec::new();
        let mut rest = &bytes[..];
        // A kill may have left the last record half written: the change was not made then.
        while let Some((number, record)) = record(&mut rest) {
            match record {
                Record::Change(change) => changes.push((number, change)),
                Record::Flushed(file) => {
                    let in_file = |change: &Change| matches!(change, Change::Bytes { path, .. } if *path == file);
                    changes.retain(|(_, change)| !in_file(change));
                }
                Record::NamesFlushed(folder) => changes.retain(|(_, change)| {
                    let name = match change {
                        Change::Bytes { .. } => return true,
                        Change::Created(path) | Change::Removed(path) => path,
                        Change::Renamed { to, .. } => to,
                    };
                    name.parent() != Some(&folder)
                }),
            }
        }
        Self {
            path: path.to_owned(),
            changes,
        }
    }

    /// How many changes were not flushed.
    pub(super) fn open(&self) -> usize {
        self.changes.len()
    }

    /// Makes the files that the server left what they may be after a power cut.
    pub(super) fn cut_power(&self, loss: Loss, random: &mut Random) {
        let now = |path: &PathBuf| (path.clone(), fs::read(path).ok());
        let now: Disk = self.names().into_iter().map(now).collect();
        let mut disk = now.clone();
        for (number, change) in self.changes.iter().rev() {
            match change {
                Change::Bytes {
                    path,
                    offset,
                    before,
                    size,
                } => {
                    // A file whose name was lost has nothing to take back.
                    if let Some(Some(bytes)) = disk.get_mut(path) {
                        take_back(bytes, *offset, before, *size);
                    }
                }
                Change::Created(path) if loss == Loss::Everything => {
                    disk.insert(path.clone(), None);
                }
                Change::Removed(path) if loss == Loss::Everything => {
                    disk.insert(path.clone(), self.kept(*number));
                }
                Change::Renamed { from, to } if loss == Loss::Everything => {
                    let moved = disk.insert(to.clone(), self.kept(*number));
                    disk.insert(from.clone(), moved.flatten());
                }
                _ => {}
            }
        }
        for (path, bytes) in disk {
            let now = now.get(&path).cloned().flatten();
            match (bytes, now) {
                (Some(before), Some(now)) if loss == Loss::SomeSectors => {
                    fs::write(path, mixed(&before, &now, random)).unwrap();
                }
                (Some(before), _) => fs::write(path, before).unwrap(),
                (None, Some(_)) => fs::remove_file(path).unwrap(),
                (None, None) => {}
            }
        }
    }

    /// Every name that a change is about, once: thousands of changes are of one file, which is read
    /// whole.
    fn names(&self) -> BTreeSet<&PathBuf> {
        let names = self.changes.iter().flat_map(|(_, change)| match change {
            Change::Bytes { path, .. } | Change::Created(path) | Change::Removed(path) => {
                vec![path]
            }
            Change::Renamed { from, to } => vec![from, to],
        });
        names.collect()
    }

    /// What a name stood for before it was taken away or given to another file.
    fn kept(&self, number: u64) -> Option<Vec<u8>> {
        let mut kept = self.path.clone().into_os_string();
        kept.push(format!(".{number}"));
        fs::read(kept).ok()
    }
}

/// What each name stands for, if anything.
type Disk = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What there was, wherever it was changed.
fn take_back(bytes: &mut Vec<u8>, offset: usize, before: &[u8], size: usize) {
    if bytes.len() < offset + before.len() {
        bytes.resize(offset + before.len(), 0);
    }
    bytes[offset..offset + before.len()].copy_from_slice(before);
    bytes.resize(size, 0);
}

/// Each sector is the one from before or the one from now; so is the length.
fn mixed(before: &[u8], now: &[u8], random: &mut Random) -> Vec<u8> {
    let longest = before.len().max(now.len());
    let mut bytes = Vec::with_capacity(longest);
    for at in (0..longest).step_by(SECTOR) {
        let source = if random.coin() { now } else { before };
        let end = (at + SECTOR).min(longest);
        let part = source.get(at..end.min(source.len())).unwrap_or_default();
        bytes.extend_from_slice(part);
        bytes.resize(end, 0);
    }
    let length = if random.coin() { now } else { before }.len();
    bytes.truncate(length);
    bytes
}

enum Record {
    Change(Change),
    Flushed(PathBuf),
    NamesFlushed(PathBuf),
}

/// The next record with its number; none where the journal ends.
fn record(rest: &mut &[u8]) -> Option<(u64, Record)> {
    let mut at = *rest;
    let kind = take(&mut at, 1)?[0];
    let number = number(&mut at)?;
    let offset = usize::try_from(self::number(&mut at)?).unwrap();
    let length = usize::try_from(self::number(&mut at)?).unwrap();
    let path_length = u32::from_le_bytes(take(&mut at, 4)?.try_into().unwrap());
    let path = take(&mut at, usize::try_from(path_length).unwrap())?;
    let path = std::str::from_utf8(path).unwrap();
    let record = match kind {
        1 | 2 => {
            let size = usize::try_from(self::number(&mut at)?).unwrap();
            Record::Change(Change::Bytes {
                path: path.into(),
                offset,
                before: take(&mut at, length)?.to_vec(),
                size,
            })
        }
        3 => Record::Flushed(path.into()),
        4 => Record::Change(Change::Created(path.into())),
        5 => Record::Change(Change::Removed(path.into())),
        6 => {
            let (to, from) = path.split_at(offset);
            Record::Change(Change::Renamed {
                from: from.into(),
                to: to.into(),
            })
        }
        7 => Record::NamesFlushed(path.into()),
        other => panic!("the journal has a record of the unknown kind {other}"),
    };
    *rest = at;
    Some((number, record))
}

fn number(at: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(at, 8)?.try_into().unwrap()))
}

fn take<'b>(at: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = at.split_at_checked(length)?;
    *at = rest;
    Some(taken)
}
