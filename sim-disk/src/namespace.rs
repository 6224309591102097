//! Paths, and the calls that change names, with the errors of Linux in its order.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::content::Content;
use crate::effect::Entry;
use crate::errno::Errno;
use crate::open::{Follow, Mode};
use crate::volume::{Body, Directory, Ino, Kind, Name, ROOT, Volume};

/// NAME_MAX of limits.h.
const LONGEST_NAME: usize = 255;

/// PATH_MAX of limits.h, with its NUL.
const LONGEST_PATH: usize = 4096;

/// How many symbolic links a path may go through (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Where a path ends.
pub(crate) struct Place {
    dir: Ino,
    /// None for the root, `.` and `..`.
    name: Option<Name>,
    pub(crate) ino: Option<Ino>,
    /// The path ends with a slash, and so must lead to a directory.
    slash: bool,
}

/// How rename(2) deals with a name that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rename {
    /// Takes its place.
    #[default]
    Replace,
    /// Fails with EEXIST (RENAME_NOREPLACE).
    NoReplace,
    /// Swaps the two (RENAME_EXCHANGE).
    Exchange,
}

fn valid(name: &OsStr) -> io::Result<Name> {
    match name.len() > LONGEST_NAME {
        true => Err(Errno::NameTooLong.into()),
        false => Ok(name.into()),
    }
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// Refuses what is no path.
fn check(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    match bytes {
        [] => Err(Errno::NotFound.into()),
        _ if bytes.contains(&0) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a path must not contain NUL")),
        _ if bytes.len() >= LONGEST_PATH => Err(Errno::NameTooLong.into()),
        _ => Ok(()),
    }
}

enum Step {
    Root,
    Up,
    Stay,
    Down(Name),
}

fn steps(path: &Path) -> io::Result<VecDeque<Step>> {
    let step = |component| match component {
        Component::Normal(name) => valid(name).map(Step::Down),
        Component::ParentDir => Ok(Step::Up),
        Component::CurDir => Ok(Step::Stay),
        Component::RootDir | Component::Prefix(_) => Ok(Step::Root),
    };
    // `Path` leaves out a dot at the end, and what is before it must be a directory all the same.
    let bytes = path.as_os_str().as_encoded_bytes();
    let dot = (bytes.ends_with(b"/.") || bytes.ends_with(b"/./")).then_some(Ok(Step::Stay));
    path.components().map(step).chain(dot).collect()
}

// Finding.
impl Volume {
    fn names_in(&self, dir: Ino) -> io::Result<&Directory> {
        self.get(dir).directory()
    }

    /// Walks to the end of a path, from the root.
    pub(crate) fn walk(&self, path: &Path, follow: Follow) -> io::Result<Place> {
        self.walk_to_open(path, follow, false)
    }

    /// As [`walk`](Volume::walk), for an open that may make a file: a slash at the end, also one that a symbolic link says,
    /// is refused before what it would follow is looked at.
    fn walk_to_open(&self, path: &Path, follow: Follow, makes: bool) -> io::Result<Place> {
        self.may_read()?;
        check(path)?;
        let mut slash = ends_in_slash(path);
        let mut todo = steps(path)?;
        let (mut at, mut links) = (ROOT, 0);
        while let Some(step) = todo.pop_front() {
            let name = match step {
                Step::Root => {
                    at = ROOT;
                    continue;
                }
                Step::Stay => {
                    self.names_in(at)?;
                    continue;
                }
                Step::Up => {
                    at = self.names_in(at)?.parent;
                    continue;
                }
                Step::Down(name) => name,
            };
            let found = self.names_in(at)?.live.get(&name).copied();
            let last = todo.is_empty();
            let target = match found.map(|ino| &self.get(ino).body) {
                Some(Body::Symlink(target)) if !last || (follow == Follow::Always && !(makes && slash)) => {
                    target.clone()
                }
                _ if last => return Ok(Place { dir: at, name: Some(name), ino: found, slash }),
                _ => {
                    at = found.ok_or(Errno::NotFound)?;
                    continue;
                }
            };
            links += 1;
            slash |= last && ends_in_slash(&target);
            if links > MOST_LINKS {
                return Err(Errno::TooManyLinks.into());
            }
            for step in steps(&target)?.into_iter().rev() {
                todo.push_front(step);
            }
        }
        Ok(Place { dir: at, name: None, ino: Some(at), slash })
    }

    /// What a path leads to.
    pub(crate) fn resolve(&self, path: &Path, follow: Follow) -> io::Result<Ino> {
        let place = self.walk(path, if ends_in_slash(path) { Follow::Always } else { follow })?;
        let ino = place.ino.ok_or(Errno::NotFound)?;
        if place.slash {
            self.names_in(ino)?;
        }
        Ok(ino)
    }

    /// A place for a new name.
    fn vacancy(&self, path: &Path) -> io::Result<(Ino, Name, bool)> {
        let place = self.walk(path, Follow::NotLast)?;
        match (place.name, place.ino) {
            (Some(name), None) => Ok((place.dir, name, place.slash)),
            _ => Err(Errno::Exists.into()),
        }
    }

    /// The path of an inode that has a name, or its target for one that has none.
    pub(crate) fn path_of(&self, mut dir: Ino) -> PathBuf {
        let mut names = Vec::new();
        while dir != ROOT {
            let Ok(directory) = self.names_in(dir) else { break };
            let parent = directory.parent;
            let Some(names_above) = self.inodes.get(&parent).and_then(|inode| inode.directory().ok()) else { break };
            let name = names_above.live.iter().find(|(_, ino)| **ino == dir);
            names.extend(name.map(|(name, _)| name.clone()));
            dir = parent;
        }
        let mut path = PathBuf::from("/");
        names.iter().rev().for_each(|name| path.push(&**name));
        path
    }

    /// The path without links, `.` and `..`.
    pub(crate) fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        let ino = self.resolve(path, Follow::Always)?;
        let place = self.walk(path, Follow::Always)?;
        Ok(match place.name {
            Some(name) => self.path_of(place.dir).join(&*name),
            None => self.path_of(ino),
        })
    }

    fn is_inside(&self, mut dir: Ino, outer: Ino) -> bool {
        while dir != outer && dir != ROOT {
            dir = self.names_in(dir).map_or(ROOT, |directory| directory.parent);
        }
        dir == outer
    }

    /// The names in a directory and what each leads to, in order.
    pub(crate) fn list(&self, dir: Ino) -> io::Result<Vec<(Name, Ino, Kind)>> {
        let kind = |ino: &Ino| match self.get(*ino).body {
            Body::File(_) => Kind::File,
            Body::Directory(_) => Kind::Directory,
            Body::Symlink(_) => Kind::Symlink,
        };
        self.may_read()?;
        let live = &self.names_in(dir)?.live;
        Ok(live.iter().map(|(name, ino)| (name.clone(), *ino, kind(ino))).collect())
    }
}

// Changing.
impl Volume {
    fn link_at(&mut self, dir: Ino, name: Name, to: Option<Ino>) {
        self.relink(vec![Entry { dir, name, to }], None);
    }

    fn add(&mut self, dir: Ino, name: Name, body: Body, mode: u32) -> io::Result<Ino> {
        self.may_write()?;
        if self.get(dir).links == 0 {
            return Err(Errno::NotFound.into());
        }
        let ino = self.add_inode(body, mode);
        self.link_at(dir, name, Some(ino));
        Ok(ino)
    }

    /// Opens a file or directory, and makes a file where the mode says so. True: it is new.
    pub(crate) fn open(&mut self, path: &Path, mode: &Mode) -> io::Result<(Ino, bool)> {
        let makes = mode.create || mode.create_new;
        let stays = mode.create_new || (mode.no_follow && !ends_in_slash(path));
        let follow = if stays { Follow::NotLast } else { Follow::Always };
        let place = self.walk_to_open(path, follow, makes)?;
        let Some(ino) = place.ino else {
            return match place.name {
                Some(_) if !makes => Err(Errno::NotFound.into()),
                Some(_) if place.slash => Err(Errno::IsADirectory.into()),
                Some(name) => Ok((self.add(place.dir, name, Body::File(Content::default()), mode.permissions)?, true)),
                None => Err(Errno::IsADirectory.into()),
            };
        };
        if makes && place.slash {
            return Err(Errno::IsADirectory.into());
        }
        if mode.create_new {
            return Err(Errno::Exists.into());
        }
        match &self.get(ino).body {
            Body::Symlink(_) => return Err(Errno::TooManyLinks.into()),
            Body::Directory(_) if mode.writes() || makes => return Err(Errno::IsADirectory.into()),
            Body::File(_) if place.slash || mode.directory => return Err(Errno::NotADirectory.into()),
            _ => {}
        }
        if mode.writes() || mode.truncate {
            self.may_write()?;
        }
        if mode.truncate {
            self.change_content(ino, |content, order, load| content.set_size(order, 0, load))?;
        }
        Ok((ino, false))
    }

    pub(crate) fn mkdir(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let (dir, name, _) = self.vacancy(path)?;
        let body = Body::Directory(Directory { parent: dir, ..Directory::default() });
        self.add(dir, name, body, mode).map(drop)
    }

    pub(crate) fn symlink(&mut self, target: &Path, path: &Path) -> io::Result<()> {
        check(target)?;
        let (dir, name, slash) = self.vacancy(path)?;
        if slash {
            return Err(Errno::NotFound.into());
        }
        self.add(dir, name, Body::Symlink(Rc::from(target)), 0o777).map(drop)
    }

    pub(crate) fn readlink(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.get(self.resolve(path, Follow::NotLast)?).body {
            Body::Symlink(target) => Ok(target.to_path_buf()),
            _ => Err(Errno::Invalid.into()),
        }
    }

    pub(crate) fn rmdir(&mut self, path: &Path) -> io::Result<()> {
        let place = self.walk(path, Follow::NotLast)?;
        let Some(name) = place.name else { return Err(self.no_name(place.dir, path).into()) };
        let directory = self.names_in(place.ino.ok_or(Errno::NotFound)?)?;
        if !directory.live.is_empty() {
            return Err(Errno::NotEmpty.into());
        }
        self.may_write()?;
        self.link_at(place.dir, name, None);
        Ok(())
    }

    /// The error of rmdir(2) for a path that ends in no name.
    fn no_name(&self, at: Ino, path: &Path) -> Errno {
        match path.components().next_back() {
            _ if at == ROOT && path.components().all(|step| step == Component::RootDir) => Errno::Busy,
            _ if path.as_os_str().as_encoded_bytes().ends_with(b"/.") => Errno::Invalid,
            Some(Component::ParentDir) => Errno::NotEmpty,
            Some(Component::CurDir) => Errno::Invalid,
            _ => Errno::Busy,
        }
    }

    pub(crate) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let place = self.walk(path, Follow::NotLast)?;
        let name = place.name.ok_or(Errno::IsADirectory)?;
        let ino = place.ino.ok_or(Errno::NotFound)?;
        match self.get(ino).body {
            Body::Directory(_) => return Err(Errno::IsADirectory.into()),
            _ if place.slash => return Err(Errno::NotADirectory.into()),
            _ => {}
        }
        self.may_write()?;
        self.link_at(place.dir, name, None);
        Ok(())
    }

    pub(crate) fn link(&mut self, original: &Path, new: &Path, follow: Follow) -> io::Result<()> {
        let ino = self.resolve(original, follow)?;
        let (dir, name, slash) = self.vacancy(new)?;
        if slash {
            return Err(Errno::NotFound.into());
        }
        if self.get(ino).is_directory() {
            return Err(Errno::NotPermitted.into());
        }
        self.may_write()?;
        self.link_at(dir, name, Some(ino));
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> io::Result<()> {
        let (from, to) = (self.walk(from, Follow::NotLast)?, self.walk(to, Follow::NotLast)?);
        let busy = if how == Rename::NoReplace { Errno::Exists } else { Errno::Busy };
        let (from_name, to_name) = (from.name.clone().ok_or(Errno::Busy)?, to.name.clone().ok_or(busy)?);
        let ino = from.ino.ok_or(Errno::NotFound)?;
        self.may_rename(&from, &to, ino, how)?;
        if to.ino == Some(ino) {
            return Ok(());
        }
        self.may_write()?;
        let replaces = to.ino.filter(|_| how != Rename::Exchange).map(|_| ino);
        let flushes = replaces.filter(|ino| self.get(*ino).content().is_some());
        let left = if how == Rename::Exchange { to.ino } else { None };
        let arrives = Entry { dir: to.dir, name: to_name, to: Some(ino) };
        self.relink(vec![arrives, Entry { dir: from.dir, name: from_name, to: left }], flushes);
        Ok(())
    }

    /// The checks of rename(2), in the order in which Linux makes them.
    fn may_rename(&self, from: &Place, to: &Place, ino: Ino, how: Rename) -> io::Result<()> {
        let is_directory = self.get(ino).is_directory();
        match (how, to.ino) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::Exists.into()),
            (Rename::Exchange, None) => return Err(Errno::NotFound.into()),
            (Rename::Exchange, Some(target)) if to.slash => drop(self.names_in(target)?),
            _ => {}
        }
        if !is_directory && (from.slash || (to.slash && how != Rename::Exchange)) {
            return Err(Errno::NotADirectory.into());
        }
        if is_directory && self.is_inside(to.dir, ino) {
            return Err(Errno::Invalid.into());
        }
        let Some(target) = to.ino.filter(|target| *target != ino) else { return Ok(()) };
        if self.get(target).is_directory() && self.is_inside(from.dir, target) {
            return Err(if how == Rename::Exchange { Errno::Invalid } else { Errno::NotEmpty }.into());
        }
        match self.names_in(target) {
            _ if how == Rename::Exchange => Ok(()),
            Err(error) if is_directory => Err(error),
            Ok(_) if !is_directory => Err(Errno::IsADirectory.into()),
            Ok(directory) if !directory.live.is_empty() => Err(Errno::NotEmpty.into()),
            _ => Ok(()),
        }
    }
}
