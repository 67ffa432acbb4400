//! Textures, as far as kernels use them as memory: `textureLoad`, `textureStore`, `textureDimensions`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use naga::{ImageClass, ImageDimension, ScalarKind, StorageFormat};

use super::alu::{f16_bits, f16_value, round_f16};

/// What a texture variable says of the textures that fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageShape {
    pub(super) dimensions: u32,
    pub(super) arrayed: bool,
    pub(super) kind: ScalarKind,
    /// A storage texture's format.
    pub(super) format: Option<StorageFormat>,
}

impl ImageShape {
    pub(super) fn of(dim: ImageDimension, arrayed: bool, class: ImageClass) -> Option<Self> {
        let dimensions = match dim {
            ImageDimension::D1 => 1,
            ImageDimension::D2 => 2,
            ImageDimension::D3 => 3,
            ImageDimension::Cube => return None,
        };
        match class {
            ImageClass::Sampled { kind, multi: false } => {
                Some(Self { dimensions, arrayed, kind, format: None })
            }
            ImageClass::Storage { format, .. } => {
                let encoding = Encoding::of(format)?;
                Some(Self { dimensions, arrayed, kind: encoding.kind(), format: Some(format) })
            }
            _ => None,
        }
    }

    /// Bytes per texel, where the variable's type says.
    pub(super) fn texel_bytes(self) -> u32 {
        self.format.and_then(Encoding::of).map_or(0, Encoding::texel_bytes)
    }
}

/// How a component is written in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Unorm,
    Snorm,
    Uint,
    Sint,
    Float,
}

/// A format with components of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoding {
    components: u32,
    component_bytes: u32,
    number: Number,
    /// Blue first.
    swapped: bool,
}

impl Encoding {
    fn of(format: StorageFormat) -> Option<Self> {
        use Number::{Float, Sint, Snorm, Uint, Unorm};
        use StorageFormat as F;
        let (components, component_bytes, number) = match format {
            F::R8Unorm => (1, 1, Unorm),
            F::R8Snorm => (1, 1, Snorm),
            F::R8Uint => (1, 1, Uint),
            F::R8Sint => (1, 1, Sint),
            F::Rg8Unorm => (2, 1, Unorm),
            F::Rg8Snorm => (2, 1, Snorm),
            F::Rg8Uint => (2, 1, Uint),
            F::Rg8Sint => (2, 1, Sint),
            F::Rgba8Unorm | F::Bgra8Unorm => (4, 1, Unorm),
            F::Rgba8Snorm => (4, 1, Snorm),
            F::Rgba8Uint => (4, 1, Uint),
            F::Rgba8Sint => (4, 1, Sint),
            F::R16Unorm => (1, 2, Unorm),
            F::R16Snorm => (1, 2, Snorm),
            F::R16Uint => (1, 2, Uint),
            F::R16Sint => (1, 2, Sint),
            F::R16Float => (1, 2, Float),
            F::Rg16Unorm => (2, 2, Unorm),
            F::Rg16Snorm => (2, 2, Snorm),
            F::Rg16Uint => (2, 2, Uint),
            F::Rg16Sint => (2, 2, Sint),
            F::Rg16Float => (2, 2, Float),
            F::Rgba16Unorm => (4, 2, Unorm),
            F::Rgba16Snorm => (4, 2, Snorm),
            F::Rgba16Uint => (4, 2, Uint),
            F::Rgba16Sint => (4, 2, Sint),
            F::Rgba16Float => (4, 2, Float),
            F::R32Uint => (1, 4, Uint),
            F::R32Sint => (1, 4, Sint),
            F::R32Float => (1, 4, Float),
            F::Rg32Uint => (2, 4, Uint),
            F::Rg32Sint => (2, 4, Sint),
            F::Rg32Float => (2, 4, Float),
            F::Rgba32Uint => (4, 4, Uint),
            F::Rgba32Sint => (4, 4, Sint),
            F::Rgba32Float => (4, 4, Float),
            F::Rgb10a2Uint | F::Rgb10a2Unorm | F::Rg11b10Ufloat | F::R64Uint => return None,
        };
        Some(Self { components, component_bytes, number, swapped: format == F::Bgra8Unorm })
    }

    fn kind(self) -> ScalarKind {
        match self.number {
            Number::Uint => ScalarKind::Uint,
            Number::Sint => ScalarKind::Sint,
            _ => ScalarKind::Float,
        }
    }

    fn texel_bytes(self) -> u32 {
        self.components * self.component_bytes
    }

    /// Where component `i` is in memory.
    fn position(self, i: usize) -> usize {
        if self.swapped && i < 3 { 2 - i } else { i }
    }

    /// The register bits of a component's memory bits.
    fn decode(self, bits: u32) -> u32 {
        let signed = match self.component_bytes {
            1 => i32::from(bits as u8 as i8),
            2 => i32::from(bits as u16 as i16),
            _ => bits as i32,
        };
        match (self.number, self.component_bytes) {
            (Number::Uint, _) | (Number::Float, 4) => bits,
            (Number::Sint, _) => signed as u32,
            (Number::Float, _) => f16_value(bits as u16).to_bits(),
            (Number::Unorm, n) => (bits as f32 / self.max_unorm(n)).to_bits(),
            (Number::Snorm, n) => (signed as f32 / self.max_snorm(n)).max(-1.0).to_bits(),
        }
    }

    /// The memory bits of a component's register bits.
    fn encode(self, register: u32) -> u32 {
        let x = f32::from_bits(register);
        match (self.number, self.component_bytes) {
            (Number::Float, 2) => u32::from(f16_bits(round_f16(x))),
            (Number::Unorm, n) => (x.clamp(0.0, 1.0) * self.max_unorm(n)).round_ties_even() as u32,
            (Number::Snorm, n) => (x.clamp(-1.0, 1.0) * self.max_snorm(n)).round_ties_even() as i32 as u32,
            (Number::Uint | Number::Sint, 1) => register & 0xff,
            (Number::Uint | Number::Sint, 2) => register & 0xffff,
            _ => register,
        }
    }

    fn max_unorm(self, bytes: u32) -> f32 {
        if bytes == 1 { 255.0 } else { 65535.0 }
    }

    fn max_snorm(self, bytes: u32) -> f32 {
        if bytes == 1 { 127.0 } else { 32767.0 }
    }
}

/// A texture with one mip level: 1D, 2D, 3D, or an array of 2D layers.
#[derive(Debug)]
pub struct Texture {
    format: StorageFormat,
    encoding: Encoding,
    size: [u32; 3],
    /// Four register values per texel.
    texels: Vec<[AtomicU32; 4]>,
}

impl Texture {
    /// A texture of `width`, `height`, and depth or layers, with these texels: rows without padding, in the
    /// format's layout. `None` if the format is packed or 64-bit, or the number of bytes is not the size's.
    pub fn new(format: StorageFormat, size: [u32; 3], bytes: &[u8]) -> Option<Self> {
        let encoding = Encoding::of(format)?;
        let n = size.iter().try_fold(1usize, |n, &s| n.checked_mul(s as usize))?;
        if n == 0 || Some(bytes.len()) != n.checked_mul(encoding.texel_bytes() as usize) {
            return None;
        }
        let texel = |bytes: &[u8]| {
            // What the format lacks reads as 0, alpha as 1.
            let one = if encoding.kind() == ScalarKind::Float { 1f32.to_bits() } else { 1 };
            let mut values = [0, 0, 0, one];
            for (i, value) in values.iter_mut().enumerate().take(encoding.components as usize) {
                let width = encoding.component_bytes as usize;
                let mut word = [0; 4];
                word[..width].copy_from_slice(&bytes[encoding.position(i) * width..][..width]);
                *value = encoding.decode(u32::from_le_bytes(word));
            }
            values.map(AtomicU32::new)
        };
        let texels = bytes.chunks_exact(encoding.texel_bytes() as usize).map(texel).collect();
        Some(Self { format, encoding, size, texels })
    }

    /// The texels' bytes, as [`Texture::new`] takes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let e = self.encoding;
        let mut bytes = vec![0; self.texels.len() * e.texel_bytes() as usize];
        for (texel, out) in self.texels.iter().zip(bytes.chunks_exact_mut(e.texel_bytes() as usize)) {
            for (i, value) in texel.iter().enumerate().take(e.components as usize) {
                let width = e.component_bytes as usize;
                let word = e.encode(value.load(Relaxed)).to_le_bytes();
                out[e.position(i) * width..][..width].copy_from_slice(&word[..width]);
            }
        }
        bytes
    }

    /// Width, height, and depth or layers.
    pub fn size(&self) -> [u32; 3] {
        self.size
    }

    /// The texel format.
    pub fn format(&self) -> StorageFormat {
        self.format
    }

    pub(super) fn texel_bytes(&self) -> u32 {
        self.encoding.texel_bytes()
    }

    pub(super) fn kind(&self) -> ScalarKind {
        self.encoding.kind()
    }

    /// Texels as a shader reads them: the bits of floats, or integers; x fastest.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn texels(&self) -> Vec<[u32; 4]> {
        (0..self.texels.len()).map(|ix| self.texel(ix)).collect()
    }

    pub(super) fn texel(&self, ix: usize) -> [u32; 4] {
        self.texels.get(ix).map_or([0; 4], |t| std::array::from_fn(|i| t[i].load(Relaxed)))
    }

    /// Stores what the format keeps of the values.
    pub(super) fn set_texel(&self, ix: usize, values: [u32; 4]) {
        let Some(texel) = self.texels.get(ix) else { return };
        for (i, cell) in texel.iter().enumerate().take(self.encoding.components as usize) {
            cell.store(self.encoding.decode(self.encoding.encode(values[i])), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_its_bytes_back() {
        use StorageFormat as F;
        for format in [F::R8Unorm, F::Rgba8Snorm, F::Bgra8Unorm, F::R32Float, F::Rg16Uint, F::Rgba16Float] {
            let n = 6 * Encoding::of(format).unwrap().texel_bytes() as usize;
            // 0x80 as snorm is a second -1, and patterns of the f16 NaNs don't survive: avoid both.
            let bytes: Vec<u8> = (0..n).map(|i| (i * 7 % 100) as u8).collect();
            let texture = Texture::new(format, [3, 2, 1], &bytes).unwrap();
            assert_eq!(texture.to_bytes(), bytes, "{format:?}");
        }
        assert!(Texture::new(F::R32Float, [3, 2, 1], &[0; 23]).is_none());
        let bgra = Texture::new(F::Bgra8Unorm, [1, 1, 1], &[0, 51, 255, 102]).unwrap();
        assert_eq!(bgra.texel(0).map(f32::from_bits), [1.0, 0.2, 0.0, 0.4]);
    }
}
