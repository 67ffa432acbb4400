//! Data races and uninitialized reads, by shadow memory.
//!
//! Every cell (the smallest scalar of the variable's type, at most a word) of writable memory remembers its last write
//! and its last reads: who, and between which barriers. Two accesses by different invocations, at least one of
//! them a plain write, race unless a barrier lies between them: a workgroup barrier for the same
//! workgroup, a subgroup barrier for the same subgroup, nothing for different workgroups. Atomic accesses never race:
//! WGSL lets atomic variables be accessed in no other way.

use super::error::{FaultKind, Invocation};
use super::instr::{BarrierScope, Global, Program};
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
}

impl Stamp {
    /// Whether nothing orders this access before `now`.
    fn is_unordered(&self, now: &Self) -> bool {
        if self.workgroup == 0 {
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
    /// The last read, the last one of another invocation of the same workgroup, and the last one of
    /// another workgroup.
    read: Stamp,
    other_read: Stamp,
    foreign_read: Stamp,
    /// Written by the current workgroup, atomically or not.
    initialized_in: u32,
}

/// The shadow memory of a dispatch, which runs one workgroup after the other.
pub(super) struct Sanitizer {
    /// Cells by global; none for what can't be written.
    shadows: Vec<Vec<Cell>>,
    /// Number of the workgroup, from 1, and its id.
    workgroup: u32,
    ids: Vec<[u32; 3]>,
    storage_epoch: u32,
    workgroup_epoch: u32,
    subgroup_epochs: Vec<u32>,
    width: u32,
}

/// How many cells a global of that size has.
fn n_cells(global: &Global, size: u64) -> u64 {
    let shadowed = global.writable && global.image.is_none();
    if shadowed { size.div_ceil(u64::from(global.granularity.max(1))) } else { 0 }
}

impl Sanitizer {
    /// Bytes of shadow memory that [`Sanitizer::new`] would allocate.
    pub(super) fn size_bytes(program: &Program, sizes: &[u64]) -> u64 {
        let cells: u64 = program.globals.iter().zip(sizes).map(|(g, &size)| n_cells(g, size)).sum();
        cells.saturating_mul(size_of::<Cell>() as u64)
    }

    pub(super) fn new(program: &Program, sizes: &[u64], width: u32) -> Self {
        let cells = |(global, &size)| vec![Cell::default(); n_cells(global, size) as usize];
        let invocations: u32 = program.workgroup_size.iter().product();
        Self {
            shadows: program.globals.iter().zip(sizes).map(cells).collect(),
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
        let now = Stamp { workgroup: self.workgroup, epoch, subgroup_epoch, subgroup, lane, pc };
        let granularity = global.granularity.max(1);
        let last = offset.saturating_add(size.max(1) - 1);
        for ix in offset / granularity..=last / granularity {
            let Some(cell) = self.shadows[global_ix as usize].get_mut(ix as usize) else { continue };
            if is_workgroup && cell.write.workgroup != now.workgroup {
                cell.write = Stamp::default();
            }
            if is_workgroup && cell.read.workgroup != now.workgroup {
                (cell.read, cell.other_read) = (Stamp::default(), Stamp::default());
            }
            let at = u64::from(ix * granularity);
            let is_atomic_store = kind == AccessKind::Atomic
                && matches!(program.code[pc as usize], super::instr::Instr::Store(_));
            let reads = kind != AccessKind::Store && !is_atomic_store;
            if is_workgroup && reads && cell.initialized_in != now.workgroup {
                return Err(FaultKind::Uninitialized { name: global.name.clone(), offset: at });
            }
            let earlier = match kind {
                AccessKind::Atomic => None,
                AccessKind::Load => cell.write.is_unordered(&now).then_some((AccessKind::Store, cell.write)),
                AccessKind::Store => [
                    (AccessKind::Store, cell.write),
                    (AccessKind::Load, cell.read),
                    (AccessKind::Load, cell.other_read),
                    (AccessKind::Load, cell.foreign_read),
                ]
                .into_iter()
                .find(|(_, stamp)| stamp.is_unordered(&now)),
            };
            if let Some((earlier_kind, stamp)) = earlier {
                return Err(FaultKind::Race {
                    name: global.name.clone(),
                    offset: at,
                    kind,
                    earlier_kind,
                    earlier: self.invocation(&stamp),
                    earlier_span: program.spans.get(stamp.pc as usize).copied().unwrap_or_default(),
                });
            }
            match kind {
                AccessKind::Load => cell.remember_read(now),
                AccessKind::Store => cell.write = now,
                AccessKind::Atomic => {}
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
        if self.read.workgroup != 0 && self.read.workgroup != now.workgroup {
            self.foreign_read = self.read;
            self.other_read = Stamp::default();
        } else if self.read.is_unordered(&now) {
            self.other_read = self.read;
        }
        self.read = now;
    }
}
