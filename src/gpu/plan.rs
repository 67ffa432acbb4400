//! A computation as data: which shaders run over which named buffers, in which order.

use std::sync::Arc;

use super::GpuError;
use crate::lower::Shader;

/// One dispatch. Each resource variable of the shader is bound to the buffer of the same name, unless
/// `renamed` says otherwise; the uniform variable `params` gets the bytes of `params`.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// What runs.
    pub shader: Shader,
    /// Workgroup counts, each at least 1.
    pub workgroups: [u32; 3],
    /// The uniform block's bytes, a multiple of 16; empty if the shader has none.
    pub params: Vec<u8>,
    /// Pairs (shader variable, buffer name) where they differ.
    pub renamed: Vec<(&'static str, &'static str)>,
}

impl Dispatch {
    /// A dispatch that binds each variable to the buffer of its name.
    pub fn new<P: bytemuck::NoUninit>(shader: Shader, workgroups: [u32; 3], params: &P) -> Self {
        Self { shader, workgroups, params: params_bytes(params), renamed: Vec::new() }
    }

    /// With the shader variable `variable` bound to the buffer `buffer`.
    pub fn rename(mut self, variable: &'static str, buffer: &'static str) -> Self {
        self.renamed.push((variable, buffer));
        self
    }

    /// The buffer that a shader variable is bound to.
    pub fn buffer_of<'a>(&'a self, variable: &'a str) -> &'a str {
        self.renamed.iter().find(|(v, _)| *v == variable).map_or(variable, |(_, b)| b)
    }
}

/// A buffer by the name that it is bound by, with the size that kernels count on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferSpec {
    /// The name that shaders bind it by.
    pub name: &'static str,
    /// The least size in bytes. A binding has at least this, rounded up to 4.
    pub size_bytes: u64,
}

impl BufferSpec {
    /// A buffer of so many elements of so many bytes each.
    pub fn new(name: &'static str, elements: u64, element_bytes: usize) -> Self {
        Self { name, size_bytes: elements.saturating_mul(element_bytes as u64) }
    }

    /// The least size of a binding: whole words.
    pub fn binding_bytes(&self) -> u64 {
        // A size that no buffer has stays one.
        self.size_bytes.checked_next_multiple_of(4).unwrap_or(u64::MAX)
    }

    /// Whether a binding of `given_bytes` holds it.
    pub fn check(&self, given_bytes: u64) -> Result<(), GpuError> {
        if given_bytes < self.binding_bytes() {
            let needed_bytes = self.binding_bytes();
            return Err(GpuError::Size { buffer: self.name.into(), needed_bytes, given_bytes });
        }
        Ok(())
    }
}

/// An operand that a plan wants as a 2-D texture instead of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextureSpec {
    /// The name that shaders bind it by.
    pub name: &'static str,
    /// The operand that holds its texels, row by row.
    pub from: &'static str,
    /// Width in texels.
    pub width: u32,
    /// Height in texels.
    pub height: u32,
    /// Texel format.
    pub format: wgpu::TextureFormat,
}

/// Makes a prepared operand's bytes from those of the operands that it is made of.
pub type PrepareFn = Arc<dyn Fn(&[&[u8]]) -> Vec<u8> + Send + Sync>;

/// An operand in another layout, made once on the host before the first run.
#[derive(Clone)]
pub struct Prepared {
    /// The name that shaders bind it by.
    pub name: &'static str,
    /// The operands that it is made of.
    pub from: Vec<&'static str>,
    /// Makes its bytes from theirs.
    pub make: PrepareFn,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("name", &self.name).field("from", &self.from).finish_non_exhaustive()
    }
}

/// What a variant does for one problem.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In order; each sees what those before it wrote.
    pub dispatches: Vec<Dispatch>,
    /// Operands and results, as the caller has them.
    pub buffers: Vec<BufferSpec>,
    /// Buffers between dispatches, beyond operands and results.
    pub scratch: Vec<BufferSpec>,
    /// Operands wanted as textures.
    pub textures: Vec<TextureSpec>,
    /// Operands wanted in another layout.
    pub prepared: Vec<Prepared>,
}

impl Plan {
    /// A plan of one dispatch.
    pub fn one(dispatch: Dispatch) -> Self {
        Self { dispatches: vec![dispatch], ..Self::default() }
    }

    /// What is known of a buffer that the caller binds: an operand, a result or scratch.
    pub fn buffer(&self, name: &str) -> Option<&BufferSpec> {
        self.buffers.iter().chain(&self.scratch).find(|b| b.name == name)
    }

    /// Refuses a name that the plan has no use for: most likely a misspelled one, or an operand that the spec does not have.
    pub fn check_name(&self, name: &str) -> Result<(), GpuError> {
        let prepared = self.prepared.iter().map(|p| p.name);
        let mut names = self.buffers.iter().chain(&self.scratch).map(|b| b.name).chain(prepared);
        if names.clone().any(|n| n == name) {
            return Ok(());
        }
        let known = names.by_ref().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        Err(GpuError::UnknownBuffer { buffer: name.into(), known })
    }

    /// Checks an operand's bytes on the host: as many as the plan counts on, up to the padding that packed weights have.
    pub fn check_operand(&self, name: &str, bytes: &[u8]) -> Result<(), GpuError> {
        self.check_name(name)?;
        self.check_operand_size(name, bytes)
    }

    fn check_operand_size(&self, name: &str, bytes: &[u8]) -> Result<(), GpuError> {
        let Some(spec) = self.buffer(name) else { return Ok(()) };
        let (needed, given) = (spec.size_bytes, bytes.len() as u64);
        if given < needed || given > needed.next_multiple_of(16) {
            return Err(GpuError::Size { buffer: name.into(), needed_bytes: needed, given_bytes: given });
        }
        Ok(())
    }

    /// Makes the prepared operands from the bytes that `operand` gives for a name.
    ///
    /// # Errors
    /// An operand that is missing or of the wrong size.
    pub fn prepare<'a>(
        &self,
        operand: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, GpuError> {
        let find = |name: &'static str| {
            let bytes = operand(name).ok_or_else(|| GpuError::missing(name))?;
            self.check_operand_size(name, bytes).map(|()| bytes)
        };
        let make = |p: &Prepared| {
            let from: Result<Vec<&[u8]>, GpuError> = p.from.iter().map(|name| find(name)).collect();
            Ok((p.name, (p.make)(&from?)))
        };
        self.prepared.iter().map(make).collect()
    }
}

/// Workgroup counts for `count` workgroups that find their index with `workgroup_index` of
/// `wgsl/common/grid.wgsl`: folded into two dimensions where one does not hold them.
pub fn grid(count: u64) -> [u32; 3] {
    const MAX: u64 = 65_535;
    let count = count.max(1);
    if count <= MAX {
        return [count as u32, 1, 1];
    }
    let y = count.div_ceil(MAX);
    [count.div_ceil(y) as u32, y as u32, 1]
}

/// A uniform block's bytes, padded to 16.
pub fn params_bytes<P: bytemuck::NoUninit>(params: &P) -> Vec<u8> {
    let mut bytes = bytemuck::bytes_of(params).to_vec();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::grid;

    #[test]
    fn grid_covers_every_count_and_wastes_little() {
        for count in [0, 1, 65_535, 65_536, 131_071, 1 << 28, 65_535 * 65_535] {
            let [x, y, z] = grid(count).map(u64::from);
            assert!(x <= 65_535 && y <= 65_535 && z == 1);
            assert!(x * y >= count.max(1) && x * y < count.max(1) + y, "{count}: {x} {y}");
        }
    }
}
