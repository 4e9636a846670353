//! An allocator that counts what the calling thread asks of it.
//!
//! Counted per thread, so that what a test harness does beside the measured code does not blur it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Const and without a destructor: reading it allocates nothing itself.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a counter. Make it the `#[global_allocator]` of a binary of its own.
#[derive(Debug)]
pub struct Counting;

/// How often the calling thread allocated or reallocated so far. Counts only where [`Counting`] is the
/// global allocator.
#[must_use]
pub fn count() -> u64 {
    COUNT.with(Cell::get)
}

fn add_one() {
    COUNT.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged, which keeps the contract; counting
// touches nothing but a thread's own number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: the caller gave a layout that is valid for `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: the caller gave a layout that is valid for `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller gave a pointer from this allocator, hence the system's, and its layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        add_one();
        // SAFETY: the caller gave a pointer from this allocator, hence the system's, its layout, and a
        // size that is valid for it.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
