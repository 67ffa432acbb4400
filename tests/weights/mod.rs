//! Readers of weight files against independent decoders, bit for bit, and against files that are wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use wgpu_marlin::quant::Format;
use wgpu_marlin::weights::{Checkpoint, Hints, Safetensors, WeightsError};

/// Where packages and the model are kept between runs; `tests/fetch_model.sh` has the same rule.
fn cache() -> PathBuf {
    let given = std::env::var_os("MARLIN_CACHE").map(PathBuf::from);
    let xdg = || std::env::var_os("XDG_CACHE_HOME").map(|dir| PathBuf::from(dir).join("wgpu-marlin"));
    let home = || std::env::var_os("HOME").map(|dir| PathBuf::from(dir).join(".cache/wgpu-marlin"));
    given.or_else(xdg).or_else(home).unwrap_or_else(std::env::temp_dir)
}

/// Whether a command ends well.
fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A Python with the package `gguf`; `None` where it can't be had.
fn python() -> Option<PathBuf> {
    let has = |python: &Path| succeeds(Command::new(python).args(["-c", "import gguf, numpy"]));
    let venv = cache().join("venv");
    let python = venv.join("bin/python");
    if !has(&python) {
        std::fs::create_dir_all(cache()).ok()?;
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(&venv)).then_some(())?;
        let pip = ["-m", "pip", "install", "--quiet", "gguf", "numpy"];
        succeeds(Command::new(&python).args(pip)).then_some(())?;
    }
    has(&python).then_some(python)
}

/// The path of SmolLM2's file; `None` where it can't be fetched.
fn model() -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch_model.sh");
    let output = Command::new(script).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_string();
    output.status.success().then_some(path)
}

#[test]
fn files_of_others_read_bit_for_bit() {
    let Some(python) = python() else {
        eprintln!(
            "skipped: weights::files_of_others_read_bit_for_bit (the Python package gguf can't be fetched)"
        );
        return;
    };
    let model = model();
    if model.is_none() {
        eprintln!("skipped: SmolLM2 in weights::files_of_others_read_bit_for_bit (it can't be fetched)");
    }
    let dir = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights/fixtures.py");
    let output = Command::new(python).arg(script).arg(dir.path()).args(&model).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases = std::fs::read(dir.path().join("weights.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() > if model.is_some() { 230 } else { 25 }, "{} cases", cases.len());
    for case in &cases {
        let (file, tensor) = (case["file"].as_str().unwrap(), case["tensor"].as_str().unwrap());
        let mut checkpoint = Checkpoint::open(dir.path().join(file)).unwrap();
        if let Checkpoint::Safetensors(_, hints) = &mut checkpoint {
            hints.gptq_v2 = case["gptq_v2"] == true;
        }
        let weight = checkpoint.weight(tensor).unwrap_or_else(|error| panic!("{file}: {error}"));
        let k = weight.matrix.shape().k();
        let mut got = weight.matrix.dequantize();
        if let Some(order) = &weight.x_order {
            assert!(case["in_x_order"] == true && file.contains("act_order"), "{file}");
            // Column j belongs to element order[j]: back to the activations' order.
            for row in got.chunks_exact_mut(k) {
                let columns = row.to_vec();
                order.iter().zip(columns).for_each(|(&at, value)| row[at as usize] = value);
            }
        }
        let expected = std::fs::read(dir.path().join(case["expected"].as_str().unwrap())).unwrap();
        let expected: Vec<u32> =
            expected.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(got.len(), expected.len(), "{file} {tensor}");
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let want = f32::from_bits(expected);
            assert_eq!(got.to_bits(), expected, "{file} {tensor} ({}, {}): {got} for {want}", i / k, i % k);
        }
        let listed = checkpoint.entries().into_iter().find(|entry| entry.name == tensor).unwrap();
        let said = listed.loads_as().unwrap();
        assert!(weight.matrix.format().name().starts_with(said.split([',', ' ']).next().unwrap()), "{said}");
        if let Some((gate, up)) = weight.split_gate_up() {
            assert!(case["gate_up"] == true);
            let (gate, up) = (gate.dequantize(), up.dequantize());
            let all = weight.matrix.dequantize();
            assert_eq!((&gate[..k], &up[..k]), (&all[..k], &all[k..2 * k]));
            assert_eq!(up[up.len() - k..], all[all.len() - k..]);
        }
        assert_eq!(weight.n_experts, if matches!(listed.shape.len(), 3 | 4) { listed.shape[0] } else { 1 });
    }
    eprintln!("{} weights equal an independent decoder's", cases.len());
}

/// A safetensors file of tensors (name, type, shape, bytes).
fn safetensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name.to_string(), entry);
        data.extend_from_slice(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn weight(file: Vec<u8>, name: &str) -> Result<wgpu_marlin::weights::Weight, WeightsError> {
    Checkpoint::Safetensors(Safetensors::from_bytes(file).unwrap(), Hints::default()).weight(name)
}

/// GPTQ by hand: K = 16, N = 8, one group. Code (k, n) is bits 4·(k mod 8) of word (k / 8, n); zero points are stored less 1.
#[test]
fn golden_gptq_and_awq() {
    let mut codes = vec![0_u32; 16];
    codes[3] = 0x0000_0F50; // k 1: 5, k 2: 15 of column 3
    codes[8 + 7] = 0xA000_0000; // k 15: 10 of column 7
    let gptq = |zeros: u32| {
        safetensors(&[
            ("l.qweight", "I32", &[2, 8], words(&codes)),
            ("l.qzeros", "I32", &[1, 1], words(&[zeros])),
            ("l.scales", "F16", &[1, 8], [0x00, 0x38].repeat(8)), // 0.5
        ])
    };
    let sym = weight(gptq(0x7777_7777), "l.qweight").unwrap().matrix;
    assert_eq!(sym.format(), Format::Int4Sym);
    assert_eq!((sym.value(3, 1), sym.value(3, 2), sym.value(7, 15)), (-1.5, 3.5, 1.0));
    let asym = weight(gptq(0x7772_7777), "l.qweight").unwrap().matrix;
    assert_eq!((asym.format(), asym.value(3, 1), asym.value(4, 0)), (Format::Int4Asym, -1.5, -1.5));
    let sixteen = weight(gptq(0x777F_7777), "l.qweight").unwrap().matrix;
    assert_eq!((sixteen.format(), sixteen.value(4, 0)), (Format::Int4Asym5, -8.0));

    // AWQ: nibbles of a word hold columns 0 2 4 6 1 3 5 7 of row k.
    let mut codes = vec![0_u32; 16];
    codes[1] = 0x0900_0030; // nibble 1: column 2, nibble 6: column 5
    let awq = safetensors(&[
        ("l.qweight", "I32", &[16, 1], words(&codes)),
        ("l.qzeros", "I32", &[1, 1], words(&[0x0200_0010])),
        ("l.scales", "F16", &[1, 8], [0x00, 0x38].repeat(8)),
    ]);
    let awq = weight(awq, "l.qweight").unwrap().matrix;
    assert_eq!((awq.value(2, 1), awq.value(5, 1), awq.value(5, 0), awq.value(0, 1)), (1.0, 3.5, -1.0, 0.0));
}

/// Codes of E2M1 by hand, the low nibble first; ModelOpt's factor and compressed-tensors' reciprocal of it.
#[test]
fn golden_nvfp4_mxfp4_and_mlx() {
    let codes = vec![0x72, 0xF1, 0, 0, 0, 0, 0, 0x60]; // 1, 6, 0.5, -6, …, 4
    let of = |suffix: &str, global: (&str, f32)| {
        safetensors(&[
            (&format!("l.{suffix}"), "U8", &[1, 8], codes.clone()),
            ("l.weight_scale", "F8_E4M3", &[1, 1], vec![0x40]), // 2
            (&format!("l.{}", global.0), "F32", &[1], global.1.to_le_bytes().to_vec()),
        ])
    };
    for (file, name) in [
        (of("weight", ("weight_scale_2", 0.25)), "l.weight"),
        (of("weight_packed", ("weight_global_scale", 4.0)), "l.weight_packed"),
    ] {
        let got = weight(file, name).unwrap().matrix.dequantize();
        assert_eq!((&got[..4], got[15]), (&[0.5, 3.0, 0.25, -3.0][..], 2.0), "{name}");
    }
    let blocks = [codes.clone(), codes.clone()].concat();
    let oss = safetensors(&[
        ("e.down_proj_blocks", "U8", &[1, 1, 1, 16], blocks),
        ("e.down_proj_scales", "U8", &[1, 1, 1], vec![126]),
    ]);
    let oss = weight(oss, "e.down_proj_blocks").unwrap();
    assert_eq!((oss.matrix.value(0, 1), oss.matrix.value(0, 31), oss.gate_up), (3.0, 2.0, false));

    let mlx = safetensors(&[
        ("l.weight", "U32", &[1, 4], words(&[0x0000_00C3, 0, 0, 0x1000_0000])),
        ("l.scales", "BF16", &[1, 1], vec![0x00, 0xBF]), // -0.5
        ("l.biases", "BF16", &[1, 1], vec![0x80, 0x40]), // 4
    ]);
    let mlx = weight(mlx, "l.weight").unwrap().matrix;
    assert_eq!((mlx.format(), mlx.value(0, 0), mlx.value(0, 1)), (Format::Int4AffineBf16, 2.5, -2.0));
    assert_eq!((mlx.value(0, 31), mlx.value(0, 30)), (3.5, 4.0));
}

/// What a tensor can't be is said with its name and type, and the others load.
#[test]
fn one_odd_tensor_spoils_nothing() {
    for (dtype, bytes) in [("F9_X", 3), ("C64", 64), ("F6_E2M3", 48), ("I64", 16), ("F8_E4M3", 2)] {
        let shape: &[usize] = &[1, 2];
        let file =
            safetensors(&[("w", "BF16", &[1, 16], vec![0; 32]), ("odd", dtype, shape, vec![0; bytes])]);
        assert_eq!(weight(file.clone(), "w").unwrap().matrix.shape().k(), 16);
        let error = weight(file, "odd").unwrap_err().to_string();
        assert!(error.contains("odd") && error.contains(dtype), "{error}");
    }
    let missing = weight(safetensors(&[("m16", "F16", &[1, 16], vec![0; 32])]), "m61").unwrap_err();
    assert!(missing.to_string().contains("similar: \"m16\""), "{missing}");
}

#[test]
fn wrong_files_are_typed_errors() {
    let whole = safetensors(&[("w", "F32", &[4, 32], vec![0; 512])]);
    for length in 0..whole.len() {
        let error = Safetensors::from_bytes(&whole[..length]).unwrap_err();
        assert!(matches!(error, WeightsError::Malformed { .. }), "cut to {length}: {error}");
    }
    let header = |text: &str, data: usize| {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &vec![0; data]].concat()
    };
    let entry =
        |name, from, to| format!(r#""{name}":{{"dtype":"U8","shape":[4],"data_offsets":[{from},{to}]}}"#);
    for (file, part) in [
        (header(&format!("{{{}}}", entry("w", 16, 20)), 20), "hole"),
        (header(&format!("{{{},{}}}", entry("v", 0, 4), entry("w", 2, 6)), 6), "overlaps"),
        (header(&format!("{{{},{}}}", entry("w", 0, 4), entry("w", 4, 8)), 8), "twice"),
        (header(&format!("{{{}}}", entry("w", 4, 0)), 4), "ends before it begins"),
        (header(&format!("{{{}}}", entry("w", 0, 3)), 3), "has 3 bytes"),
        (header(&format!("{{{}}}", entry("w", 0, u64::MAX)), 4), "cut short"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "LFS"),
        (b"<!DOCTYPE html><html>".to_vec(), "web page"),
        (b"PK\x03\x04aaaaaaaaaaaaa".to_vec(), "zip"),
    ] {
        let error = Safetensors::from_bytes(file).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    for name in ["../model.safetensors", "/etc/hostname", "missing.safetensors"] {
        std::fs::write(&index, format!(r#"{{"weight_map":{{"w":{name:?}}}}}"#)).unwrap();
        Safetensors::open(&index).unwrap_err();
    }
}

#[test]
fn wrong_gguf_files_are_typed_errors() {
    use wgpu_marlin::weights::Gguf;
    let head = |version: u32, tensors: u64, keys: u64| {
        [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
    };
    let tensor = |kind: u32, extent: u64, offset: u64| {
        let name = [&1_u64.to_le_bytes()[..], b"t"].concat();
        [&name[..], &1_u32.to_le_bytes(), &extent.to_le_bytes(), &kind.to_le_bytes(), &offset.to_le_bytes()]
            .concat()
    };
    for (file, part) in [
        (head(1, 0, 0), "version 1"),
        (head(3_u32.swap_bytes(), 0, 0), "big-endian"),
        (head(9, 0, 0), "version 9"),
        (head(3, u64::MAX, 0), "tensors in the 8 bytes"),
        (head(3, 0, 1 << 60), "keys in the 0 bytes"),
        ([head(3, 1, 0), tensor(0, u64::MAX, 0)].concat(), "absurd"),
        ([head(3, 1, 0), tensor(0, 1 << 40, 0)].concat(), "ends beyond"),
        ([head(3, 1, 0), tensor(0, 4, u64::MAX - 31)].concat(), "ends beyond"),
        ([head(3, 1, 0), tensor(0, 4, 3)].concat(), "not aligned"),
        ([head(3, 1, 0), tensor(2, 31, 0)].concat(), "no whole blocks"),
    ] {
        let error = Gguf::from_bytes(file).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}
