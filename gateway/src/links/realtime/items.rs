//! The conversation as far as it is remembered: the newest items, so that a client can ask for them and they can follow one another.

use std::collections::VecDeque;

use super::server::Item;

/// Items that are remembered; the oldest is forgotten first.
pub(super) const ITEMS: usize = 256;
/// Most bytes of all of them together, as long as there is more than one.
pub(super) const ITEMS_BYTES: usize = 1 << 20;

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
        self.items.push_back(item);
        self.forget();
        before
    }

    /// An item by name.
    pub(super) fn get(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.id == name)
    }

    /// Changes an item, if it is still remembered.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Item)) {
        if let Some(item) = self.items.iter_mut().find(|item| item.id == name) {
            change(item);
            self.forget();
        }
    }

    /// Forgets the oldest until the others are few and short enough. The newest stays: its text is bounded by itself.
    fn forget(&mut self) {
        let mut bytes: usize = self.items.iter().map(Item::bytes).sum();
        while self.items.len() > ITEMS || bytes > ITEMS_BYTES && self.items.len() > 1 {
            let oldest = self.items.pop_front();
            bytes -= oldest.map_or(0, |item| item.bytes());
        }
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

#[cfg(test)]
mod tests {
    use super::super::server::ItemPart;
    use super::*;

    fn item(name: &str, bytes: usize) -> Item {
        let text = "x".repeat(bytes);
        let part = ItemPart::InputText { text };
        Item::message(name.to_owned(), "user", vec![part])
    }

    #[test]
    fn the_oldest_are_forgotten_when_the_texts_are_too_long_together() {
        let mut items = Items::default();
        let quarter = ITEMS_BYTES / 4;
        for name in ["a", "b", "c", "d"] {
            items.add(item(name, quarter));
        }
        assert!(items.get("a").is_none(), "four are more than the bound");
        assert!(["b", "c", "d"].iter().all(|name| items.get(name).is_some()));
        items.add(item("e", 2 * quarter));
        assert!(items.get("b").is_none() && items.get("c").is_none());
        assert!(items.get("d").is_some() && items.get("e").is_some());
        assert_eq!(items.last(), Some("e"));
    }

    #[test]
    fn a_text_that_comes_later_counts_as_well() {
        let mut items = Items::default();
        for name in ["a", "b"] {
            items.add(item(name, ITEMS_BYTES / 4));
        }
        items.change("b", |kept| *kept = item("b", ITEMS_BYTES - 1));
        assert!(items.get("a").is_none() && items.get("b").is_some());
    }

    #[test]
    fn parts_without_text_count_as_well() {
        let mut items = Items::default();
        let many = ITEMS_BYTES / size_of::<ItemPart>();
        let text = String::new();
        let parts = vec![ItemPart::InputText { text }; many];
        for name in ["a", "b"] {
            items.add(Item::message(name.to_owned(), "user", parts.clone()));
        }
        assert!(items.get("a").is_none() && items.get("b").is_some());
    }

    #[test]
    fn no_more_items_are_remembered_than_their_number() {
        let mut items = Items::default();
        for number in 0..=ITEMS {
            items.add(item(&number.to_string(), 1));
        }
        assert!(items.get("0").is_none() && items.get("1").is_some());
    }
}
