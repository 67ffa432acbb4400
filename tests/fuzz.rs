//! Arbitrary text never panics and never hangs what reads other people's files: the preprocessor, the audit of WGSL,
//! the reader of LLVM IR, the reader of safetensors. Inputs are real texts, mutated.
//!
//! Each target runs for a second or so. `MARLIN_FUZZ_SECONDS=1800 cargo test fuzz::wgsl -- --nocapture` runs one for
//! longer, `MARLIN_FUZZ_SEED` begins elsewhere. An input that fails is written to a file, whose name is printed.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wgpu_marlin::audit::{Settings, audit_composed, audit_ir, render};
use wgpu_marlin::kernels::spec::Rng;
use wgpu_marlin::lower::{Defines, Embedded, compose, compose_foreign};
use wgpu_marlin::metal::{Ir, Source, llvm_ir};
use wgpu_marlin::weights::{Checkpoint, Gguf, Hints, Safetensors};

/// One input may take this long, in an unoptimized build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is put into texts beside their own pieces.
const WORDS: [&str; 48] = [
    "#if",
    "#ifdef X",
    "#else",
    "#elif 1",
    "#endif",
    "#define X 1",
    "#define X X",
    "#define F(a) a",
    "#undef X",
    "#include \"common/weights.wgsl\"",
    "#import a::b::{c, d}",
    "#for I in 0..9",
    "#endfor",
    "{{",
    "}}",
    "{{X}}",
    "{{1 << 99}}",
    "{{9223372036854775807 + 1}}",
    "{{1/0}}",
    "{{(((",
    "// marlin: allow(strided) x",
    "@diagnostic(off, marlin.strided)",
    "diagnostic(off, marlin.rows);",
    "4294967295u",
    "-2147483648",
    "0u",
    "1 << 31",
    "9223372036854775807",
    "/ 0u",
    "% 0u",
    "array<u32>",
    "loop { }",
    "break;",
    "continue;",
    "return;",
    "while true {",
    "@workgroup_size(1, 1, 1)",
    "@workgroup_size(1024)",
    "i64 -9223372036854775808",
    "i32 0",
    "label %0",
    "br i1 %c, label %a, label %b",
    "phi i32 [ 0, %entry ], [ %x, %x ]",
    "getelementptr",
    "<4 x half>",
    "%\"struct.x\" = type { ",
    "\u{0}",
    "\u{1F600}",
];

/// A text with a few mutations.
fn mutate(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut Rng, n: usize| rng.below(n.max(1) as u64) as usize;
    let mut text = corpus[pick(rng, corpus.len())].clone();
    for _ in 0..=pick(rng, 6) {
        let at = pick(rng, text.len() + 1);
        match pick(rng, 10) {
            // A byte.
            0 if at < text.len() => text[at] ^= 1 << pick(rng, 8),
            1 if at < text.len() => text[at] = b"(){}[]<>;,.%@#!\"0123456789\n "[pick(rng, 28)],
            // Less.
            2 => drop(text.drain(at..(at + pick(rng, 40)).min(text.len()))),
            3 => {
                let (start, end) = lines(&text, at, 1 + pick(rng, 5));
                text.drain(start..end);
            }
            // Twice, or somewhere else.
            4 | 5 => {
                let (start, end) = lines(&text, at, 1 + pick(rng, 5));
                let piece = text[start..end].to_vec();
                let to = pick(rng, text.len() + 1);
                let (to, _) = lines(&text, to, 1);
                text.splice(to..to, piece);
            }
            // A piece of another text.
            6 => {
                let other = &corpus[pick(rng, corpus.len())];
                let from = pick(rng, other.len() + 1);
                let (start, end) = lines(other, from, 1 + pick(rng, 8));
                text.splice(at..at, other[start..end].iter().copied());
            }
            // A number becomes another.
            7 => {
                if let Some(digit) = text[at..].iter().position(u8::is_ascii_digit) {
                    let start = at + digit;
                    let length = text[start..].iter().take_while(|b| b.is_ascii_digit()).count();
                    let value = [0, 1, 2, 7, 31, 63, 64, 65_535, 4_294_967_295, u64::MAX][pick(rng, 10)];
                    text.splice(start..start + length, value.to_string().into_bytes());
                }
            }
            // A word: alone, or very often.
            8 => drop(text.splice(at..at, WORDS[pick(rng, WORDS.len())].bytes())),
            _ => {
                let piece = ["(", "[", "{", "-", "!", "<", "{{", "#if 1\n", "*"][pick(rng, 9)];
                let times = 1 << pick(rng, 13);
                text.splice(at..at, piece.repeat(times).into_bytes());
            }
        }
    }
    text.truncate(200_000);
    text
}

/// The bytes of `n` lines from the one that has byte `at`.
fn lines(text: &[u8], at: usize, n: usize) -> (usize, usize) {
    let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
    let ends = text[start..].iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| start + i + 1);
    (start, ends.take(n).last().unwrap_or(text.len()).max(start))
}

/// Runs `target` on mutated texts until the time is over.
fn fuzz(name: &'static str, corpus: Vec<Vec<u8>>, target: impl Fn(&[u8]) + Send + 'static) {
    assert!(!corpus.is_empty());
    let given = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seconds = given("MARLIN_FUZZ_SECONDS").unwrap_or(2);
    let seed = given("MARLIN_FUZZ_SEED").unwrap_or(1);
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz_{name}.txt"));
    let (inputs, next) = mpsc::sync_channel::<Vec<u8>>(0);
    let (results, done) = mpsc::channel();
    // As much stack as a program's first thread has.
    let worker = std::thread::Builder::new().stack_size(8 << 20).spawn(move || {
        for input in next {
            let result = catch_unwind(AssertUnwindSafe(|| target(&input)));
            if results.send(result.is_ok()).is_err() {
                return;
            }
        }
    });
    let worker = worker.unwrap();
    let begin = Instant::now();
    let mut rng = Rng(seed);
    let mut n = 0u64;
    while begin.elapsed() < Duration::from_secs(seconds) {
        let input = mutate(&mut rng, &corpus);
        // A stack overflow ends the process: the input must be on disk before.
        let mut f = std::fs::File::create(&file).unwrap();
        f.write_all(&input).unwrap();
        inputs.send(input).unwrap();
        match done.recv_timeout(PATIENCE) {
            Ok(true) => n += 1,
            Ok(false) => panic!("{name} panicked after {n} inputs of seed {seed} on {}", file.display()),
            Err(_) => {
                panic!("{name} took over {PATIENCE:?} after {n} inputs of seed {seed} on {}", file.display())
            }
        }
    }
    drop(inputs);
    worker.join().unwrap();
    println!("{name}: {n} inputs in {:.0} s, seed {seed}", begin.elapsed().as_secs_f64());
    assert!(n > 0);
    drop(std::fs::remove_file(file));
}

fn texts(folders: &[&str], extension: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for folder in folders {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.retain(|p| p.extension().is_some_and(|e| e == extension));
        found.extend(files.iter().map(|p| std::fs::read(p).unwrap()));
    }
    found
}

const FOLDERS: [&str; 8] = [
    "wgsl/attention",
    "wgsl/common",
    "wgsl/dequant",
    "wgsl/expert_gemm",
    "wgsl/gemm",
    "wgsl/gemv",
    "wgsl/router",
    "tests/fixtures/audit",
];

/// Names that the kernels' text asks for.
fn defines() -> Defines {
    let mut defines = Defines::new();
    for (name, value) in
        [("F16", "1"), ("GROUP", "32"), ("THREADS", "64"), ("HEAD_DIM", "64"), ("FORMAT", "0")]
    {
        defines.set(name, value);
    }
    defines
}

#[test]
fn preprocessor() {
    let defines = defines();
    fuzz("preprocessor", texts(&FOLDERS, "wgsl"), move |input| {
        let text = String::from_utf8_lossy(input);
        drop(compose("fuzz.wgsl", &text, &defines, &Embedded));
        if let Ok(composed) = compose_foreign("fuzz.wgsl", &text, &defines, &Embedded) {
            for byte in [0, composed.text.len() / 2, composed.text.len(), usize::MAX >> 40] {
                assert!(composed.locate(byte as u32).line >= 1);
            }
        }
    });
}

#[test]
fn wgsl() {
    // What a kernel is after composing, so that mutations reach beyond the preprocessor.
    let mut corpus = texts(&["tests/fixtures/audit"], "wgsl");
    for family in wgpu_marlin::kernels::families() {
        for variant in &family.variants {
            let case = &family.cases[0];
            for d in case
                .plan(variant.ix, &wgpu_marlin::gpu::Caps::apple())
                .map(|p| p.dispatches)
                .unwrap_or_default()
            {
                corpus.push(d.shader.lower().unwrap().composed.text.into_bytes());
            }
        }
    }
    let settings = Settings { budget: 1 << 12, ..Settings::default() };
    fuzz("wgsl", corpus, move |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(composed) = compose_foreign("fuzz.wgsl", &text, &Defines::new(), &Embedded) else { return };
        let mut report = audit_composed(composed, &settings);
        report.sources.insert("fuzz.wgsl".into(), text.into_owned());
        drop((
            render::text(&report),
            render::sites(&report),
            render::sarif(&report),
            render::github(&report),
        ));
    });
}

#[test]
fn ir_reader() {
    let Some(clang) = crate::metal::clang("fuzzing the IR reader") else { return };
    let ir = |text: &[u8]| -> Option<Ir> {
        llvm_ir(&clang, &Source::new("fuzz.metal", String::from_utf8_lossy(text).into_owned())).ok()
    };
    let mut modules: Vec<Ir> =
        texts(&["tests/fixtures/audit"], "metal").iter().step_by(3).filter_map(|t| ir(t)).collect();
    for family in wgpu_marlin::kernels::families() {
        let twin = family.variants.iter().rfind(|v| v.twin);
        let plan = twin.and_then(|v| family.cases[0].plan(v.ix, &wgpu_marlin::gpu::Caps::apple()).ok());
        for d in plan.map(|p| p.dispatches).unwrap_or_default() {
            let text = d.shader.msl_text().and_then(Result::ok);
            modules.extend(text.and_then(|t| ir(t.text.as_bytes())));
        }
    }
    assert!(modules.len() > 10, "{} modules", modules.len());
    let corpus: Vec<Vec<u8>> = modules.iter().map(|m| m.text.clone().into_bytes()).collect();
    let settings = Settings { budget: 1 << 12, ..Settings::default() };
    let largest =
        modules.into_iter().max_by_key(|m| m.kernels.iter().map(|k| k.params.len()).sum::<usize>()).unwrap();
    fuzz("ir_reader", corpus, move |input| {
        let mutated = Ir { text: String::from_utf8_lossy(input).into_owned(), ..largest.clone() };
        let report = audit_ir(&mutated, "fuzz.metal", "kernel void f() {}", &settings);
        drop((render::text(&report), render::sarif(&report)));
    });
}

#[test]
fn safetensors() {
    let header = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2,16],"data_offsets":[0,64]},"b":{"dtype":"F32","shape":[2,2],"data_offsets":[64,80]},"l.qweight":{"dtype":"I32","shape":[4,8],"data_offsets":[80,208]},"l.qzeros":{"dtype":"I32","shape":[1,1],"data_offsets":[208,212]},"l.scales":{"dtype":"F16","shape":[1,8],"data_offsets":[212,228]},"l.g_idx":{"dtype":"I32","shape":[32],"data_offsets":[228,356]},"m.weight":{"dtype":"U32","shape":[2,4],"data_offsets":[356,388]},"m.scales":{"dtype":"U8","shape":[2,1],"data_offsets":[388,390]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend([0x3F; 390]);
    fuzz("safetensors", vec![file], |input| {
        let Ok(file) = Safetensors::from_bytes(input) else { return };
        let checkpoint = Checkpoint::Safetensors(file, Hints::default());
        for entry in checkpoint.entries() {
            drop(checkpoint.weight(&entry.name));
            drop(checkpoint.tensor(&entry.name).map(|tensor| tensor.to_f32()));
        }
    });
}

#[test]
fn gguf() {
    // One key of each kind of value, then a tensor of each block type that is read, of one block.
    let string = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for (kind, bytes) in
        [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)]
    {
        keys.push([string("k"), vec![kind, 0, 0, 0], vec![1; bytes]].concat());
        keys.last_mut().unwrap()[8] = b'a' + kind;
    }
    keys.push([string("text"), vec![8, 0, 0, 0], string("value")].concat());
    let array = [&[9, 0, 0, 0, 8, 0, 0, 0][..], &2_u64.to_le_bytes(), &string("x"), &string("y")].concat();
    keys.push([string("list"), array].concat());
    let types: [(u32, u64, usize); 9] = [
        (0, 16, 64),
        (1, 16, 32),
        (2, 32, 18),
        (3, 32, 20),
        (8, 32, 34),
        (12, 256, 144),
        (14, 256, 210),
        (39, 32, 17),
        (40, 64, 36),
    ];
    let (mut infos, mut data) = (Vec::new(), Vec::new());
    for (kind, k, bytes) in types {
        infos.push(
            [
                string(&format!("t{kind}")),
                2_u32.to_le_bytes().to_vec(),
                k.to_le_bytes().to_vec(),
                1_u64.to_le_bytes().to_vec(),
                kind.to_le_bytes().to_vec(),
                (data.len() as u64).to_le_bytes().to_vec(),
            ]
            .concat(),
        );
        data.extend(vec![0x2B; bytes]);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    let counts = [
        3_u32.to_le_bytes().to_vec(),
        (types.len() as u64).to_le_bytes().to_vec(),
        (keys.len() as u64).to_le_bytes().to_vec(),
    ];
    let mut file = [b"GGUF".to_vec(), counts.concat(), keys.concat(), infos.concat()].concat();
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    let whole = Gguf::from_bytes(file.clone()).expect("the corpus is well-formed");
    for (name, ..) in whole.tensors() {
        whole.tensor(name).and_then(|tensor| tensor.to_matrix()).expect("and each tensor loads");
    }
    fuzz("gguf", vec![file], |input| {
        let Ok(file) = Gguf::from_bytes(input) else { return };
        for (name, ..) in file.tensors() {
            drop(file.tensor(name).map(|tensor| (tensor.to_matrix(), tensor.to_f32())));
        }
    });
}
