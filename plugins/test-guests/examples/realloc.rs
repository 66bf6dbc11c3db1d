//! A policy whose memory allocator never answers when the host wants to put a text of 4,242 bytes into it.

use flyloft_plugin::policy::{Action, Context, Decision, Policy, allow};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

struct Endless;

// SAFETY: everything is left to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Endless {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut turns = 0_u64;
        while layout.size() == 4242 {
            turns = black_box(turns.wrapping_add(1));
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Endless = Endless;

struct Realloc;

impl Policy for Realloc {
    fn decide(_context: Context, _action: Action) -> Decision {
        allow()
    }
}

flyloft_plugin::export_policy!(Realloc);
