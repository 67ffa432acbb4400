//! Races: for each byte who touched it last, and whether anything orders that before the next touch.

use super::{Memory, Op};
use std::collections::HashMap;

/// A thread at a moment, as ordering sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Number of the thread over all threadgroups, from 1; 0 is nobody.
    pub(super) thread: u32,
    /// Number of its threadgroup.
    pub(super) threadgroup: u32,
    /// Number of its simdgroup in the threadgroup.
    pub(super) simdgroup: u32,
    /// Threadgroup barriers passed that order this memory.
    pub(super) epoch: u32,
    /// Simdgroup barriers passed that order this memory.
    pub(super) simd_epoch: u32,
    /// Simdgroup functions passed. They order no memory, but a lane that has others' values knows that the
    /// loads of these values are done: what it stores then is no race with those loads.
    pub(super) exchange: u32,
    /// The access.
    pub(super) site: u32,
    pub(super) atomic: bool,
}

impl Moment {
    /// Whether nothing orders `self` before `later`, the access of another thread.
    fn races(&self, later: &Moment) -> bool {
        if self.thread == 0 || self.thread == later.thread || (self.atomic && later.atomic) {
            return false;
        }
        if self.threadgroup != later.threadgroup {
            return true;
        }
        let same_simdgroup = self.simdgroup == later.simdgroup;
        self.epoch == later.epoch && !(same_simdgroup && self.simd_epoch != later.simd_epoch)
    }
}

/// What is remembered of a byte. Two readers, so that a thread's own read does not hide another's.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    write: Moment,
    reads: [Moment; 2],
}

const PAGE: usize = 1024;

/// The cells of all bytes touched so far.
#[derive(Default)]
pub(super) struct Shadow {
    device: HashMap<usize, Box<[Cell; PAGE]>>,
    threadgroup: HashMap<usize, Box<[Cell; PAGE]>>,
}

/// What an access met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Another thread's access that nothing orders, at this byte of the access.
    Race { other: u32, byte: usize },
    /// Threadgroup memory that nobody wrote, at this byte of the access.
    Uninitialized { byte: usize },
}

impl Shadow {
    /// Forgets threadgroup memory, for the next threadgroup.
    pub(super) fn forget_threadgroup(&mut self) {
        self.threadgroup.clear();
    }

    /// Remembers an access and returns the first fault that it meets.
    pub(super) fn touch(
        &mut self,
        address: usize,
        bytes: usize,
        memory: Memory,
        op: Op,
        now: Moment,
    ) -> Option<Met> {
        let is_threadgroup = memory == Memory::Threadgroup;
        let pages = if is_threadgroup { &mut self.threadgroup } else { &mut self.device };
        let mut met = None;
        let mut page_of = usize::MAX;
        let mut page: &mut [Cell] = &mut [];
        for byte in 0..bytes {
            let at = address + byte;
            if at / PAGE != page_of {
                page_of = at / PAGE;
                let new = || Box::new([Cell::default(); PAGE]);
                page = &mut pages.entry(page_of).or_insert_with(new)[..];
            }
            let cell = &mut page[at % PAGE];
            let mut race = |other: &Moment| {
                if met.is_none() && other.races(&now) {
                    met = Some(Met::Race { other: other.site, byte });
                }
            };
            race(&cell.write);
            if op == Op::Load {
                if is_threadgroup && cell.write.thread == 0 && met.is_none() {
                    met = Some(Met::Uninitialized { byte });
                }
                if cell.reads[0].thread != now.thread {
                    cell.reads[1] = cell.reads[0];
                }
                cell.reads[0] = now;
            } else {
                for read in &cell.reads {
                    let same_simdgroup =
                        (read.threadgroup, read.simdgroup) == (now.threadgroup, now.simdgroup);
                    if !(same_simdgroup && read.exchange != now.exchange) {
                        race(read);
                    }
                }
                cell.write = now;
            }
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(thread: u32, epoch: u32) -> Moment {
        Moment { thread, threadgroup: 0, simdgroup: thread / 32, epoch, ..Moment::default() }
    }

    #[test]
    fn a_barrier_orders_and_its_absence_does_not() {
        let mut shadow = Shadow::default();
        let memory = Memory::Threadgroup;
        assert_eq!(shadow.touch(64, 4, memory, Op::Store, at(1, 0)), None);
        assert_eq!(shadow.touch(64, 4, memory, Op::Load, at(1, 0)), None, "one's own");
        assert_eq!(shadow.touch(64, 4, memory, Op::Load, at(2, 1)), None, "after a barrier");
        assert_eq!(
            shadow.touch(66, 1, memory, Op::Store, at(40, 1)),
            Some(Met::Race { other: 0, byte: 0 }),
            "a write beside a read"
        );
        assert_eq!(shadow.touch(512, 1, memory, Op::Load, at(2, 1)), Some(Met::Uninitialized { byte: 0 }));
    }

    #[test]
    fn threadgroups_are_not_ordered_by_barriers_and_atomics_are_fine() {
        let mut shadow = Shadow::default();
        let other = |thread, atomic| Moment {
            thread,
            threadgroup: thread,
            atomic,
            epoch: thread,
            ..Moment::default()
        };
        assert_eq!(shadow.touch(0, 4, Memory::Device, Op::Atomic, other(1, true)), None);
        assert_eq!(shadow.touch(0, 4, Memory::Device, Op::Atomic, other(2, true)), None);
        assert!(shadow.touch(0, 4, Memory::Device, Op::Store, other(3, false)).is_some());
    }
}
