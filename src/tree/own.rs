//! One's own changes that the account does not show yet, over what it showed last.
//!
//! What was changed here is shown as it was left, whatever a listing says, until the account was told of
//! it and a listing made later can be believed: the service's listings lag (API reference 10). Matched by
//! inode number, which an entry keeps when it moves or gets another id; ids that are on their way out
//! are matched by themselves. Pure.
use super::inode::Ino;
use super::listing::Listing;
use super::names;
use super::node::{Node, NodeKey};
use crate::util::clock::Moment;
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

/// How long after it was told something the account may still show it as before (API reference 10).
pub(super) const LAG: Duration = Duration::from_secs(120);

/// All changes of one's own.
#[derive(Debug, Default)]
pub(super) struct Own {
    shown: HashMap<Ino, Shown>,
    /// The names of those that are there, by folder.
    names: HashMap<Ino, BTreeMap<Box<OsStr>, Ino>>,
    /// What need not be remembered any more, since [`Own::take_over`], and the folder whose listing says so.
    over: Vec<(Ino, Ino)>,
    /// Ids that are not shown any more, with the folders whose listings may have them, and since when the account
    /// does not have them there.
    hidden: HashMap<NodeKey, Vec<(Ino, Option<Moment>)>>,
    /// Where calls whose outcome is not known may have put something: folder and name.
    doubts: HashMap<Ino, (Ino, Box<OsStr>)>,
}

/// What is shown of one entry.
#[derive(Debug)]
struct Shown {
    /// `None` when it is gone.
    node: Option<Arc<Node>>,
    /// The folder whose listings show it, or showed it.
    folder: Ino,
    /// When the account had been told of all of it.
    told: Option<Moment>,
}

impl Own {
    /// Whether there is none, so that every listing is right as it is.
    pub(super) fn is_empty(&self) -> bool {
        self.shown.is_empty() && self.hidden.is_empty() && self.doubts.is_empty()
    }

    /// It is there, as this and nowhere else.
    pub(super) fn show(&mut self, node: &Arc<Node>) {
        self.forget(node.ino);
        let names = self.names.entry(node.parent).or_default();
        names.insert(node.name.clone(), node.ino);
        let shown = Shown {
            folder: node.parent,
            node: Some(Arc::clone(node)),
            told: None,
        };
        self.shown.insert(node.ino, shown);
    }

    /// It is gone from a folder.
    pub(super) fn remove(&mut self, ino: Ino, folder: Ino) {
        self.forget(ino);
        let shown = Shown {
            node: None,
            folder,
            told: None,
        };
        self.shown.insert(ino, shown);
    }

    /// The account knows all of it since `now`.
    pub(super) fn told(&mut self, ino: Ino, now: Moment) {
        if let Some(shown) = self.shown.get_mut(&ino) {
            shown.told = Some(now);
        }
    }

    /// An id is not shown in its folder any more; since `removed` the account does not have it.
    pub(super) fn hide(&mut self, key: NodeKey, folder: Ino, removed: Option<Moment>) {
        let places = self.hidden.entry(key).or_default();
        places.retain(|(place, _)| *place != folder);
        places.push((folder, removed));
    }

    /// An id is in a folder again.
    pub(super) fn unhide(&mut self, key: NodeKey, folder: Ino) {
        if let Entry::Occupied(mut places) = self.hidden.entry(key) {
            places.get_mut().retain(|(place, _)| *place != folder);
            if places.get().is_empty() {
                places.remove();
            }
        }
    }

    /// Whether an id is not shown in a folder any more.
    fn is_hidden(&self, key: &NodeKey, folder: Ino) -> bool {
        let places = self.hidden.get(key);
        places.is_some_and(|places| places.iter().any(|(place, _)| *place == folder))
    }

    /// The folders whose listings may show a hidden id.
    pub(super) fn hidden_in(&self, key: &NodeKey) -> Vec<Ino> {
        let places = self.hidden.get(key).into_iter().flatten();
        places.map(|(folder, _)| *folder).collect()
    }

    /// Whether a listing made `now` may have an id in a folder that the account does not have there any more.
    pub(super) fn may_show(&self, key: &NodeKey, folder: Ino, now: Moment) -> bool {
        let mut places = self.hidden.get(key).into_iter().flatten();
        places.any(|(place, removed)| {
            *place == folder && removed.is_some_and(|removed| now < removed.after(LAG))
        })
    }

    /// A call may have put it under a name in a folder; with `None` it is known again where it is.
    pub(super) fn doubt(&mut self, ino: Ino, place: Option<(Ino, Box<OsStr>)>) {
        match place {
            Some(place) => self.doubts.insert(ino, place),
            None => self.doubts.remove(&ino),
        };
    }

    /// Whether what a folder's answer shows under a name for the first time may be what is shown already.
    pub(super) fn is_doubted(&self, folder: Ino, name: &OsStr) -> bool {
        let mut places = self.doubts.values();
        places.any(|(at, called)| *at == folder && **called == *name)
    }

    /// What was removed need not be remembered: no listing can show it.
    pub(super) fn drop_removed(&mut self, ino: Ino) {
        if self
            .shown
            .get(&ino)
            .is_some_and(|shown| shown.node.is_none())
        {
            self.shown.remove(&ino);
        }
    }

    /// The folder from which an inode was removed.
    pub(super) fn gone_from(&self, ino: Ino) -> Option<Ino> {
        let shown = self.shown.get(&ino)?;
        shown.node.is_none().then_some(shown.folder)
    }

    /// What is shown of an inode, if it was changed here: `Some(None)` when it is gone.
    #[expect(clippy::option_option, reason = "unchanged and gone are two things")]
    pub(super) fn get(&self, ino: Ino) -> Option<Option<&Arc<Node>>> {
        self.shown.get(&ino).map(|shown| shown.node.as_ref())
    }

    /// The entry of one's own called `name` in a folder.
    pub(super) fn find(&self, folder: Ino, name: &OsStr) -> Option<&Arc<Node>> {
        let ino = self.names.get(&folder)?.get(name)?;
        self.shown.get(ino)?.node.as_ref()
    }

    /// The entries of one's own in a folder.
    pub(super) fn entries(&self, folder: Ino) -> impl Iterator<Item = &Arc<Node>> {
        let inos = self
            .names
            .get(&folder)
            .into_iter()
            .flat_map(BTreeMap::values);
        inos.filter_map(|ino| self.shown.get(ino)?.node.as_ref())
    }

    /// Whether an entry of a listing is not to be shown as the listing has it.
    pub(super) fn hides(&self, node: &Node) -> bool {
        self.shown.contains_key(&node.ino) || self.is_hidden(&node.key(), node.parent)
    }

    /// Whether what a folder's answer shows under a name is gone from there, or is to go: it must not
    /// make what is there now a duplicate of its.
    pub(super) fn is_elsewhere(&self, key: NodeKey, ino: Ino, folder: Ino, name: &OsStr) -> bool {
        let is_there = |node: &Arc<Node>| node.parent == folder && *node.name == *name;
        self.is_hidden(&key, folder)
            || self
                .shown
                .get(&ino)
                .is_some_and(|shown| !shown.node.as_ref().is_some_and(is_there))
    }

    /// A listing with one's own changes. What others put under a name that is taken here gets a number.
    pub(super) fn over(&self, listing: &Arc<Listing>) -> Arc<Listing> {
        let own: Vec<&Arc<Node>> = self.entries(listing.ino()).collect();
        let is_as_listed = own.is_empty() && !listing.entries().iter().any(|node| self.hides(node));
        if is_as_listed {
            return Arc::clone(listing);
        }
        let kept = listing.entries().iter().filter(|node| !self.hides(node));
        let mut entries: Vec<Arc<Node>> = kept
            .map(|node| match self.find(listing.ino(), &node.name) {
                Some(_) => self.numbered(listing, node),
                None => Arc::clone(node),
            })
            .collect();
        entries.extend(own.into_iter().cloned());
        Arc::new(listing.replaced(entries))
    }

    /// The entry called `name` in a folder with this listing, without making all of [`Own::over`].
    pub(super) fn look_up(&self, listing: &Arc<Listing>, name: &OsStr) -> Option<Arc<Node>> {
        if let Some(node) = self.find(listing.ino(), name) {
            return Some(Arc::clone(node));
        }
        if let Some(node) = listing.get(name) {
            return (!self.hides(node)).then(|| Arc::clone(node));
        }
        // Only an entry that gave way to one's own bears a name that neither knows.
        let may_be_numbered = name.as_encoded_bytes().windows(2).any(|pair| pair == b" (");
        let has_own = self.names.contains_key(&listing.ino());
        if may_be_numbered && has_own {
            return self.over(listing).get(name).cloned();
        }
        None
    }

    /// Lets go of what a folder's listing made at `fetched` can be believed about.
    pub(super) fn confirm(&mut self, folder: Ino, fetched: Moment) {
        let is_over = |place: Ino, told: Option<Moment>| {
            place == folder && told.is_some_and(|told| told.after(LAG) <= fetched)
        };
        self.hidden.retain(|_, places| {
            places.retain(|(place, removed)| !is_over(*place, *removed));
            !places.is_empty()
        });
        let shown = self.shown.iter();
        let over = shown.filter(|(_, shown)| is_over(shown.folder, shown.told));
        let over: Vec<Ino> = over.map(|(ino, _)| *ino).collect();
        for ino in &over {
            self.forget(*ino);
        }
        self.over.extend(over.into_iter().map(|ino| (ino, folder)));
    }

    /// Where something is shown of which the account was told everything.
    pub(super) fn told_in(&self, ino: Ino) -> Option<Ino> {
        let shown = self.shown.get(&ino)?;
        (shown.node.is_some() && shown.told.is_some()).then_some(shown.folder)
    }

    /// What is shown of something need not be remembered: a listing of `folder` says where it is.
    pub(super) fn believe(&mut self, ino: Ino, folder: Ino) {
        self.forget(ino);
        self.over.push((ino, folder));
    }

    /// A folder is gone from the account: none of its listings will confirm what is gone from it.
    pub(super) fn leave(&mut self, folder: Ino) {
        self.hidden.retain(|_, places| {
            places.retain(|(place, removed)| *place != folder || removed.is_none());
            !places.is_empty()
        });
        let is_over =
            |shown: &Shown| shown.folder == folder && shown.node.is_none() && shown.told.is_some();
        let over = self.shown.extract_if(|_, shown| is_over(shown));
        self.over.extend(over.map(|(ino, _)| (ino, folder)));
    }

    /// Whether listings have confirmed nothing since [`Own::take_over`].
    pub(super) fn has_none_over(&self) -> bool {
        self.over.is_empty()
    }

    /// What listings have confirmed since this was asked last, and was not changed again since. What is not kept of
    /// them yet, as `is_kept` says of a folder, comes another time.
    pub(super) fn take_over(&mut self, is_kept: impl Fn(Ino) -> bool) -> Vec<Ino> {
        let shown = &self.shown;
        self.over.retain(|(ino, _)| !shown.contains_key(ino));
        let kept = self.over.extract_if(.., |(_, folder)| is_kept(*folder));
        kept.map(|(ino, _)| ino).collect()
    }

    fn forget(&mut self, ino: Ino) {
        let Some(node) = self.shown.remove(&ino).and_then(|shown| shown.node) else {
            return;
        };
        if let Some(names) = self.names.get_mut(&node.parent) {
            if names.get(&node.name) == Some(&ino) {
                names.remove(&node.name);
            }
            if names.is_empty() {
                self.names.remove(&node.parent);
            }
        }
    }

    /// An entry under the first number that is free.
    fn numbered(&self, listing: &Listing, node: &Arc<Node>) -> Arc<Node> {
        let name = (2..u32::MAX)
            .map(|number| names::numbered(&node.name, number, node.is_folder()))
            .find(|name| self.find(listing.ino(), name).is_none() && listing.get(name).is_none());
        Arc::new(Node {
            name: name.map_or_else(|| node.name.clone(), Into::into),
            ..Node::clone(node)
        })
    }
}
