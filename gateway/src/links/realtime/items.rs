//! The conversation as far as it is remembered: the newest items, so that a client can ask for them and they can follow one another.

use std::collections::VecDeque;

use super::server::Item;

/// Items that are remembered; the oldest is forgotten first.
pub(super) const ITEMS: usize = 256;

/// The items, and the names that new ones get.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: VecDeque<Item>,
    last: Option<String>,
    count: u64,
}

impl Items {
    /// A name that no item has.
    pub(super) fn name(&mut self) -> String {
        loop {
            self.count += 1;
            let name = format!("item_{}", self.count);
            if self.get(&name).is_none() {
                return name;
            }
        }
    }

    /// The newest item's name.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Adds an item, and gives the name of the one before it.
    pub(super) fn add(&mut self, item: Item) -> Option<String> {
        let before = self.last.replace(item.id.clone());
        if self.items.len() >= ITEMS {
            self.items.pop_front();
        }
        self.items.push_back(item);
        before
    }

    /// An item by name.
    pub(super) fn get(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.id == name)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.id == name)
    }

    /// Forgets an item; false if there is none.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.items.len();
        self.items.retain(|item| item.id != name);
        if self.last.as_deref() == Some(name) {
            self.last = self.items.back().map(|item| item.id.clone());
        }
        self.items.len() < before
    }
}
