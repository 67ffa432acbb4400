//! Data races and uninitialized reads, by shadow memory.
//!
//! Every cell (the smallest scalar of the variable's type, at most a word) of writable memory remembers its last write
//! and its last reads: who, and between which barriers. Two accesses by different invocations, at least one of
//! them a plain write, race unless a barrier lies between them: a workgroup barrier for the same
//! workgroup, a subgroup barrier for the same subgroup, nothing for different workgroups. Atomic accesses race with plain
//! ones only, which takes a buffer that is bound twice: variables that share memory share its cells. A texel is a cell.
//!
//! A cell keeps four reads, which are enough to tell whether a store by anyone races with a read of the current
//! workgroup since its last barrier: the last read, the last one by another lane of its subgroup, the last one by
//! another subgroup, and the last one by another workgroup.
//!
//! What it can't see: a race that this run's values don't lead to; one between workgroups that an earlier write of the
//! same cell hides (a cell keeps one write); orders that spinning on an atomic makes, which WGSL doesn't have.

use super::error::{FaultKind, Invocation};
use super::instr::{BarrierScope, Global, Instr, Program};
use crate::memory::{AccessKind, Space};

/// One access, as a cell remembers it.
#[derive(Clone, Copy, Default)]
struct Stamp {
    /// Number of the workgroup from 1; 0 is no access.
    workgroup: u32,
    /// Workgroup barriers of the memory's kind before it.
    epoch: u32,
    /// Subgroup barriers before it.
    subgroup_epoch: u32,
    subgroup: u32,
    lane: u32,
    pc: u32,
    atomic: bool,
}

impl Stamp {
    /// Whether nothing orders this access before `now`.
    fn is_unordered(&self, now: &Self) -> bool {
        if self.workgroup == 0 || self.atomic && now.atomic {
            return false;
        }
        if self.workgroup != now.workgroup {
            return true;
        }
        let same_invocation = self.subgroup == now.subgroup && self.lane == now.lane;
        let same_subgroup = self.subgroup == now.subgroup;
        !same_invocation
            && self.epoch == now.epoch
            && !(same_subgroup && self.subgroup_epoch != now.subgroup_epoch)
    }
}

/// What is remembered of a cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    write: Stamp,
    /// The last read, the last ones by another lane of the same subgroup, by another subgroup, and by another workgroup.
    read: Stamp,
    lane_read: Stamp,
    subgroup_read: Stamp,
    foreign_read: Stamp,
    /// Written by the current workgroup, atomically or not.
    initialized_in: u32,
}

/// The cells of one memory, which several globals may share.
#[derive(Default)]
struct Shadow {
    cells: Vec<Cell>,
    granularity: u32,
}

/// The shadow memory of a dispatch, which runs one workgroup after the other.
pub(super) struct Sanitizer {
    /// By the first global with that memory; no cells for what can't be written.
    shadows: Vec<Shadow>,
    /// The first global with the memory of each.
    same: Vec<usize>,
    /// Number of the workgroup, from 1, and its id.
    workgroup: u32,
    ids: Vec<[u32; 3]>,
    storage_epoch: u32,
    workgroup_epoch: u32,
    subgroup_epochs: Vec<u32>,
    width: u32,
}

/// Cells and bytes per cell of each memory, by the first global that has it.
fn plan(program: &Program, sizes: &[u64], same: &[usize]) -> Vec<(u64, u32)> {
    let bytes = |g: &Global| if g.image.is_some() { 1 } else { g.granularity.max(1) };
    let mut plan = vec![(0, u32::MAX); sizes.len()];
    for (global, &first) in program.globals.iter().zip(same) {
        plan[first].1 = plan[first].1.min(bytes(global));
        if global.writable {
            plan[first].0 = sizes[first];
        }
    }
    plan.iter().map(|&(size, bytes)| (size.div_ceil(u64::from(bytes)), bytes)).collect()
}

impl Sanitizer {
    /// Bytes of shadow memory that [`Sanitizer::new`] would allocate.
    pub(super) fn size_bytes(program: &Program, sizes: &[u64], same: &[usize]) -> u64 {
        let cells: u64 = plan(program, sizes, same).iter().map(|p| p.0).sum();
        cells.saturating_mul(size_of::<Cell>() as u64)
    }

    pub(super) fn new(program: &Program, sizes: &[u64], same: &[usize], width: u32) -> Self {
        let shadow = |(n, granularity)| Shadow { cells: vec![Cell::default(); n as usize], granularity };
        let invocations: u32 = program.workgroup_size.iter().product();
        Self {
            shadows: plan(program, sizes, same).into_iter().map(shadow).collect(),
            same: same.to_vec(),
            workgroup: 0,
            ids: vec![[0; 3]],
            storage_epoch: 0,
            workgroup_epoch: 0,
            subgroup_epochs: vec![0; invocations.div_ceil(width) as usize],
            width,
        }
    }

    pub(super) fn begin_workgroup(&mut self, ix: u64, id: [u32; 3]) {
        // Workgroups come in order; the numbers of more than 2^32 of them would repeat.
        self.workgroup = (ix as u32).wrapping_add(1).max(1);
        self.ids.resize(self.workgroup as usize + 1, [0; 3]);
        self.ids[self.workgroup as usize] = id;
        self.storage_epoch = 0;
        self.workgroup_epoch = 0;
        self.subgroup_epochs.fill(0);
    }

    pub(super) fn barrier(&mut self, scope: BarrierScope) {
        self.storage_epoch += u32::from(scope.storage);
        self.workgroup_epoch += u32::from(scope.workgroup);
    }

    pub(super) fn subgroup_barrier(&mut self, subgroup: u32) {
        if let Some(epoch) = self.subgroup_epochs.get_mut(subgroup as usize) {
            *epoch += 1;
        }
    }

    fn invocation(&self, stamp: &Stamp) -> Invocation {
        Invocation {
            workgroup: self.ids.get(stamp.workgroup as usize).copied().unwrap_or_default(),
            local_index: stamp.subgroup * self.width + stamp.lane,
        }
    }

    /// One lane's access to `size` bytes of a global.
    #[allow(clippy::too_many_arguments, reason = "an access is this many things")]
    pub(super) fn access(
        &mut self,
        program: &Program,
        global_ix: u32,
        offset: u32,
        size: u32,
        kind: AccessKind,
        subgroup: u32,
        lane: u32,
        pc: u32,
    ) -> Result<(), FaultKind> {
        let global = &program.globals[global_ix as usize];
        let is_workgroup = global.space == Space::Workgroup;
        let epoch = if is_workgroup { self.workgroup_epoch } else { self.storage_epoch };
        let subgroup_epoch = self.subgroup_epochs.get(subgroup as usize).copied().unwrap_or(0);
        let atomic = kind == AccessKind::Atomic;
        let now = Stamp { workgroup: self.workgroup, epoch, subgroup_epoch, subgroup, lane, pc, atomic };
        let instr = program.code.get(pc as usize);
        let writes = kind == AccessKind::Store || atomic && !matches!(instr, Some(Instr::Load(_)));
        let reads = kind != AccessKind::Store && !(atomic && matches!(instr, Some(Instr::Store(_))));
        let shadow = &mut self.shadows[self.same[global_ix as usize]];
        let granularity = shadow.granularity;
        let last = offset.saturating_add(size.max(1) - 1);
        for ix in offset / granularity..=last / granularity {
            let Some(cell) = shadow.cells.get_mut(ix as usize) else { continue };
            if is_workgroup && cell.write.workgroup != now.workgroup {
                cell.write = Stamp::default();
            }
            if is_workgroup && cell.read.workgroup != now.workgroup {
                (cell.read, cell.lane_read, cell.subgroup_read) = Default::default();
            }
            let at = u64::from(ix * granularity);
            if is_workgroup && reads && cell.initialized_in != now.workgroup {
                return Err(FaultKind::Uninitialized { name: global.name.clone(), offset: at });
            }
            let earlier = [
                (AccessKind::Store, cell.write),
                (AccessKind::Load, cell.read),
                (AccessKind::Load, cell.lane_read),
                (AccessKind::Load, cell.subgroup_read),
                (AccessKind::Load, cell.foreign_read),
            ];
            let looked_at = if writes { &earlier[..] } else { &earlier[..1] };
            if let Some(&(earlier_kind, stamp)) = looked_at.iter().find(|(_, s)| s.is_unordered(&now)) {
                let earlier_kind = if stamp.atomic { AccessKind::Atomic } else { earlier_kind };
                return Err(FaultKind::Race {
                    name: global.name.clone(),
                    offset: at,
                    kind,
                    earlier_kind,
                    earlier: self.invocation(&stamp),
                    earlier_span: program.spans.get(stamp.pc as usize).copied().unwrap_or_default(),
                });
            }
            match writes {
                true => cell.write = now,
                false => cell.remember_read(now),
            }
            if kind != AccessKind::Load {
                cell.initialized_in = now.workgroup;
            }
        }
        Ok(())
    }
}

impl Cell {
    fn remember_read(&mut self, now: Stamp) {
        let last = self.read;
        if last.workgroup != now.workgroup {
            if last.workgroup != 0 {
                self.foreign_read = last;
            }
            (self.lane_read, self.subgroup_read) = Default::default();
        } else if last.epoch != now.epoch {
            (self.lane_read, self.subgroup_read) = Default::default();
        } else if last.subgroup != now.subgroup {
            // Two subgroups: whoever stores next, one of them is another.
            (self.lane_read, self.subgroup_read) = (Stamp::default(), last);
        } else if last.subgroup_epoch != now.subgroup_epoch {
            self.lane_read = Stamp::default();
        } else if last.lane != now.lane {
            self.lane_read = last;
        }
        self.read = now;
    }
}
