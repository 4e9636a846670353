//! Values in a dense array, found by index.

/// Indices stay valid until the value is removed, and are used again then.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    vacant: Vec<usize>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab {
            items: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, item: T) -> usize {
        match self.vacant.pop() {
            Some(index) => {
                self.items[index] = Some(item);
                index
            }
            None => {
                self.items.push(Some(item));
                self.items.len() - 1
            }
        }
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let item = self.items.get_mut(index)?.take()?;
        self.vacant.push(index);
        Some(item)
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> Option<&T> {
        self.items.get(index)?.as_ref()
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, index: usize) -> Option<&mut T> {
        self.items.get_mut(index)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.vacant.len()
    }
}
