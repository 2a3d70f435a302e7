//! What was found a moment ago, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::time::{Duration, Instant};

/// A map that forgets: each entry after its time, and the least used when there are too many.
///
/// There are two generations. What is used moves to the young one; when that is full it becomes the
/// old one, and what was old and unused is gone. So every call costs the same, however many hosts
/// strangers make up.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    young: HashMap<K, Entry<V>>,
    old: HashMap<K, Entry<V>>,
    generation: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// `None` is never.
    expires: Option<Instant>,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// Returns a cache of at most `entries`.
    pub(super) fn new(entries: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: entries / 2 }
    }

    pub(super) fn get(&mut self, key: &K, now: Instant) -> Option<V> {
        if let Some((key, entry)) = self.old.remove_entry(key) {
            self.put(key, entry);
        }
        let entry =
            self.young.get(key).filter(|it| it.expires.is_none_or(|expires| now < expires))?;
        Some(entry.value.clone())
    }

    pub(super) fn insert(&mut self, key: K, value: V, now: Instant, lasts: Duration) {
        let expires = now.checked_add(lasts);
        self.old.remove(&key);
        self.put(key, Entry { value, expires });
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    fn put(&mut self, key: K, entry: Entry<V>) {
        if self.generation == 0 {
            return;
        }
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(10);

    #[test]
    fn an_entry_is_forgotten_after_its_time() {
        let (mut cache, now) = (Cache::new(10), Instant::now());
        cache.insert("acme", 1, now, LASTS);
        assert_eq!(cache.get(&"acme", now + LASTS / 2), Some(1));
        assert_eq!(cache.get(&"acme", now + LASTS), None);
        cache.insert("acme", 2, now + LASTS, Duration::MAX);
        assert_eq!(cache.get(&"acme", now + LASTS), Some(2));
    }

    #[test]
    fn what_is_used_outlives_what_strangers_ask_for() {
        let (mut cache, now) = (Cache::new(10), Instant::now());
        cache.insert("acme".to_owned(), 0, now, LASTS);
        for number in 0..1000 {
            cache.insert(format!("stranger-{number}"), number, now, LASTS);
            assert_eq!(cache.get(&"acme".to_owned(), now), Some(0), "{number}");
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert_eq!(cache.get(&"stranger-0".to_owned(), now), None);
    }

    #[test]
    fn a_cache_for_nothing_keeps_nothing() {
        let (mut cache, now) = (Cache::new(0), Instant::now());
        cache.insert("acme", 1, now, LASTS);
        assert_eq!(cache.get(&"acme", now), None);
    }

    #[test]
    fn all_is_forgotten_on_demand() {
        let (mut cache, now) = (Cache::new(10), Instant::now());
        cache.insert("acme", 1, now, LASTS);
        cache.clear();
        assert_eq!(cache.get(&"acme", now), None);
    }
}
