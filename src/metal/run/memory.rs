//! The memory that a kernel sees: buffers and textures far apart, threadgroup memory poisoned.

use super::{Bound, Data, Memory, RunError, Texture};
use crate::metal::MAX_THREADGROUP_BYTES;
use crate::metal::signature::{Binding, Kernel, Space};
use std::ffi::c_void;

/// Nothing lies this close to the end of a buffer. Address space, not memory: untouched pages cost nothing.
const GAP: usize = 1 << 24;
/// Buffers begin at multiples of this, so that blocks of memory are counted from their start.
const ALIGNMENT: usize = 4096;
/// Bytes between two threadgroup variables.
const THREADGROUP_GAP: usize = 256;
/// What threadgroup memory holds before it is written.
const POISON: u8 = 0xAA;

/// A stretch of memory that a kernel may touch.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) memory: Memory,
    pub(super) name: String,
    pub(super) writable: bool,
}

impl Region {
    pub(super) fn contains(&self, address: usize, bytes: usize) -> bool {
        address >= self.start
            && address - self.start <= self.len
            && self.len - (address - self.start) >= bytes
    }
}

/// `struct marlin_texture` of `shim/runtime.h`.
#[repr(C)]
pub(super) struct Descriptor {
    texels: *mut u32,
    width: u32,
    height: u32,
    depth: u32,
    layers: u32,
}

/// Memory that this process and its children share; zeros at first. Aligned to a page.
struct Shared {
    start: *mut u8,
    len: usize,
}

impl Shared {
    fn new(len: usize) -> Result<Self, RunError> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANON | libc::MAP_NORESERVE);
        // SAFETY: a mapping of its own, at an address of the system's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            let error = std::io::Error::last_os_error();
            return Err(RunError::CouldNotRun(format!("no memory for {len} bytes of buffers: {error}")));
        }
        Ok(Self { start: start.cast(), len })
    }

    fn address(&self) -> usize {
        self.start as usize
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "the plan has room for all that it places");
        // SAFETY: inside of the mapping, as just checked; no child runs yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(offset), bytes.len()) };
    }

    fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len, "regions are inside of the mapping");
        let mut bytes = vec![0; len];
        // SAFETY: inside of the mapping, as just checked; the child that wrote it has ended.
        unsafe { std::ptr::copy_nonoverlapping(self.start.add(offset), bytes.as_mut_ptr(), len) };
        bytes
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// All memory of a run.
pub(super) struct Memories {
    /// Buffers and textures; only pointers into it are used. Shared with the process that runs the kernel.
    arena: Shared,
    /// Buffers, then textures.
    pub(super) regions: Vec<Region>,
    /// Per buffer parameter of the kernel its address, null if it is absent.
    pub(super) arguments: Vec<*mut c_void>,
    textures: Vec<(u32, Box<Descriptor>)>,
    threadgroup: Vec<u8>,
    threadgroup_used: usize,
    /// Threadgroup variables and arguments, with the number or index that asks for them.
    pub(super) variables: Vec<(Variable, Region)>,
}

/// What asks for threadgroup memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// A variable of the text.
    Number(u32),
    /// `[[threadgroup(index)]]`.
    Argument(u32),
}

impl Memories {
    /// Copies what is bound in, as far as the kernel has parameters for it.
    pub(super) fn new(kernel: &Kernel, buffers: &[Bound], textures: &[Texture]) -> Result<Self, RunError> {
        let mut plan: Vec<(usize, &[u8], Region)> = Vec::new();
        let mut at = GAP;
        let mut place = |bytes: usize| {
            let offset = at.next_multiple_of(ALIGNMENT);
            at = offset + bytes + GAP;
            offset
        };
        let mut argument_regions = Vec::new();
        for param in &kernel.params {
            let Binding::Buffer { slot } = param.binding else { continue };
            let Some(bound) = buffers.iter().find(|b| b.slot == slot) else {
                if param.optional {
                    argument_regions.push(None);
                    continue;
                }
                return Err(RunError::NotBound { name: param.name.clone(), what: format!("buffer {slot}") });
            };
            let (bytes, writable): (&[u8], _) = match &bound.data {
                Data::Read(bytes) => (bytes, false),
                Data::Write(bytes) => (bytes, true),
            };
            let memory = if param.space == Space::Constant { Memory::Constant } else { Memory::Device };
            let offset = place(bytes.len());
            argument_regions.push(Some(plan.len()));
            plan.push((
                offset,
                bytes,
                Region { start: offset, len: bytes.len(), memory, name: param.name.clone(), writable },
            ));
        }
        let first_texture = plan.len();
        let mut texture_bytes = Vec::new();
        for texture in textures {
            let size = [texture.width, texture.height, texture.depth, texture.layers];
            if texture.texels.len() as u128 != size.iter().map(|&n| u128::from(n)).product() {
                let (n, index) = (texture.texels.len(), texture.index);
                return Err(RunError::Size(format!("texture {index} of {size:?} texels has {n}")));
            }
            texture_bytes.push(bytemuck::cast_slice::<[u32; 4], u8>(&texture.texels));
        }
        for (texture, bytes) in textures.iter().zip(&texture_bytes) {
            let offset = place(bytes.len());
            let name = format!("texture {}", texture.index);
            plan.push((
                offset,
                bytes,
                Region { start: offset, len: bytes.len(), memory: Memory::Texture, name, writable: true },
            ));
        }
        for param in &kernel.params {
            let Binding::Texture { index } = param.binding else { continue };
            if !param.optional && !textures.iter().any(|t| t.index == index) {
                let what = format!("texture {index}");
                return Err(RunError::NotBound { name: param.name.clone(), what });
            }
        }
        let mut arena = Shared::new(at + ALIGNMENT)?;
        let base = arena.address();
        let mut regions = Vec::new();
        for (offset, bytes, mut region) in plan {
            arena.write(offset, bytes);
            region.start = base + offset;
            regions.push(region);
        }
        let arguments = argument_regions
            .iter()
            .map(|r| r.map_or(std::ptr::null_mut(), |r| regions[r].start as *mut c_void))
            .collect();
        let textures = textures
            .iter()
            .zip(&regions[first_texture..])
            .map(|(t, r)| {
                let texels = r.start as *mut u32;
                let descriptor =
                    Descriptor { texels, width: t.width, height: t.height, depth: t.depth, layers: t.layers };
                (t.index, Box::new(descriptor))
            })
            .collect();
        let threadgroup = vec![POISON; 4 * MAX_THREADGROUP_BYTES as usize + 64 * THREADGROUP_GAP];
        Ok(Self {
            arena,
            regions,
            arguments,
            textures,
            threadgroup,
            threadgroup_used: 0,
            variables: Vec::new(),
        })
    }

    /// Copies what the kernel may have written out again.
    pub(super) fn copy_out(&self, kernel: &Kernel, buffers: &mut [Bound], textures: &mut [Texture]) {
        let bytes_of = |r: &Region| self.arena.read(r.start - self.arena.address(), r.len);
        let mut regions = self.regions.iter();
        for (param, argument) in
            kernel.params.iter().filter(|p| matches!(p.binding, Binding::Buffer { .. })).zip(&self.arguments)
        {
            let Binding::Buffer { slot } = param.binding else { continue };
            if argument.is_null() {
                continue;
            }
            let Some(region) = regions.next() else { return };
            if let Some(Data::Write(out)) = buffers.iter_mut().find(|b| b.slot == slot).map(|b| &mut b.data) {
                out.copy_from_slice(&bytes_of(region));
            }
        }
        for (texture, region) in textures.iter_mut().zip(regions) {
            bytemuck::cast_slice_mut::<[u32; 4], u8>(&mut texture.texels).copy_from_slice(&bytes_of(region));
        }
    }

    /// The descriptor of texture `index`; null if there is none.
    pub(super) fn texture(&self, index: u32) -> *mut c_void {
        let found = self.textures.iter().find(|(i, _)| *i == index);
        found.map_or(std::ptr::null_mut(), |(_, d)| &raw const **d as *mut c_void)
    }

    /// Storage for a threadgroup variable, the same for all threads. `None` if there is no room for it.
    pub(super) fn threadgroup(
        &mut self,
        which: Variable,
        bytes: u64,
        alignment: u64,
        name: &str,
    ) -> Option<*mut c_void> {
        if let Some((_, region)) = self.variables.iter().find(|(v, _)| *v == which) {
            return Some(region.start as *mut c_void);
        }
        let base = self.threadgroup.as_mut_ptr() as usize;
        // Blocks of memory are counted from the start of the variable.
        let alignment = (alignment as usize).max(THREADGROUP_GAP);
        let start = (base + self.threadgroup_used + THREADGROUP_GAP).next_multiple_of(alignment);
        let end = start.checked_add(usize::try_from(bytes).ok()?)?;
        if end + THREADGROUP_GAP > base + self.threadgroup.len() {
            return None;
        }
        self.threadgroup_used = end - base;
        let region = Region {
            start,
            len: end - start,
            memory: Memory::Threadgroup,
            name: name.to_owned(),
            writable: true,
        };
        self.variables.push((which, region));
        Some(start as *mut c_void)
    }

    /// Bytes of threadgroup memory in use.
    pub(super) fn threadgroup_bytes(&self) -> u64 {
        self.variables.iter().map(|(_, r)| r.len as u64).sum()
    }

    /// Fills threadgroup memory with what nobody should rely on, for the next threadgroup.
    pub(super) fn poison(&mut self) {
        self.threadgroup[..self.threadgroup_used].fill(POISON);
    }

    /// The region that holds all of an access: its number among buffers, textures and then variables.
    pub(super) fn find(&self, address: usize, bytes: usize) -> Option<(usize, &Region)> {
        let variables = self.variables.iter().map(|(_, r)| r);
        self.regions.iter().chain(variables).enumerate().find(|(_, r)| r.contains(address, bytes))
    }

    /// Region number `n`, as [`find`](Self::find) counts.
    pub(super) fn region(&self, n: usize) -> Option<&Region> {
        self.regions.get(n).or_else(|| self.variables.get(n - self.regions.len()).map(|(_, r)| r))
    }

    /// Says in words where an address that is in no region lies.
    pub(super) fn describe(&self, address: usize) -> String {
        let variables = self.variables.iter().map(|(_, r)| r);
        let nearest = self.regions.iter().chain(variables).min_by_key(|r| {
            if address < r.start {
                r.start - address
            } else {
                address - r.start.saturating_add(r.len).min(address)
            }
        });
        match nearest {
            Some(r) if address < r.start && r.start - address <= 2 * GAP => {
                format!("{} bytes before the start of `{}` ({} bytes)", r.start - address, r.name, r.len)
            }
            Some(r) if address >= r.start && address - r.start <= 2 * GAP + r.len => {
                format!("at byte {} of `{}`, which has {} bytes", address - r.start, r.name, r.len)
            }
            _ if address < 4096 => "a null pointer".to_owned(),
            _ => "in no buffer".to_owned(),
        }
    }
}
